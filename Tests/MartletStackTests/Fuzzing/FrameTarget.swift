// Frames of the fuzzer's, one after another, for a host on an Ethernet that makes its addresses itself and asks for one by DHCP.
// Each says how much of it is to be made right: nothing, or lengths and checksums up to a layer.

@testable import MartletStack

struct FrameTarget: ~Copyable {
    private var input: FuzzInput
    private var host: FuzzedStack
    private let socket: SocketID?
    /// Of the DHCP client's last message: a server has to repeat it.
    private var transaction: [UInt8] = [0, 0, 0, 0]

    static func run(_ bytes: [UInt8]) throws(Violation) {
        var target = FrameTarget(FuzzInput(bytes))
        try target.run()
    }

    private init(_ bytes: FuzzInput) {
        var input = bytes
        let how = input.byte()
        var interface = InterfaceConfiguration(
            .ethernet(MACAddress(bits: 0x02_00_00_00_00_01)),
            addresses: [InterfaceAddress("10.0.0.1/24")!, InterfaceAddress("fd00::1/64")!])
        interface.detectsConflicts = how & 1 != 0
        interface.usesDHCP = how & 2 != 0
        interface.vlan = [.untagged, .anyTag, .member(5), .untagged][Int(how >> 2 & 3)]
        var limits = StackLimits(network: .few)
        limits.network.routes = 4
        limits.network.neighbors.entries = 4
        limits.network.reassembly.fragments = 4
        limits.network.paths = 2
        limits.tcp.connections = 4
        limits.tcp.ringMemory = 64 << 10
        limits.tcp.sentRecords = 8
        limits.tcp.ranges = 8
        limits.udp.sockets = 2
        limits.udp.datagrams = 4
        limits.udp.ringMemory = 8 << 10
        host = FuzzedStack(interface, limits: limits, frames: how & 16 == 0 ? 70 : 4, secret: 2, now: .zero)
        _ = try? host.stack.listen(on: 80, backlog: 2)
        socket = try? host.stack.bind(IPAddress("0.0.0.0")!, port: 53)
        self.input = input
    }

    private mutating func run() throws(Violation) {
        try host.settle()
        var frames = 0
        while !input.isEmpty, frames < 64 {
            try one()
            frames += 1
        }
        if let socket { host.stack.close(socket) }
        try host.checkEmpty()
    }

    private mutating func one() throws(Violation) {
        let how = input.byte()
        let size = input.byte()
        // 32 of the sizes are those that matter: of frames at their longest, and around.
        let count = size < 224 ? Int(size) : 1500 - Int(size - 224)
        let body = input.bytes(count)
        if let frame = frame(how & 15, body) {
            try host.ingress([(frame, how & 0x40 == 0 ? [] : .checksumVerified, 0)])
        }
        if how & 0x10 != 0 { try host.wait(1000 << Int64(input.byte() & 31), deadlines: 50) }
        if how & 0x20 != 0, let socket { _ = host.stack.receive(socket) { _, _ in } }
        while host.stack.nextEvent() != nil {}
        for packet in host.packets where packet.count >= 28 + 240 && packet[0] == 0x45 && packet[9] == 17 {
            transaction = Array(packet[32..<36])
        }
        host.packets = []
        host.frames = []
    }

    /// The frame of these bytes, with headers as the first digit says.
    private func frame(_ how: UInt8, _ body: [UInt8]) -> [UInt8]? {
        switch how {
        case 0: return body
        case 1: return Self.ethernet(Array(body.dropFirst(2)), Array(body.prefix(2)))
        case 2: return Self.ethernet(Array(body.dropFirst(4)), [0x81, 0, 0, 5] + body.prefix(2))
        case 3, 4, 5: return transport(body, .v4, [1, 6, 17][Int(how - 3)])
        case 6, 7, 8: return transport(body, .v6, [58, 6, 17][Int(how - 6)])
        case 9: return ipv4(body)
        case 10: return ipv6(body)
        case 11: return Self.ethernet([0, 1, 8, 0, 6, 4, 0] + body, [0x08, 0x06])
        case 12: return dhcp(body)
        case 13: return toEverybody(body)
        default:
            guard let first = body.first else { return nil }
            return transport(Array(body.dropFirst()), how == 14 ? .v4 : .v6, first)
        }
    }

    private static func ethernet(
        _ payload: [UInt8], _ type: [UInt8], to destination: [UInt8] = FuzzEnds.localLink
    ) -> [UInt8] {
        destination + FuzzEnds.remoteLink + type + payload
    }

    private func transport(_ body: [UInt8], _ ends: FuzzEnds, _ number: UInt8) -> [UInt8] {
        var body = body
        // Somebody listens there.
        if number == 6, body.count >= 20 { body.put(80 as UInt16, at: 2) }
        if number == 17, body.count >= 8 {
            if body[2] & 1 == 0 { body.put(53 as UInt16, at: 2) }
            if body[4] & 1 == 0 { body.put(UInt16(body.count), at: 4) }
        }
        ends.complete(&body, number)
        return Self.ethernet(ends.packet(body, number, hops: 255), ends.isIPv4 ? [0x08, 0] : [0x86, 0xDD])
    }

    /// An IPv4 header of the fuzzer's, options and fragments included, for us.
    private func ipv4(_ body: [UInt8]) -> [UInt8]? {
        guard body.count >= 20 else { return nil }
        var packet = body
        let headerLength = max(20, min(Int(body[0] & 15) * 4, body.count & ~3))
        packet[0] = 0x40 | UInt8(headerLength / 4)
        packet.put(UInt16(body.count), at: 2)
        packet.replaceSubrange(12..<20, with: FuzzEnds.v4.remote + FuzzEnds.v4.local)
        packet.put(0 as UInt16, at: 10)
        packet.put(~Array(packet[..<headerLength]).naiveSum, at: 10)
        return Self.ethernet(packet, [0x08, 0])
    }

    /// An IPv6 header for us, with extension headers of the fuzzer's behind it.
    private func ipv6(_ body: [UInt8]) -> [UInt8]? {
        guard let next = body.first else { return nil }
        return Self.ethernet(FuzzEnds.v6.packet(Array(body.dropFirst()), next), [0x86, 0xDD])
    }

    /// What a DHCP server might say to our client.
    private func dhcp(_ body: [UInt8]) -> [UInt8] {
        var message: [UInt8] =
            [2, 1, 6, 0] + transaction + [0, 0, 0, 0, 0, 0, 0, 0, 10, 0, 0, 77, 0, 0, 0, 0, 0, 0, 0, 0]
        message += FuzzEnds.localLink + [UInt8](repeating: 0, count: 10 + 192) + [0x63, 0x82, 0x53, 0x63] + body
        var datagram: [UInt8] = [0, 67, 0, 68]
        datagram.append(number: UInt16(8 + message.count))
        datagram += [0, 0] + message
        let ends = FuzzEnds(isIPv4: true, local: [255, 255, 255, 255], remote: FuzzEnds.v4.remote)
        ends.complete(&datagram, 17)
        return Self.ethernet(ends.packet(datagram, 17), [0x08, 0], to: [UInt8](repeating: 255, count: 6))
    }

    /// Multicast Listener Discovery, router advertisements and others that go to all nodes.
    private func toEverybody(_ body: [UInt8]) -> [UInt8] {
        let linkLocal: [UInt8] = [0xFE, 0x80] + [UInt8](repeating: 0, count: 13) + [9]
        let ends = FuzzEnds(
            isIPv4: false, local: [0xFF, 2] + [UInt8](repeating: 0, count: 13) + [1], remote: linkLocal)
        var message = body
        ends.complete(&message, 58)
        return Self.ethernet(
            ends.packet(message, 58, hops: 255), [0x86, 0xDD], to: [0x33, 0x33, 0, 0, 0, 1])
    }
}
