// IPv6 addresses: what RFC 4291 §2.2 lets people write, and the one text that RFC 5952 lets us write.

import MartletStack
import Testing

@Suite struct IPv6AddressTests {
    @Test func `Halves, groups, octets and text are the same address`() {
        let address = IPv6Address(high: 0x2001_0DB8_0001_0002, low: 0x0003_0004_0005_ABCD)
        #expect(address == IPv6Address(groups: [0x2001, 0xDB8, 1, 2, 3, 4, 5, 0xABCD]))
        #expect(address.description == "2001:db8:1:2:3:4:5:abcd")
        #expect(IPv6Address("2001:db8:1:2:3:4:5:abcd") == address)
        let (groups, octets) = (address.groups, address.octets)
        #expect(groups.indices.map { groups[$0] } == [0x2001, 0xDB8, 1, 2, 3, 4, 5, 0xABCD])
        #expect(
            octets.indices.map { octets[$0] } == [0x20, 1, 0xD, 0xB8, 0, 1, 0, 2, 0, 3, 0, 4, 0, 5, 0xAB, 0xCD])
    }

    @Test(arguments: [
        // RFC 5952 §4.1: no leading zeros. §4.3: lower case.
        ("2001:0DB8::0001", "2001:db8::1"),
        ("2001:DB8:AAAA:BBBB:CCCC:DDDD:EEEE:0001", "2001:db8:aaaa:bbbb:cccc:dddd:eeee:1"),
        // §4.2.1: as short as possible. §4.2.2: not for a single group.
        ("2001:db8:0:0:0:0:2:1", "2001:db8::2:1"), ("2001:db8::0:1", "2001:db8::1"),
        ("2001:db8::1:1:1:1:1", "2001:db8:0:1:1:1:1:1"), ("2001:db8:0:1:1:1:1:1", "2001:db8:0:1:1:1:1:1"),
        // §4.2.3: the longest run, and the first of equals.
        ("2001:0:0:1:0:0:0:1", "2001:0:0:1::1"), ("2001:db8:0:0:1:0:0:1", "2001:db8::1:0:0:1"),
        ("0:0:1:0:0:1:0:0", "::1:0:0:1:0:0"), ("1:0:0:2:0:0:0:0", "1:0:0:2::"),
        // At either end.
        ("0:0:0:0:0:0:0:0", "::"), ("0:0:0:0:0:0:0:1", "::1"), ("1:0:0:0:0:0:0:0", "1::"), ("::", "::"), ("::1", "::1"),
        ("0:1:2:3:4:5:6:7", "0:1:2:3:4:5:6:7"), ("1:2:3:4:5:6:7:0", "1:2:3:4:5:6:7:0"),
        ("::2:3:4:5:6:7:8", "0:2:3:4:5:6:7:8"), ("1:2:3:4:5:6:7::", "1:2:3:4:5:6:7:0"),
        ("0:0:3:4:5:6:7:8", "::3:4:5:6:7:8"),
        ("1:2:3:4:5:6:0:0", "1:2:3:4:5:6::"), ("ff02:0:0:0:0:0:0:fb", "ff02::fb"),
        // §5: a dotted quad for the IPv4-mapped prefix, and read everywhere.
        ("::ffff:192.0.2.1", "::ffff:192.0.2.1"), ("::FFFF:c000:201", "::ffff:192.0.2.1"),
        ("0:0:0:0:0:FFFF:129.144.52.38", "::ffff:129.144.52.38"), ("::ffff:0.0.0.0", "::ffff:0.0.0.0"),
        ("::13.1.68.3", "::d01:4403"), ("64:ff9b::192.0.2.33", "64:ff9b::c000:221"),
        ("1::ffff:1.2.3.4", "1::ffff:102:304"),
        ("1:2:3:4:5:6:1.2.3.4", "1:2:3:4:5:6:102:304"), ("1:2:3:4:5::1.2.3.4", "1:2:3:4:5:0:102:304"),
        ("::2:3:4:5:6:1.2.3.4", "0:2:3:4:5:6:102:304"), ("::ffff:0:1.2.3.4", "::ffff:0:102:304"),
    ])
    func `Every form is read, and written in the canonical one`(text: String, canonical: String) throws {
        let address = try #require(IPv6Address(text))
        #expect(address.description == canonical)
        #expect(IPv6Address(canonical) == address)
    }

    @Test(arguments: [
        "", ":", ":::", "::::", "1", "1:", ":1", "1:2:3:4:5:6:7", "1:2:3:4:5:6:7:", ":1:2:3:4:5:6:7",
        "1:2:3:4:5:6:7:8:", ":1:2:3:4:5:6:7:8", "1:2:3:4:5:6:7:8:9", "1:2:3:4:5:6:7:8::", "::1:2:3:4:5:6:7:8",
        "1:2:3:4::5:6:7:8", "1::2::3", "::1::", "1:::2", ":::1", "1:::", "::1:", ":1::", "12345::", "::12345",
        "::00001", "::g", "::-1", "::+1", "::1 ", " ::1", "::1\n", "::1\0", "[::1]", "::1%eth0", "fe80::1%1",
        "::1/128", "::0x1", "1.2.3.4", "::1.2.3", "::1.2.3.4.5", "::1.2.3.256", "::01.2.3.4", "::1.2.3.4:5",
        "::1.2.3.4::", "1.2.3.4::", "1:2:3:4:5:6:7:1.2.3.4", "1:2:3:4:5:1.2.3.4", "1:2:3:4:5:6::7:1.2.3.4",
        "::a.2.3.4", "::1234.1.1.1", "::12345.1.1.1", "::.1.2.3", "::1..2.3", "::1.2.3.4.", "::1.2.3.4%0",
        "1;2;3;4;5;6;7;8", "::１", "::é", "localhost",
    ])
    func `Text that is not an address is refused`(text: String) {
        #expect(IPv6Address(text) == nil)
    }

    @Test(arguments: UInt64(1)...8)
    func `Any address survives being written and read, in full too`(seed: UInt64) throws {
        var random = SeededGenerator(seed: seed)
        for _ in 0..<200 {
            // Many zero groups, for runs of every length in every place.
            var groups = InlineArray<8, UInt16>(repeating: 0)
            for index in groups.indices where Bool.random(using: &random) {
                groups[index] = UInt16(truncatingIfNeeded: random.anyMagnitude(below: 16))
            }
            let address = IPv6Address(groups: groups)
            let text = address.description
            try #require(IPv6Address(text) == address, "seed \(seed), \(text)")
            let full = groups.indices.map { String(groups[$0], radix: 16) }.joined(separator: ":")
            try #require(IPv6Address(full) == address, "seed \(seed), \(full)")
            if address.isIPv4Mapped { continue }
            try #require(text.contains("::") == ":\(full):".contains(":0:0:"), "seed \(seed), \(text)")
            try #require(text.utf8.count <= full.utf8.count, "seed \(seed), \(text)")
        }
    }

    @Test(arguments: UInt64(1)...8)
    func `Text made of an address's characters is refused or read as what it says`(seed: UInt64) throws {
        var random = SeededGenerator(seed: seed)
        let pieces = ["::", ":", "0", "1", "ab", "ffff", ".", "255", "1.2.3.4", "12345"]
        for _ in 0..<2_000 {
            let length = Int.random(in: 1...16, using: &random)
            let text = (0..<length).map { _ in pieces.randomElement(using: &random)! }.joined()
            guard let address = IPv6Address(text) else { continue }
            try #require(IPv6Address(address.description) == address, "seed \(seed), \(text)")
            let groups = text.split(separator: ":")
            try #require(groups.allSatisfy { $0.contains(".") || $0.count <= 4 }, "seed \(seed), \(text)")
        }
    }

    @Test func `An IPv4-mapped address goes there and back, and others do not`() {
        let address = IPv4Address(203, 0, 113, 9)
        let mapped = IPv6Address(mapping: address)
        #expect(mapped.isIPv4Mapped)
        #expect(mapped.mappedIPv4 == address)
        #expect(mapped == IPv6Address("::ffff:cb00:7109"))
        #expect(IPv6Address.loopback.mappedIPv4 == nil)
        #expect(IPv6Address(high: 1, low: mapped.low).mappedIPv4 == nil)
        #expect(IPv6Address(high: 0, low: mapped.low | 1 << 48).mappedIPv4 == nil)
    }

    @Test func `Blocks end where they end`() {
        #expect(IPv6Address.loopback.isLoopback)
        #expect(!IPv6Address.any.isLoopback)
        #expect(IPv6Address("fe80::")?.isLinkLocal == true)
        #expect(IPv6Address("febf:ffff::1")?.isLinkLocal == true)
        #expect(IPv6Address("fe7f:ffff::1")?.isLinkLocal == false)
        #expect(IPv6Address("fec0::1")?.isLinkLocal == false)
        #expect(IPv6Address("ff00::")?.isMulticast == true)
        #expect(IPv6Address("feff::")?.isMulticast == false)
    }
}
