import Martlet
import Testing

@testable import MartletTool

@Suite("The pattern of the streams")
struct PatternTests {
    private let pattern = Pattern(longest: 20_000)

    @Test("matches itself wherever it is cut")
    func cuts() {
        for (position, count) in [(0, 1), (7, 64), (65_520, 2), (65_521 * 3 + 5, 20_000), (123_456, 16_384)] {
            let piece = pattern.piece(at: position, count: count)
            #expect(piece.count == count)
            #expect(pattern.matches(piece.bytes, at: position))
        }
    }

    @Test("matches runs that are longer than a piece")
    func longRuns() {
        var run: [UInt8] = []
        while run.count < 100_000 { run += pattern.piece(at: 99 + run.count, count: 10_000) }
        let bytes = Bytes(run)
        #expect(pattern.matches(bytes.bytes, at: 99))
        run[70_000] ^= 1
        let damaged = Bytes(run)
        #expect(!pattern.matches(damaged.bytes, at: 99))
    }

    @Test("finds bytes that came late, early or from another connection")
    func shifted() {
        let piece = pattern.piece(at: 1000, count: 64)
        for shift in [-64, -1, 1, 64] { #expect(!pattern.matches(piece.bytes, at: 1000 + shift)) }
        let origins = Set((0..<1000).map(Pattern.origin))
        #expect(origins.count == 1000)
        #expect(!pattern.matches(piece.bytes, at: 1000 + Pattern.origin(ofConnection: 1)))
    }
}
