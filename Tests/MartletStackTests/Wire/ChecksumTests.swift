// The internet checksum, against the letter of RFC 1071.

import Testing

@testable import MartletStack

@Suite struct ChecksumTests {
    /// Inputs whose sums carry seldom, always and never.
    static func inputs(count: Int, seed: UInt64) -> [[UInt8]] {
        var generator = SeededGenerator(seed: seed)
        return [.random(count: count, using: &generator), .init(repeating: 0xFF, count: count)]
            + [.init(repeating: 0, count: count)]
    }

    @Test func `Sums and copies are right for every length to 2100 and every alignment to 16`() {
        let seed = UInt64.random(in: 0...UInt64.max)
        for input in Self.inputs(count: 2_116, seed: seed) {
            for offset in 0..<16 {
                let bytes = input.raw.from(offset)
                var copy = [UInt8](repeating: 0, count: 2_116)
                var naive: UInt32 = 0
                var wrong: [Int] = []
                for length in 0...2_100 {
                    if length > 0 {
                        let byte = UInt32(input[offset + length - 1])
                        naive += length.isMultiple(of: 2) ? byte : byte << 8
                        if naive > 0xFFFF { naive -= 0xFFFF }
                    }
                    let part = bytes.extracting(0..<length)
                    if part.onesComplementSum() != UInt16(naive) { wrong.append(length) }
                    var sum: UInt16 = 0
                    copy.change(from: length & 15) { sum = bytes.extracting(0..<length).copyAndSum(to: &$0) }
                    if sum != UInt16(naive) { wrong.append(length) }
                }
                #expect(wrong == [], "seed \(seed), offset \(offset)")
            }
        }
    }

    @Test func `A copy has the same bytes, and nothing behind it is touched`() {
        let seed = UInt64.random(in: 0...UInt64.max)
        var generator = SeededGenerator(seed: seed)
        let source = [UInt8].random(count: 2_200, using: &generator)
        for length in Array(0...200) + [511, 512, 513, 1_460, 2_047, 2_048, 2_100] {
            let offset = Int.random(in: 0...15, using: &generator)
            let start = Int.random(in: 0...15, using: &generator)
            var expected = [UInt8](repeating: 0xEE, count: 2_200)
            expected.replaceSubrange(start..<start + length, with: source[offset..<offset + length])
            let copy = [UInt8](count: 2_200, from: start) {
                _ = source.raw.extracting(offset..<offset + length).copyAndSum(to: &$0)
            }
            #expect(copy == expected, "seed \(seed), length \(length)")
        }
    }

    @Test(arguments: [65_520, 65_535, 65_536, 1 << 20])
    func `Large inputs lose no carry`(length: Int) {
        let seed = UInt64.random(in: 0...UInt64.max)
        for input in Self.inputs(count: length, seed: seed) {
            #expect(input.raw.onesComplementSum() == input.naiveSum, "seed \(seed)")
            var sum: UInt16 = 1
            _ = [UInt8](count: length) { sum = input.raw.copyAndSum(to: &$0) }
            #expect(sum == input.naiveSum, "seed \(seed)")
        }
    }

    @Test func `Sums of halves of any size fold to their remainder`() {
        let extremes: [UInt64] = [
            0, 1, 0xFFFF, 0x1_0000, 0xFFFF_FFFF, 0x1_0000_0000, 0x1_FFFF_FFFF, 0xFFFF_FFFF_0000, 0x8000_0000_8000_8000,
            .max - 1, .max,
        ]
        for lowHalves in extremes {
            for highHalves in extremes {
                var sum = WideSum()
                sum.words = lowHalves &+ highHalves << 32
                sum.highHalves = highHalves
                let folded = UInt64(sum.folded)
                #expect(folded % 0xFFFF == (lowHalves % 0xFFFF + highHalves % 0xFFFF) % 0xFFFF)
                #expect((folded == 0) == (lowHalves == 0 && highHalves == 0))
            }
        }
    }

    @Test func `A sum is zero only if every byte is`() {
        for length in 1...40 {
            for index in 0..<length {
                for byte: UInt8 in [1, 0xFF] {
                    var bytes = [UInt8](repeating: 0, count: length)
                    bytes[index] = byte
                    #expect(bytes.raw.onesComplementSum() != 0)
                }
            }
        }
        #expect([UInt8](repeating: 0, count: 40).raw.onesComplementSum() == 0)
    }

    @Test func `A copy without room for it traps`() async {
        await #expect(processExitsWith: .failure) {
            let source = [UInt8](repeating: 1, count: 9)
            _ = [UInt8](count: 8) { _ = source.raw.copyAndSum(to: &$0) }
        }
    }

    // MARK: Running checksums

    @Test func `The example of RFC 1071 §3`() {
        var checksum = Checksum()
        checksum.add([UInt8](hex: "0001 f203 f4f5 f6f7").raw)
        #expect(checksum.sum == 0xDDF2)
        #expect(checksum.value == 0x220D)
        #expect(Checksum().value == 0xFFFF)
    }

    @Test func `Parts of any length sum up as the whole does`() {
        let seed = UInt64.random(in: 0...UInt64.max)
        var generator = SeededGenerator(seed: seed)
        for round in 0..<500 {
            let bytes = [UInt8].random(count: Int.random(in: 0...300, using: &generator), using: &generator)
            var checksum = Checksum()
            var offset = 0
            while offset < bytes.count {
                let left = bytes.count - offset
                let part = bytes.raw.from(offset)
                switch Int.random(in: 0...4, using: &generator) {
                case 0 where left >= 2:
                    checksum.add(part.uint16(at: 0))
                    offset += 2
                case 1 where left >= 4:
                    checksum.add(part.uint32(at: 0))
                    offset += 4
                case 2 where left >= 8:
                    checksum.add(part.number(at: 0, as: UInt64.self))
                    offset += 8
                case 3:
                    let count = Int.random(in: 0...left, using: &generator)
                    let sum = part.extracting(0..<count).onesComplementSum()
                    checksum.add(sum: sum, ofByteCount: count)
                    offset += count
                default:
                    let count = Int.random(in: 0...min(left, 21), using: &generator)
                    checksum.add(part.extracting(0..<count))
                    offset += count
                }
            }
            #expect(checksum.sum == bytes.naiveSum, "seed \(seed), round \(round)")
        }
    }

    @Test(
        arguments: [UInt64.max, .max - 1, 0xFFFF_FFFF, 0xFFFF_FFFF_0000, 0x1_0000_FFFF_FFFF, 0x8000_8000_0000_0000]
            as [UInt64])
    func `A total of any size folds to its remainder`(total: UInt64) {
        var checksum = Checksum()
        checksum.total = total
        #expect(UInt64(checksum.sum) % 0xFFFF == total % 0xFFFF)
        #expect(checksum.sum != 0)
    }

    @Test func `What is summed with its own checksum is intact, and a flipped bit shows`() {
        let seed = UInt64.random(in: 0...UInt64.max)
        var generator = SeededGenerator(seed: seed)
        var bytes = [UInt8].random(count: 61, using: &generator)
        bytes.put(0 as UInt16, at: 10)
        var checksum = Checksum()
        checksum.add(bytes.raw)
        bytes.put(checksum.value, at: 10)
        func value() -> UInt16 {
            var checksum = Checksum()
            checksum.add(bytes.raw)
            return checksum.value
        }
        #expect(value() == 0, "seed \(seed)")
        for bit in 0..<61 * 8 {
            bytes[bit / 8] ^= 1 << UInt8(bit % 8)
            #expect(value() != 0, "seed \(seed), bit \(bit)")
            bytes[bit / 8] ^= 1 << UInt8(bit % 8)
        }
    }

    // MARK: Pseudo-headers

    @Test func `The pseudo-headers are those of RFC 9293 §3.1 and RFC 8200 §8.1`() {
        let v4 = Checksum.pseudoHeader(
            source: IPv4Address(192, 0, 2, 1), destination: IPv4Address(198, 51, 100, 255), protocol: 6, length: 65_535)
        #expect(v4.sum == [UInt8](hex: "c0000201 c63364ff 00 06 ffff").naiveSum)
        let v6 = Checksum.pseudoHeader(
            source: IPv6Address("2001:db8::1")!, destination: IPv6Address("fe80::ffff:1234:5678")!,
            protocol: 58, length: 0x0001_2345)
        let bytes = [UInt8](
            hex: """
                20010db8 00000000 00000000 00000001
                fe800000 00000000 0000ffff 12345678
                00012345 0000003a
                """)
        #expect(v6.sum == bytes.naiveSum)
    }

    // MARK: Incremental update

    @Test func `The example of RFC 1624 §4 is not off by one`() {
        // Where eqn. 2 of RFC 1141 makes 0xFFFF, which is minus zero.
        #expect(Checksum.update(0xDD2F, replacing: 0x5555 as UInt16, with: 0x3285 as UInt16) == 0x0000)
    }

    @Test func `An updated checksum is the one computed anew`() {
        let seed = UInt64.random(in: 0...UInt64.max)
        var generator = SeededGenerator(seed: seed)
        for round in 0..<2_000 {
            var bytes = [UInt8].random(count: 20, using: &generator)
            bytes[0] = 0x45  // As in any header, not all is zero.
            let extremes: [UInt32] = [
                0, 0xFFFF_FFFF, 0xFFFF, 0xFFFF_0000, UInt32(truncatingIfNeeded: generator.next()),
            ]
            if Bool.random(using: &generator) { bytes.put(extremes.randomElement(using: &generator)!, at: 8) }
            let from = ~bytes.naiveSum
            let old = bytes.raw.uint32(at: 8)
            let new = extremes.randomElement(using: &generator)!
            bytes.put(new, at: 8)
            #expect(Checksum.update(from, replacing: old, with: new) == ~bytes.naiveSum, "seed \(seed), round \(round)")
            let half = UInt16(truncatingIfNeeded: new >> 16)
            let low = UInt16(truncatingIfNeeded: extremes.randomElement(using: &generator)!)
            let middle = ~bytes.naiveSum
            bytes.put(low, at: 8)
            #expect(Checksum.update(middle, replacing: half, with: low) == ~bytes.naiveSum, "seed \(seed)")
        }
    }
}
