// The hash of tables: that each part of its key counts, and that nothing of a key shows in what two hashes have in common.

import Testing

@testable import MartletStack

@Suite struct ProductHashTests {
    private static func hash(_ low: UInt64, _ high: UInt64) -> ProductHash {
        ProductHash(secret: SipHash.Key(low: low, high: high))
    }

    private static func random(isIPv4: Bool, using random: inout SeededGenerator) -> FourTuple {
        func address() -> IPAddress {
            isIPv4
                ? .v4(IPv4Address(bits: UInt32.random(in: 0...UInt32.max, using: &random)))
                : .v6(
                    IPv6Address(
                        high: UInt64.random(in: 1...UInt64.max, using: &random),
                        low: UInt64.random(in: 0...UInt64.max, using: &random)))
        }
        return FourTuple(
            localAddress: address(), localPort: .random(in: 0...UInt16.max, using: &random), remoteAddress: address(),
            remotePort: .random(in: 0...UInt16.max, using: &random))
    }

    /// The same ends but for one bit, for each bit of addresses and ports.
    private static func neighbours(_ tuple: FourTuple) -> [FourTuple] {
        var all: [FourTuple] = []
        func flipped(_ address: IPAddress, _ bit: Int) -> IPAddress {
            switch address {
            case .v4(let address): .v4(IPv4Address(bits: address.bits ^ 1 << UInt32(bit)))
            case .v6(let address):
                .v6(
                    bit < 64
                        ? IPv6Address(high: address.high, low: address.low ^ 1 << UInt64(bit))
                        : IPv6Address(high: address.high ^ 1 << UInt64(bit - 64), low: address.low))
            }
        }
        for bit in 0..<tuple.remoteAddress.bitWidth {
            for isLocal in [true, false] {
                var other = tuple
                if isLocal {
                    other.localAddress = flipped(tuple.localAddress, bit)
                } else {
                    other.remoteAddress = flipped(tuple.remoteAddress, bit)
                }
                all.append(other)
            }
        }
        for bit in 0..<16 {
            var (local, remote) = (tuple, tuple)
            local.localPort ^= 1 << UInt16(bit)
            remote.remotePort ^= 1 << UInt16(bit)
            all += [local, remote]
        }
        return all
    }

    @Test("each bit of both ends changes the hash, about half of it", arguments: [true, false])
    func eachBit(isIPv4: Bool) {
        var random = SeededGenerator(seed: 1)
        for seed in 0..<16 as Range<UInt64> {
            let hash = Self.hash(seed, 3)
            let tuple = Self.random(isIPv4: isIPv4, using: &random)
            let value = hash(tuple)
            let changes = Self.neighbours(tuple).map { (value ^ hash($0)).nonzeroBitCount }
            #expect(changes.count == (isIPv4 ? 96 : 288))
            #expect(changes.allSatisfy { $0 > 8 }, "seed \(seed)")
            let mean = Double(changes.reduce(0, +)) / Double(changes.count)
            #expect((28..<36).contains(mean), "seed \(seed): \(mean)")
        }
    }

    @Test("both ends exchanged have another hash, and each half of the secret counts", arguments: [true, false])
    func secretAndOrder(isIPv4: Bool) {
        var random = SeededGenerator(seed: 2)
        for _ in 0..<32 {
            let tuple = Self.random(isIPv4: isIPv4, using: &random)
            let exchanged = FourTuple(
                localAddress: tuple.remoteAddress, localPort: tuple.remotePort, remoteAddress: tuple.localAddress,
                remotePort: tuple.localPort)
            let hash = Self.hash(1, 2)
            let values = [hash(tuple), hash(exchanged), Self.hash(1, 3)(tuple), Self.hash(3, 2)(tuple)]
            #expect(Set(values).count == 4)
            #expect(hash(tuple) == Self.hash(1, 2)(tuple))
        }
    }

    /// Were the ports only mixed in at the end, one pair of addresses whose ports collide would give away all others.
    @Test("what two ports do to the hash depends on the addresses", arguments: [true, false])
    func noSharedDifference(isIPv4: Bool) {
        var random = SeededGenerator(seed: 3)
        let hash = Self.hash(4, 5)
        var differences: Set<UInt64> = []
        for _ in 0..<64 {
            var tuple = Self.random(isIPv4: isIPv4, using: &random)
            (tuple.localPort, tuple.remotePort) = (80, 1000)
            var other = tuple
            other.remotePort = 1001
            differences.insert(hash(tuple) ^ hash(other))
        }
        #expect(differences.count == 64)
    }

    @Test("a small table fills evenly with what one stranger has, and with a stranger from each address")
    func spread() {
        let hash = Self.hash(6, 7)
        for isOneAddress in [true, false] {
            var counts = [Int](repeating: 0, count: 64)
            for number in 0..<6_400 as Range<UInt32> {
                let tuple = FourTuple(
                    localAddress: .v4(IPv4Address(10, 0, 0, 1)), localPort: 80,
                    remoteAddress: .v4(IPv4Address(bits: 0x0A01_0000 + (isOneAddress ? 0 : number))),
                    remotePort: isOneAddress ? UInt16(number) : 1024)
                counts[Int(hash(tuple) & 63)] += 1
            }
            #expect(counts.allSatisfy { (50...160).contains($0) }, "\(counts)")
        }
    }
}
