// Next hops that do not answer: what waits for them is told to its transport, and gateways are doubted when TCP hears nothing.

import Testing

@testable import MartletStack

@Suite struct UndeliverableTests {
    static let arp: UInt16 = 0x0806
    static let gatewayMAC = MACAddress(bits: 0x02_00_00_00_00_0A)

    private static func isRequest(_ frame: [UInt8], for address: String, to mac: MACAddress? = nil) -> Bool {
        frame[12] == 8 && frame[13] == 6 && frame[21] == 1
            && Array(frame[38..<42]) == FrameBytes.octets(IPAddress(address)!)
            && (mac == nil || Array(frame[0..<6]) == FrameBytes.octets(mac!))
    }

    @Test func `A connection whose SYN waits for a host that does not answer hears of it, and goes on trying`() throws {
        var host = Host("10.0.0.1/24")
        let id = try host.stack.connect(to: IPAddress("10.0.0.9")!, port: 7)
        host.wait(.seconds(4))
        var events: ConnectionEvents = []
        while let (other, what) = host.stack.nextConnectionEvent() { if other == id { events.formUnion(what) } }
        #expect(events == .suspect)
        #expect(host.stack.softError(of: id) == .unreachable)
        #expect(host.stack.state(of: id) == .synSent)
        _ = host.take()
        host.wait(.seconds(10))
        let asksAgain = host.take().contains { Self.isRequest($0, for: "10.0.0.9") }
        #expect(asksAgain)
    }

    @Test func `A connected socket hears that its datagram has met nobody`() throws {
        var host = Host("10.0.0.1/24")
        let socket = try host.stack.bind(.v4(.any), port: 5000)
        try host.stack.connect(socket, to: IPAddress("10.0.0.9")!, port: 7)
        let sent = unsafe host.stack.send(socket, [1].span.bytes, to: IPAddress("10.0.0.9")!, port: 7)
        #expect(sent == .sent)
        host.wait(.seconds(4))
        let error = host.stack.takeError(of: socket)
        #expect(error == .unreachable)
    }

    @Test func `A gateway is asked as soon as TCP doubts it, and another takes its place if it is silent`() throws {
        var interface = InterfaceConfiguration(.ethernet(Host.mac), addresses: [InterfaceAddress("10.0.0.1/24")!])
        interface.gateways = [IPAddress("10.0.0.2")!, IPAddress("10.0.0.3")!]
        (interface.detectsConflicts, interface.usesAutoconfiguration) = (false, false)
        var host = Host([interface])
        let id = try host.stack.connect(to: IPAddress("192.0.2.9")!, port: 7)
        host.flush()
        // The first gateway says that it is there, once, and is silent from then on.
        host.receive(
            FrameBytes.ethernet(
                FrameBytes.arp(2, from: "10.0.0.2", Self.gatewayMAC, to: "10.0.0.1", Host.mac), Self.arp))
        let syn = try #require(host.take().last)
        #expect(Array(syn[0..<6]) == FrameBytes.octets(Self.gatewayMAC))
        // R1 comes after 1 + 2 + 4 s, long before the neighbor would be asked by itself.
        host.wait(.seconds(8))
        #expect(host.stack.softError(of: id) == .unacknowledged)
        let asks = host.take().contains { Self.isRequest($0, for: "10.0.0.2", to: Self.gatewayMAC) }
        #expect(asks)
        host.wait(.seconds(10))
        let other = host.take().contains { Self.isRequest($0, for: "10.0.0.3") }
        #expect(other)
    }
}
