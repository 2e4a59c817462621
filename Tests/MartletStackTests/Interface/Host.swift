// A stack whose other side is the test itself: frames go in and come out as bytes, and time is the test's.

@testable import MartletStack

struct Host: ~Copyable {
    var stack: Stack
    var now = Instant.zero
    /// All that has come out, in order, and where.
    private(set) var sent: [(interface: UInt8, bytes: [UInt8])] = []
    let pool: FramePool

    static let mac = MACAddress(bits: 0x02_00_00_00_00_01)
    static let peerMAC = MACAddress(bits: 0x02_00_00_00_00_99)

    /// A host with these interfaces.
    init(
        _ interfaces: [InterfaceConfiguration], limits: StackLimits = StackLimits(), frames: Int = 256, seed: UInt64 = 1
    ) {
        pool = FramePool(count: frames)
        stack = Stack(interfaces, limits: limits, pool: pool, secret: .init(low: seed, high: 7), now: .zero)
    }

    /// A host on one Ethernet, whose addresses nobody contests.
    init(_ addresses: String..., gateway: String? = nil, seed: UInt64 = 1) {
        var interface = InterfaceConfiguration(.ethernet(Host.mac), addresses: addresses.map { InterfaceAddress($0)! })
        interface.gateways = gateway.map { [IPAddress($0)!] } ?? []
        interface.detectsConflicts = false
        interface.usesAutoconfiguration = false
        self.init([interface], seed: seed)
    }

    /// Lets one frame arrive, and all that follows from it at once.
    mutating func receive(_ bytes: [UInt8], on interface: UInt8 = 0) {
        var burst = pool.makeBurst()
        guard var frame = burst.takeFrame() else { return }
        frame.setLength(bytes.count)
        var space = frame.mutableBytes
        for (index, byte) in bytes.enumerated() { space.store(byte, at: index) }
        burst.append(frame)
        stack.ingress(&burst, on: interface, at: now)
        stack.advance(to: now)
        flush()
    }

    mutating func flush() {
        var burst = pool.makeBurst()
        var isPaid = false
        for _ in 0..<1000 where !isPaid {
            isPaid = stack.egress(into: &burst, at: now)
            while let frame = burst.popFirst() {
                let bytes = frame.bytes
                sent.append((frame.interface, (0..<bytes.byteCount).map { bytes.byte(at: $0) }))
            }
        }
        precondition(isPaid, "egress never ends")
    }

    /// Lets time pass, and whatever happens by itself.
    mutating func wait(_ duration: Duration) {
        let end = now + duration
        flush()
        for _ in 0..<100_000 {
            guard let deadline = stack.nextDeadline, deadline <= end else { break }
            now = max(now, deadline)
            stack.advance(to: now)
            flush()
        }
        now = end
        stack.advance(to: now)
        flush()
    }

    /// Takes what has come out since the last time.
    mutating func take() -> [[UInt8]] {
        defer { sent = [] }
        return sent.map { $0.bytes }
    }

    func dropped(_ reason: PacketDrop) -> UInt64 { stack.network.counters[reason] }
}

// MARK: - Frames

/// What a test writes and reads, by hand.
enum FrameBytes {
    static func ethernet(
        _ payload: [UInt8], _ type: UInt16, to destination: MACAddress = Host.mac,
        from source: MACAddress = Host.peerMAC, tag: UInt16? = nil
    ) -> [UInt8] {
        var bytes = octets(destination) + octets(source)
        if let tag { bytes += [0x81, 0, UInt8(tag >> 8), UInt8(tag & 0xFF)] }
        return bytes + [UInt8(type >> 8), UInt8(type & 0xFF)] + payload
    }

    static func octets(_ address: MACAddress) -> [UInt8] { (0..<6).map { address.octets[$0] } }

    static func octets(_ address: IPAddress) -> [UInt8] {
        switch address {
        case .v4(let address): (0..<4).map { address.octets[$0] }
        case .v6(let address): (0..<16).map { address.octets[$0] }
        }
    }

    /// An IPv4 or IPv6 packet without options or extension headers.
    static func ip(
        _ payload: [UInt8], from source: String, to destination: String, _ protocolNumber: UInt8, hops: UInt8 = 64
    ) -> [UInt8] {
        let (source, destination) = (IPAddress(source)!, IPAddress(destination)!)
        if case .v4 = source {
            let length = 20 + payload.count
            var header: [UInt8] =
                [0x45, 0, UInt8(length >> 8), UInt8(length & 0xFF), 0, 1, 0, 0, hops, protocolNumber, 0, 0]
                + octets(source) + octets(destination)
            let checksum = sum(header)
            header[10] = UInt8(checksum >> 8)
            header[11] = UInt8(checksum & 0xFF)
            return header + payload
        }
        return [0x60, 0, 0, 0, UInt8(payload.count >> 8), UInt8(payload.count & 0xFF), protocolNumber, hops]
            + octets(source) + octets(destination) + payload
    }

    /// The checksum of RFC 1071, the slow way.
    static func sum(_ bytes: [UInt8]) -> UInt16 {
        var total: UInt32 = 0
        for index in stride(from: 0, to: bytes.count, by: 2) {
            total += UInt32(bytes[index]) << 8 | (index + 1 < bytes.count ? UInt32(bytes[index + 1]) : 0)
        }
        while total > 0xFFFF { total = total >> 16 + total & 0xFFFF }
        return ~UInt16(total)
    }

    /// A message of ICMP for both versions, with its checksum.
    static func icmp(_ message: [UInt8], from source: String, to destination: String) -> [UInt8] {
        var message = message
        (message[2], message[3]) = (0, 0)
        var checked = message
        if case .v6 = IPAddress(source)! {
            checked =
                octets(IPAddress(source)!) + octets(IPAddress(destination)!)
                + [0, 0, UInt8(message.count >> 8), UInt8(message.count & 0xFF), 0, 0, 0, 58] + message
        }
        let checksum = sum(checked)
        message[2] = UInt8(checksum >> 8)
        message[3] = UInt8(checksum & 0xFF)
        let isIPv4 = IPAddress(source)!.bitWidth == 32
        // Neighbor Discovery is believed only if no router has passed it on.
        return ip(message, from: source, to: destination, isIPv4 ? 1 : 58, hops: isIPv4 ? 64 : 255)
    }

    static func arp(
        _ operation: UInt8, from sender: String, _ senderMAC: MACAddress = Host.peerMAC, to target: String,
        _ targetMAC: MACAddress = .zero
    ) -> [UInt8] {
        [0, 1, 8, 0, 6, 4, 0, operation] + octets(senderMAC) + octets(IPAddress(sender)!) + octets(targetMAC)
            + octets(IPAddress(target)!)
    }

    static func udp(_ payload: [UInt8], from source: UInt16, to destination: UInt16) -> [UInt8] {
        let length = 8 + payload.count
        return [
            UInt8(source >> 8), UInt8(source & 0xFF), UInt8(destination >> 8), UInt8(destination & 0xFF),
            UInt8(length >> 8), UInt8(length & 0xFF), 0, 0,
        ] + payload
    }
}
