// Bytes that know where they belong, so that a lost, doubled or swapped one is noticed, and random numbers that can be had
// again.

internal import Martlet

/// An endless stream of bytes, the same for everybody. Its period is a prime, so no buffer size hides a shift.
enum Pattern {
    private static let period = 65_521

    /// Two periods, so that any run of up to one lies in one piece.
    private static let table: [UInt8] = {
        var generator = SeededGenerator(seed: 7)
        let once = (0..<period).map { _ in UInt8(truncatingIfNeeded: generator.next()) }
        return once + once
    }()

    /// The bytes of the stream from `offset` on.
    static func bytes(_ count: Int, from offset: Int = 0) -> Bytes {
        Bytes(capacity: count) { output in
            var position = offset
            while output.byteCount < count {
                let start = position % period
                let run = min(count - output.byteCount, period)
                for byte in table[start..<start + run] { output.append(byte) }
                position += run
            }
        }
    }

    /// The first offset at which `bytes` is not the stream from `offset` on, or nil.
    static func mismatch(in bytes: RawSpan, from offset: Int) -> Int? {
        unsafe bytes.withUnsafeBytes { buffer in
            unsafe table.withUnsafeBytes { table in
                var position = 0
                while position < buffer.count {
                    let start = (offset + position) % period
                    let run = min(buffer.count - position, period)
                    let found = unsafe UnsafeRawBufferPointer(rebasing: buffer[position..<position + run])
                    let expected = unsafe UnsafeRawBufferPointer(rebasing: table[start..<start + run])
                    if unsafe !found.elementsEqual(expected) {
                        let first = unsafe zip(found, expected).enumerated().first { $0.element.0 != $0.element.1 }!
                            .offset
                        return offset + position + first
                    }
                    position += run
                }
                return nil
            }
        }
    }
}

/// Follows a received stream, and fails at the first byte that is not the pattern's.
struct PatternReader {
    private(set) var count: Int

    init(from offset: Int = 0) { count = offset }

    mutating func read(_ bytes: RawSpan, file: String = #fileID, line: Int = #line) throws(ConformanceFailure) {
        if let mismatch = Pattern.mismatch(in: bytes, from: count) {
            throw ConformanceFailure(
                description:
                    "byte \(mismatch) of the stream is wrong, in a run of \(bytes.byteCount) from \(count) (\(file):\(line))"
            )
        }
        count += bytes.byteCount
    }

    mutating func read(_ bytes: Bytes, file: String = #fileID, line: Int = #line) throws(ConformanceFailure) {
        try read(bytes.bytes, file: file, line: line)
    }

    /// Reads what a connection receives, to its end.
    nonisolated(nonsending) mutating func readAll(
        of connection: TCPConnection, file: String = #fileID, line: Int = #line
    ) async throws {
        while let bytes = try await connection.receive() { try read(bytes, file: file, line: line) }
    }

    /// Reads what a connection receives until there are `total` bytes.
    nonisolated(nonsending) mutating func read(
        upTo total: Int, of connection: TCPConnection, file: String = #fileID, line: Int = #line
    ) async throws {
        while count < total {
            guard let bytes = try await connection.receive() else {
                throw ConformanceFailure(
                    description: "the stream ended after \(count) of \(total) bytes (\(file):\(line))")
            }
            try read(bytes, file: file, line: line)
        }
    }
}

/// SplitMix64: the same numbers for the same seed, on every machine.
struct SeededGenerator: RandomNumberGenerator {
    private var state: UInt64

    init(seed: UInt64) { state = seed }

    mutating func next() -> UInt64 {
        state &+= 0x9E37_79B9_7F4A_7C15
        var mixed = state
        mixed = (mixed ^ (mixed >> 30)) &* 0xBF58_476D_1CE4_E5B9
        mixed = (mixed ^ (mixed >> 27)) &* 0x94D0_49BB_1331_11EB
        return mixed ^ (mixed >> 31)
    }

    /// A size that is as often small as large.
    mutating func size(upTo limit: Int) -> Int {
        let magnitude = Int.random(in: 1...limit, using: &self)
        return Bool.random(using: &self) ? magnitude : 1 + magnitude % min(limit, 64)
    }
}
