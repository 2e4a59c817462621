// IPv4 addresses: strict dotted quads, and which block an address is in.

import MartletStack
import Testing

@Suite struct IPv4AddressTests {
    @Test func `Octets, bits and text are the same address`() {
        let address = IPv4Address(192, 0, 2, 1)
        #expect(address.bits == 0xC000_0201)
        #expect(address == IPv4Address(bits: 0xC000_0201))
        #expect(address.description == "192.0.2.1")
        #expect(IPv4Address("192.0.2.1") == address)
        let octets = address.octets
        #expect(octets.indices.map { octets[$0] } == [192, 0, 2, 1])
    }

    @Test(arguments: [
        ("0.0.0.0", IPv4Address.any), ("127.0.0.1", .loopback), ("255.255.255.255", .broadcast),
        ("10.20.30.40", IPv4Address(10, 20, 30, 40)), ("1.0.100.9", IPv4Address(1, 0, 100, 9)),
    ])
    func `A dotted quad is read and written the same`(text: String, address: IPv4Address) {
        #expect(IPv4Address(text) == address)
        #expect(address.description == text)
    }

    @Test(arguments: [
        "", ".", "...", "1", "1.2", "1.2.3", "1.2.3.", ".1.2.3", "1..2.3", "1.2.3.4.", ".1.2.3.4", "1.2.3.4.5",
        "256.0.0.0", "0.0.0.256", "1.2.3.999", "1.2.3.4294967296", "1.2.3.18446744073709551616", "01.2.3.4", "1.2.3.04",
        "00.0.0.0", "1.2.3.4 ", " 1.2.3.4", "1. 2.3.4", "1.2.3.4\n", "1.2.3.4\0", "+1.2.3.4", "-1.2.3.4", "1.2.3.-0",
        "0x7f.0.0.1", "1.2.3.a", "1,2,3,4", "1.2.3.4/24", "1.2.3.4:80", "3232235777", "127.1", "::1", "１.2.3.4",
        "١.2.3.4", "1.2.3.4é", "1:2:3:4",
    ])
    func `Text that is not a strict dotted quad is refused`(text: String) {
        #expect(IPv4Address(text) == nil)
    }

    @Test(arguments: UInt64(1)...8)
    func `Any address survives being written and read`(seed: UInt64) throws {
        var random = SeededGenerator(seed: seed)
        for _ in 0..<200 {
            let address = IPv4Address(bits: UInt32(truncatingIfNeeded: random.next()))
            try #require(IPv4Address(address.description) == address, "seed \(seed)")
        }
    }

    @Test func `A block holds its first and last address and not their neighbours`() throws {
        let blocks: [(first: String, last: String, contains: (IPv4Address) -> Bool)] = [
            ("127.0.0.0", "127.255.255.255", { $0.isLoopback }),
            ("224.0.0.0", "239.255.255.255", { $0.isMulticast }),
            ("169.254.0.0", "169.254.255.255", { $0.isLinkLocal }),
            ("10.0.0.0", "10.255.255.255", { $0.isPrivate }),
            ("172.16.0.0", "172.31.255.255", { $0.isPrivate }),
            ("192.168.0.0", "192.168.255.255", { $0.isPrivate }),
        ]
        for block in blocks {
            let first = try #require(IPv4Address(block.first))
            let last = try #require(IPv4Address(block.last))
            #expect(block.contains(first) && block.contains(last), "\(block.first)")
            #expect(!block.contains(IPv4Address(bits: first.bits - 1)), "\(block.first)")
            #expect(!block.contains(IPv4Address(bits: last.bits + 1)), "\(block.last)")
        }
    }
}
