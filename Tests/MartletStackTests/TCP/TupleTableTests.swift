import Testing

@testable import MartletStack

@Suite struct TupleTableTests {
    private static func ends(_ number: Int) -> FourTuple { Strangers.ends(UInt32(number)) }

    /// Few different hashes, so that many ends share one.
    private static func hash(_ number: Int) -> UInt32 { UInt32(number % 5) }

    @Test(
        "a table does what a dictionary and sorted lists do, in any order of calls",
        arguments: 1...20 as ClosedRange<UInt64>)
    func model(seed: UInt64) {
        var random = SeededGenerator(seed: seed)
        var table = TupleTable<Int>(capacity: 16)
        /// Values, and when each is due.
        var model: [Int: (place: UInt32, deadline: Int64)] = [:]
        var clock: Int64 = 0
        for _ in 0..<2000 {
            clock += 1
            let number = Int.random(in: 0..<40, using: &random)
            let queue = UInt8.random(in: 0..<8, using: &random)
            // All of a queue wait equally long.
            let deadline = clock + 100 << Int64(queue)
            if let known = model[number] {
                if Bool.random(using: &random) {
                    table.remove(known.place)
                    model[number] = nil
                } else {
                    table.move(known.place, deadline: Instant(nanoseconds: deadline), to: queue)
                    model[number] = (known.place, deadline)
                }
            } else {
                let place = table.insert(
                    number, Self.ends(number), hash: Self.hash(number), deadline: Instant(nanoseconds: deadline),
                    in: queue)
                #expect((place == nil) == (model.count == 16), "seed \(seed)")
                if let place { model[number] = (place, deadline) }
            }
            #expect(table.count == model.count, "seed \(seed)")
            for other in 0..<40 {
                let place = table.find(Self.ends(other), hash: Self.hash(other))
                #expect(place == model[other]?.place, "seed \(seed)")
                if let place { #expect(table[place] == other, "seed \(seed)") }
            }
            let first = model.values.map(\.deadline).min() ?? .max
            #expect(table.nextDeadline.nanoseconds == first, "seed \(seed)")
            if first < .max {
                #expect(table.firstDue(at: Instant(nanoseconds: first - 1)) == nil, "seed \(seed)")
                let due = table.firstDue(at: Instant(nanoseconds: first))
                #expect(due.map { table.deadline(at: $0).nanoseconds } == first, "seed \(seed)")
            }
        }
    }

    @Test("what has waited longest in a queue is its first, whatever moved")
    func oldest() {
        var table = TupleTable<Int>(capacity: 4)
        let places = (0..<3).map { table.insert($0, Self.ends($0), hash: 0, deadline: .distantFuture)! }
        #expect(table.oldest() == places[0])
        table.move(places[0], deadline: .distantFuture)
        #expect(table.oldest() == places[1])
        table.remove(places[1])
        #expect(table.oldest() == places[2])
        table.remove(places[2])
        table.remove(places[0])
        #expect(table.oldest() == nil && table.nextDeadline == .distantFuture)
    }
}
