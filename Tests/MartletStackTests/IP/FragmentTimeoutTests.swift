// Datagrams that do not get whole in time: who has sent them is told, and which it was.

import Testing

@testable import MartletStack

@Suite struct FragmentTimeoutTests {
    private static func host() -> Host {
        var interface = InterfaceConfiguration(.ip)
        interface.addresses = [InterfaceAddress("10.0.0.1/24")!, InterfaceAddress("2001:db8::1/64")!]
        return Host([interface])
    }

    /// Eight bytes of UDP's header and eight more, as the fragment at `offset` of a longer datagram.
    private static func fragment(isIPv6: Bool, offset: UInt16) -> [UInt8] {
        let payload = FrameBytes.udp([UInt8](1...8), from: 1234, to: 5678)
        let place = [UInt8(offset >> 8), UInt8(offset & 0xFF) | 1]
        if isIPv6 {
            return FrameBytes.ip(
                [17, 0] + place + [0, 0, 0x12, 0x34] + payload, from: "2001:db8::9", to: "2001:db8::1", 44)
        }
        var packet = FrameBytes.ip(payload, from: "10.0.0.9", to: "10.0.0.1", 17)
        (packet[4], packet[5]) = (0x12, 0x34)
        (packet[6], packet[7]) = (0x20 | UInt8((offset / 8) >> 8), UInt8((offset / 8) & 0xFF))
        (packet[10], packet[11]) = (0, 0)
        let checksum = FrameBytes.sum(Array(packet[..<20]))
        (packet[10], packet[11]) = (UInt8(checksum >> 8), UInt8(checksum & 0xFF))
        return packet
    }

    @Test(arguments: [false, true])
    func `Who sent the first fragment of a datagram hears that the others did not come in time`(isIPv6: Bool) throws {
        var host = Self.host()
        host.receive(Self.fragment(isIPv6: isIPv6, offset: 0))
        host.wait(.seconds(29))
        let early = host.take()
        #expect(early.isEmpty)
        host.wait(.seconds(32))
        let frames = host.take()
        try #require(frames.count == 1)
        let icmp = frames[0][(isIPv6 ? 40 : 20)...]
        #expect(Array(icmp.prefix(2)) == (isIPv6 ? [3, 1] : [11, 1]))
        let quote = Array(icmp.dropFirst(8))
        #expect(
            quote.suffix(8) == FrameBytes.udp([UInt8](1...8), from: 1234, to: 5678).prefix(8),
            "the ports say to whom it was")
        if isIPv6 {
            #expect(Array(quote[8..<24]) == FrameBytes.octets(IPAddress("2001:db8::9")!))
            #expect(quote[40] == 17 && Array(quote[44..<48]) == [0, 0, 0x12, 0x34])
        } else {
            #expect(
                Array(quote[12..<20]) == FrameBytes.octets(IPAddress("10.0.0.9")!)
                    + FrameBytes.octets(IPAddress("10.0.0.1")!))
            #expect(Array(quote[4..<6]) == [0x12, 0x34] && quote[9] == 17)
            #expect(FrameBytes.sum(Array(quote[..<20])) == 0)
        }
    }

    @Test(arguments: [false, true])
    func `Of a datagram whose first fragment is missing nobody is told`(isIPv6: Bool) {
        var host = Self.host()
        host.receive(Self.fragment(isIPv6: isIPv6, offset: 16))
        host.wait(.seconds(120))
        let frames = host.take()
        #expect(frames.isEmpty)
        #expect(host.stack.network.reassembly.counters.timedOut == 1)
    }
}
