// The generator: its numbers never change, and streams have nothing to do with each other.

import MartletSimulation
import Testing

@Suite struct RandomStreamTests {
    @Test func `A seed gives the numbers of SplitMix64`() {
        // From the reference implementation in C, seed 1234567.
        var random = RandomStream(seed: 1_234_567)
        let numbers = (0..<5).map { _ in random.next() }
        #expect(
            numbers == [
                6_457_827_717_110_365_317, 3_203_168_211_198_807_973, 9_817_491_932_198_370_423,
                4_593_380_528_125_082_431, 16_408_922_859_458_223_821,
            ])
    }

    @Test func `Streams that are split off, and the one they come from, share no number`() {
        var root = RandomStream(seed: 7)
        var streams = (0..<16).map { _ in root.split() }
        streams.append(root)
        streams += (0..<16).map { root.stream($0) }
        var seen: Set<UInt64> = []
        for index in streams.indices {
            for _ in 0..<200 {
                let isNew = seen.insert(streams[index].next()).inserted
                #expect(isNew)
            }
        }
    }

    @Test func `A numbered stream leaves the one it comes from as it is, and does not depend on the others`() {
        var root = RandomStream(seed: 7)
        let before = root
        var third = root.stream(3)
        _ = root.stream(1)
        var again = root.stream(3)
        #expect(root == before)
        #expect(third.next() == again.next())
        _ = root.next()
        #expect(root.stream(3) != before.stream(3))
    }

    @Test func `Numbers below a bound are all there are, and each about as often`() {
        var random = RandomStream(seed: 11)
        var counts = [Int](repeating: 0, count: 7)
        for _ in 0..<7000 { counts[Int(random.number(below: 7))] += 1 }
        #expect(counts.allSatisfy { (850...1150).contains($0) }, "\(counts)")
        for _ in 0..<100 { #expect(random.number(below: 1) == 0) }
        // A bound above half the range, where every second draw is refused.
        let bound = UInt64(1) << 63 + 1
        for _ in 0..<100 { #expect(random.number(below: bound) < bound) }
    }

    @Test func `Numbers in a range reach both of its ends`() {
        var random = RandomStream(seed: 13)
        let small = Set((0..<200).map { _ in random.number(in: -2...2) })
        #expect(small == [-2, -1, 0, 1, 2])
        #expect(random.number(in: .max ... .max) == .max)
        #expect(random.number(in: .min ... .min) == .min)
        let all = (0..<100).map { _ in random.number(in: .min ... .max) }
        #expect(all.contains { $0 < 0 } && all.contains { $0 > 0 })
    }

    @Test func `A probability is kept, and takes one number whatever it is`() {
        var random = RandomStream(seed: 17)
        var reference = random
        var count = 0
        for _ in 0..<3000 {
            if random.happens(withProbability: 0.3) { count += 1 }
            _ = reference.next()
            let others = [0, 1, -1].map { random.happens(withProbability: $0) }
            #expect(others == [false, true, false])
            for _ in 0..<3 { _ = reference.next() }
        }
        #expect((800...1000).contains(count), "\(count)")
        #expect(random == reference)
    }
}
