// Neighbor discovery: every message byte for byte, what may not be in it, and options of every length.

import Testing

@testable import MartletStack

@Suite struct NDPMessageTests {
    static let target = IPv6Address("fe80::1")!
    static let link = MACAddress(0x02, 0, 0, 0, 0, 9)
    static let targetHex = "fe80000000000000 0000000000000001"

    static let routerAdvertisement = [UInt8](
        hex: """
            8600 0000 40c0 0708 01020304 05060708
            0101 020000000009
            0501 0000 000005dc
            0304 40c0 00015180 00003840 00000000 20010db8 00000000 00000000 00000000
            """)

    static func neighborAdvertisement(_ bytes: [UInt8]) -> NDPMessage.NeighborAdvertisement? {
        if case .neighborAdvertisement(let advertisement) = NDPMessage(bytes: bytes) { return advertisement }
        return nil
    }

    static func options(_ bytes: [UInt8]) -> NDPOptions? { NDPOptions(parsing: bytes.raw) }

    @Test func `Solicitations are written and read`() {
        let bytes = [UInt8](hex: "8700 0000 00000000 \(Self.targetHex) 0101 020000000009")
        let message = NDPMessage.neighborSolicitation(target: Self.target, sourceLink: Self.link)
        #expect(message.length == 32)
        #expect([UInt8](count: 34) { message.write(to: &$0) } == bytes + [0xEE, 0xEE])
        guard case .neighborSolicitation(Self.target, Self.link) = NDPMessage(bytes: bytes) else {
            Issue.record("not read")
            return
        }
        // While an address is tried out its owner has none to name (RFC 4862).
        let unnamed = NDPMessage.neighborSolicitation(target: Self.target, sourceLink: nil)
        #expect(unnamed.length == 24)
        #expect([UInt8](count: 24) { unnamed.write(to: &$0) } == Array(bytes.prefix(24)))
        guard case .neighborSolicitation(Self.target, nil) = NDPMessage(bytes: Array(bytes.prefix(24))) else {
            Issue.record("not read")
            return
        }
    }

    @Test func `Router solicitations are written and read`() {
        let bytes = [UInt8](hex: "8500 0000 00000000 0101 020000000009")
        let message = NDPMessage.routerSolicitation(sourceLink: Self.link)
        #expect([UInt8](count: message.length) { message.write(to: &$0) } == bytes)
        guard case .routerSolicitation(Self.link) = NDPMessage(bytes: bytes),
            case .routerSolicitation(nil) = NDPMessage(bytes: Array(bytes.prefix(8)))
        else {
            Issue.record("not read")
            return
        }
        let unnamed = NDPMessage.routerSolicitation(sourceLink: nil)
        #expect([UInt8](count: unnamed.length) { unnamed.write(to: &$0) } == Array(bytes.prefix(8)))
    }

    @Test func `Neighbor advertisements are written and read, with each of their flags`() {
        for flags in 0..<16 {
            let advertisement = NDPMessage.NeighborAdvertisement(
                target: Self.target, targetLink: flags & 8 != 0 ? Self.link : nil, isRouter: flags & 1 != 0,
                isSolicited: flags & 2 != 0, isOverride: flags & 4 != 0)
            let message = NDPMessage.neighborAdvertisement(advertisement)
            let bytes = [UInt8](count: message.length) { message.write(to: &$0) }
            #expect(Self.neighborAdvertisement(bytes) == advertisement)
            #expect(bytes[4] == UInt8((flags & 1) << 7 | (flags & 2) << 5 | (flags & 4) << 3))
            #expect(bytes.count == (flags & 8 != 0 ? 32 : 24))
            if flags & 8 != 0 { #expect(bytes[24...] == [UInt8](hex: "0201 020000000009")[...]) }
        }
    }

    @Test func `A router advertisement is read field by field`() {
        guard case .routerAdvertisement(let advertisement) = NDPMessage(bytes: Self.routerAdvertisement) else {
            Issue.record("not read")
            return
        }
        #expect(advertisement.hopLimit == 64)
        #expect(advertisement.isManaged && advertisement.hasOtherConfiguration)
        #expect(advertisement.routerLifetime == 0x0708)
        #expect(advertisement.reachableTime == 0x0102_0304 && advertisement.retransTimer == 0x0506_0708)
        let options = advertisement.options
        #expect(options.sourceLink == Self.link && options.targetLink == nil)
        #expect(options.mtu == 1_500)
        #expect(options.prefixCount == 1 && options.prefixesIgnored == 0)
        let prefix = options.prefixes[0]
        #expect(prefix.address == IPv6Address("2001:db8::") && prefix.length == 64)
        #expect(prefix.isOnLink && prefix.isAutonomous)
        #expect(prefix.validLifetime == 86_400 && prefix.preferredLifetime == 14_400)
    }

    @Test func `The flags of advertisements and prefixes are told apart`() {
        var bytes = Self.routerAdvertisement
        (bytes[5], bytes[35]) = (0x80, 0x40)
        guard case .routerAdvertisement(let first) = NDPMessage(bytes: bytes) else {
            Issue.record("not read")
            return
        }
        #expect(first.isManaged && !first.hasOtherConfiguration)
        #expect(!first.options.prefixes[0].isOnLink && first.options.prefixes[0].isAutonomous)
    }

    @Test func `A redirect names the target and the destination`() {
        let destination = IPv6Address("2001:db8::5")!
        let bytes = [UInt8](
            hex: """
                8900 0000 00000000 \(Self.targetHex) 20010db8 00000000 00000000 00000005
                0201 020000000009
                0402 0000 00000000 0102030405060708
                """)
        guard case .redirect(Self.target, destination, Self.link) = NDPMessage(bytes: bytes) else {
            Issue.record("not read")
            return
        }
        var other = bytes
        other[8] = 0x20  // A router by a global address.
        #expect(NDPMessage(bytes: other) == nil)
        other.replaceSubrange(8..<24, with: bytes[24..<40])  // The destination itself.
        #expect(NDPMessage(bytes: other) != nil)
        other[8] = 0xFF
        other[24] = 0xFF
        #expect(NDPMessage(bytes: other) == nil)
    }

    @Test func `Messages are refused that are cut short, have a code, or name a group`() {
        let messages: [(bytes: [UInt8], fixed: Int)] = [
            ([UInt8](hex: "8500 0000 00000000 0101 020000000009"), 8),
            (Self.routerAdvertisement, 16),
            ([UInt8](hex: "8700 0000 00000000 \(Self.targetHex) 0101 020000000009"), 24),
            ([UInt8](hex: "8800 0000 60000000 \(Self.targetHex) 0201 020000000009"), 24),
            ([UInt8](hex: "8900 0000 00000000 \(Self.targetHex) \(Self.targetHex) 0201 020000000009"), 40),
        ]
        for (bytes, fixed) in messages {
            // Options end where the message may: behind the first of them, or behind the last.
            var ends: Set<Int> = [fixed]
            var offset = fixed
            while offset < bytes.count {
                offset += Int(bytes[offset + 1]) * 8
                ends.insert(offset)
            }
            for length in 0...bytes.count {
                let message = NDPMessage(bytes: Array(bytes.prefix(length)))
                #expect((message != nil) == ends.contains(length), "type \(bytes[0]), \(length) bytes")
            }
            var other = bytes
            other[1] = 1
            #expect(NDPMessage(bytes: other) == nil)
            guard bytes[0] >= 135 else { continue }
            other = bytes
            other[8] = 0xFF
            #expect(NDPMessage(bytes: other) == nil)
            other.replaceSubrange(8..<24, with: [UInt8](repeating: 0, count: 16))
            #expect(NDPMessage(bytes: other) == nil)
        }
        for type in UInt8.min...UInt8.max where !(133...137).contains(type) {
            #expect(NDPMessage(bytes: [type, 0, 0, 0, 0, 0, 0, 0] + [UInt8](hex: Self.targetHex)) == nil)
        }
    }

    // MARK: Options

    // RFC 4861 §6.1.1
    @Test func `An option of length 0, or longer than the message, makes the message invalid`() {
        for type in UInt8.min...UInt8.max {
            for length in UInt8.min...UInt8.max {
                let bytes = [type, length] + [UInt8](repeating: 0, count: 38) + [1, 1, 2, 0, 0, 0, 0, 9]
                let options = Self.options(bytes)
                // Behind a first option of 1 ... 4 units stand zeros: an option of length 0.
                #expect((options != nil) == (length == 5 || length == 6), "type \(type), length \(length)")
                if length == 5 { #expect(options?.sourceLink == Self.link) }
            }
        }
    }

    @Test func `Options of a length that their type does not have are skipped`() {
        for type: UInt8 in [1, 2, 3, 5] {
            for units in 1...5 {
                var bytes = [UInt8](repeating: 1, count: units * 8)
                (bytes[0], bytes[1]) = (type, UInt8(units))
                guard let options = Self.options(bytes) else {
                    Issue.record("\(type), \(units)")
                    continue
                }
                #expect((options.sourceLink != nil) == (type == 1 && units == 1))
                #expect((options.targetLink != nil) == (type == 2 && units == 1))
                #expect((options.prefixCount == 1) == (type == 3 && units == 4))
                #expect((options.mtu != 0) == (type == 5 && units == 1))
            }
        }
    }

    @Test func `Four prefixes are kept, and one too long is not`() {
        let prefix = Array(Self.routerAdvertisement[32...])
        for count in 0...12 {
            var bytes: [UInt8] = []
            for index in 0..<count {
                bytes += prefix
                bytes[index * 32 + 31] = UInt8(index)
            }
            let options = Self.options(bytes)
            #expect(options?.prefixCount == UInt8(min(count, 4)))
            #expect(options?.prefixesIgnored == UInt8(max(count - 4, 0)))
            if count >= 4 { #expect(options?.prefixes[3].address == IPv6Address("2001:db8::3")) }
        }
        for length in UInt8.min...UInt8.max {
            var bytes = prefix
            bytes[2] = length
            #expect(Self.options(bytes)?.prefixCount == (length <= 128 ? 1 : 0))
        }
    }

    @Test func `Of a link address or an MTU that stands there twice, the first counts`() {
        let bytes = [UInt8](hex: "0101 020000000009 0101 020000000008 0501 0000 00000500 0501 0000 000005dc")
        #expect(Self.options(bytes)?.sourceLink == Self.link)
        #expect(Self.options(bytes)?.mtu == 1_280)
    }

    @Test func `64 options are read, and a message with more is refused`() {
        let option: [UInt8] = [200, 1, 0, 0, 0, 0, 0, 0]
        for count in 0...80 {
            let bytes = (0..<count).flatMap { _ in option }
            #expect((Self.options(bytes) != nil) == (count <= 64), "\(count)")
        }
    }

    @Test func `No noise traps`() {
        let seed = UInt64.random(in: 0...UInt64.max)
        var generator = SeededGenerator(seed: seed)
        var read = 0
        for _ in 0..<100_000 {
            var bytes = [UInt8].random(count: Int(generator.next() % 24) * 8, using: &generator)
            if bytes.count >= 8 { (bytes[0], bytes[1]) = (133 + bytes[0] % 5, 0) }
            for index in stride(from: 8, to: bytes.count, by: 8) {
                (bytes[index], bytes[index + 1]) = (bytes[index] % 6, bytes[index + 1] % 5)
            }
            if NDPMessage(bytes: bytes) != nil { read += 1 }
        }
        #expect(read > 1_000, "seed \(seed)")
    }
}
