// What the fuzzer has found interesting, and whatever has ever crashed, runs again: in `Fuzzing/Corpus`, a folder a target.

import Foundation
import Testing

@testable import MartletStack

@Suite struct FuzzCorpusTests {
    private static let corpus = URL(filePath: #filePath).deletingLastPathComponent()
        .appending(path: "../../../Fuzzing/Corpus").standardizedFileURL

    private static func inputs(_ target: FuzzTarget) throws -> [URL] {
        try FileManager.default.contentsOfDirectory(
            at: corpus.appending(path: target.rawValue), includingPropertiesForKeys: nil)
    }

    @Test("no input of the corpus violates anything", arguments: FuzzTarget.allCases)
    func corpus(target: FuzzTarget) throws {
        let inputs = try Self.inputs(target)
        #expect(!inputs.isEmpty)
        for input in inputs {
            let bytes = try [UInt8](Data(contentsOf: input))
            #expect(throws: Never.self, "\(target.rawValue)/\(input.lastPathComponent)") { try target.run(bytes) }
        }
    }

    @Test("the corpus is small enough to be cloned without a thought")
    func size() throws {
        var bytes = 0
        for target in FuzzTarget.allCases {
            for input in try Self.inputs(target) { bytes += try Data(contentsOf: input).count }
        }
        #expect(bytes < 1 << 20)
    }

    @Test(
        "random programs violate nothing", arguments: FuzzTarget.allCases, 0..<50 as Range<UInt64>)
    func random(target: FuzzTarget, seed: UInt64) {
        var random = SeededGenerator(seed: seed)
        let bytes = [UInt8].random(count: Int.random(in: 1...600, using: &random), using: &random)
        #expect(throws: Never.self, "seed \(seed)") { try target.run(bytes) }
    }
}
