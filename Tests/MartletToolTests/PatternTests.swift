// That the pattern tells right bytes from wrong ones.

import Martlet
import Testing

@testable import MartletTool

@Suite struct PatternTests {
    private let pattern = Pattern(longest: 20_000)

    private func matches(_ bytes: Bytes, at position: Int) -> Bool { pattern.matches(bytes.bytes, at: position) }

    @Test func `A pattern matches itself wherever it is cut`() {
        for (position, count) in [(0, 1), (7, 64), (65_520, 2), (65_521 * 3 + 5, 20_000), (123_456, 16_384)] {
            let piece = pattern.piece(at: position, count: count)
            #expect(piece.count == count)
            #expect(matches(piece, at: position))
        }
    }

    @Test func `A run longer than a piece matches, and one wrong byte in it does not`() {
        var run: [UInt8] = []
        while run.count < 100_000 { run += pattern.piece(at: 99 + run.count, count: 10_000) }
        let bytes = Bytes(run)
        #expect(matches(bytes, at: 99))
        run[70_000] ^= 1
        let damaged = Bytes(run)
        #expect(!matches(damaged, at: 99))
    }

    @Test func `Bytes that come late, early or from another connection do not match`() {
        let piece = pattern.piece(at: 1000, count: 64)
        for shift in [-64, -1, 1, 64] { #expect(!matches(piece, at: 1000 + shift)) }
        let origins = Set((0..<1000).map(Pattern.origin))
        #expect(origins.count == 1000)
        #expect(!matches(piece, at: 1000 + Pattern.origin(ofConnection: 1)))
    }
}
