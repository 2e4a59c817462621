// The keyed hash against its published vectors, and what is made of it: numbers that repeat for the same connection and
// secret, and for nothing else.

import Testing

@testable import MartletStack

@Suite struct SipHashTests {
    private static func hash(_ bytes: [UInt8], key: SipHash.Key) -> UInt64 {
        var state = SipHash(key: key)
        var word: UInt64 = 0
        for (index, byte) in bytes.enumerated() {
            word |= UInt64(byte) << UInt64(8 * (index % 8))
            if index % 8 == 7 {
                state.absorb(word)
                word = 0
            }
        }
        return state.finish(word, byteCount: bytes.count)
    }

    /// Key 00 01 … 0F.
    private let key = SipHash.Key(low: 0x0706_0504_0302_0100, high: 0x0F0E_0D0C_0B0A_0908)

    // The paper's appendix A is the one of 15 bytes; the others are those of the authors' reference implementation.
    @Test(
        arguments: [
            (0, 0x726F_DB47_DD0E_0E31), (1, 0x74F8_39C5_93DC_67FD), (2, 0x0D6C_8009_D9A9_4F5A),
            (3, 0x8567_6696_D7FB_7E2D), (4, 0xCF27_94E0_2771_87B7), (5, 0x1876_5564_CD99_A68D),
            (6, 0xCBC9_466E_58FE_E3CE), (7, 0xAB02_00F5_8B01_D137), (8, 0x93F5_F579_9A93_2462),
            (9, 0x9E00_82DF_0BA9_E4B0), (10, 0x7A5D_BBC5_94DD_B9F3), (11, 0xF4B3_2F46_226B_ADA7),
            (12, 0x751E_8FBC_860E_E5FB), (13, 0x14EA_5627_C084_3D90), (14, 0xF723_CA90_8E7A_F2EE),
            (15, 0xA129_CA61_49BE_45E5),
        ] as [(Int, UInt64)])
    func `SipHash-2-4 gives the published hashes of 00 01 02 …`(count: Int, expected: UInt64) {
        #expect(Self.hash((0..<count).map { UInt8($0) }, key: key) == expected)
    }
}

@Suite struct InitialSequenceTests {
    private let hash = ConnectionHash(secret: SipHash.Key(low: 1, high: 2))
    private let tuple = FourTuple(
        localAddress: .v4(IPv4Address(192, 0, 2, 1)), localPort: 80,
        remoteAddress: .v4(IPv4Address(198, 51, 100, 7)), remotePort: 50_000)

    private var variations: [FourTuple] {
        var others = [FourTuple](repeating: tuple, count: 7)
        others[0].localAddress = .v4(IPv4Address(192, 0, 2, 2))
        others[1].remoteAddress = .v4(IPv4Address(198, 51, 100, 8))
        others[2].localPort = 81
        others[3].remotePort = 50_001
        others[4] = FourTuple(
            localAddress: tuple.remoteAddress, localPort: tuple.remotePort, remoteAddress: tuple.localAddress,
            remotePort: tuple.localPort)
        // With the same 32 bits at the end.
        for (number, high) in [(5, 1), (6, 2)] as [(Int, UInt64)] {
            others[number].localAddress = .v6(IPv6Address(high: high, low: 0xFFFF_C000_0201))
            others[number].remoteAddress = .v6(IPv6Address(high: 3 - high, low: 0xFFFF_C633_6407))
        }
        return others
    }

    @Test func `The sequence number of a connection advances by one each four microseconds`() {
        let first = hash.initialSequence(tuple, at: .zero)
        #expect(hash.initialSequence(tuple, at: Instant(nanoseconds: 3_999)) == first)
        #expect(hash.initialSequence(tuple, at: Instant(nanoseconds: 4_000)) - first == 1)
        #expect(hash.initialSequence(tuple, at: Instant(nanoseconds: 1_000_000_000)) - first == 250_000)
        // 4.77 hours later it has gone around.
        #expect(hash.initialSequence(tuple, at: Instant(nanoseconds: 4_000 << 32)) == first)
    }

    @Test func `Every part of the connection and of the secret changes every number`() {
        let secrets: [(UInt64, UInt64)] = [(1, 2), (1, 3), (3, 2), (2, 1), (1, 2 | 1 << 63)]
        let hashes = secrets.map { ConnectionHash(secret: SipHash.Key(low: $0.0, high: $0.1)) }
        let tuples = [tuple] + variations
        var sequences: Set<SequenceNumber> = []
        var offsets: Set<UInt32> = []
        var places: Set<UInt64> = []
        for hash in hashes {
            for tuple in tuples {
                sequences.insert(hash.initialSequence(tuple, at: .zero))
                offsets.insert(hash.timestampOffset(tuple))
                places.insert(hash.tableHash(tuple))
                #expect(hash.initialSequence(tuple, at: .zero).bits != hash.timestampOffset(tuple))
            }
        }
        #expect(sequences.count == 40 && offsets.count == 40 && places.count == 40)
        #expect(sequences.allSatisfy { !offsets.contains($0.bits) })
    }

    @Test func `The port search starts at the same place for the same remote end, whatever the local port`() {
        for other in variations {
            let isSame = hash.portSearch(other) == hash.portSearch(tuple)
            #expect(isSame == (other.localPort == 81))
        }
        #expect(hash.portSearch(tuple).offset != hash.portSearch(tuple).counter)
    }

    @Test func `Table places fill all of a small table`() {
        var counts = [Int](repeating: 0, count: 64)
        var other = tuple
        for port in 0..<6_400 {
            other.remotePort = UInt16(port)
            counts[Int(hash.tableHash(other) & 63)] += 1
        }
        #expect(counts.allSatisfy { (50...160).contains($0) })
    }
}

@Suite struct EphemeralPortsTests {
    private let hash = ConnectionHash(secret: SipHash.Key(low: 5, high: 6))

    private func tuple(remotePort: UInt16) -> FourTuple {
        FourTuple(
            localAddress: .v6(.loopback), localPort: 0, remoteAddress: .v6(IPv6Address("2001:db8::1")!),
            remotePort: remotePort)
    }

    @Test(
        arguments: [(1_024, 65_535), (49_152, 65_535), (0, 65_535), (7, 7), (65_535, 65_535), (10, 12)]
            as [(UInt16, UInt16)])
    func `All ports of the range are given once before one is given again`(first: UInt16, last: UInt16) {
        var ports = EphemeralPorts(first: first, last: last)
        let count = Int(last - first) + 1
        for _ in 0..<2 {
            var given: Set<UInt16> = []
            for _ in 0..<count { given.insert(ports.next(for: tuple(remotePort: 80), hash: hash) { _ in true }!) }
            #expect(given.count == count)
            #expect(given.min() == first && given.max() == last)
        }
    }

    @Test func `One free port among many that are taken is found, and the search for none ends`() {
        var ports = EphemeralPorts()
        #expect(ports.next(for: tuple(remotePort: 1), hash: hash) { $0 == 60_001 } == 60_001)
        var asked = 0
        let port = ports.next(for: tuple(remotePort: 1), hash: hash) { _ in
            asked += 1
            return false
        }
        #expect(port == nil && asked == 16_384)
    }

    @Test func `Other remote ends start elsewhere`() {
        var starts: Set<UInt16> = []
        for remotePort in 1...100 as ClosedRange<UInt16> {
            var ports = EphemeralPorts()
            starts.insert(ports.next(for: tuple(remotePort: remotePort), hash: hash) { _ in true }!)
        }
        #expect(starts.count > 90)
    }
}
