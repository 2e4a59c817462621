// The bytes that are sent, and the proof that the same came back. Each connection reads the one pattern from a place of its
// own on, and its period is a prime: bytes that come late, twice, or from another connection do not fit.

import Glibc
import Martlet

struct Pattern: Sendable {
    static let period = 65_521
    /// Bytes that can be had in one piece from any place.
    let longest: Int
    /// A period, and after it the beginning of the next.
    private let storage: Bytes

    /// A pattern that can be cut into pieces of up to `longest` bytes.
    init(longest: Int) {
        self.longest = max(longest, 16 * 1024)
        var state: UInt32 = 0x9E37_79B9
        let once = (0..<Self.period).map { _ in
            state = state &* 1_664_525 &+ 1_013_904_223
            return UInt8(state >> 24)
        }
        var bytes = once
        let count = Self.period + self.longest
        while bytes.count < count { bytes += once.prefix(count - bytes.count) }
        storage = Bytes(bytes)
    }

    /// Where the stream of a connection begins.
    static func origin(ofConnection index: Int) -> Int { index &* 4_099 % period }

    /// `count` bytes, at most ``longest``, from a position in the stream on. Shares the pattern's storage.
    func piece(at position: Int, count: Int) -> Bytes {
        let start = position % Self.period
        return storage[start..<start + count]
    }

    /// Whether `bytes` are what the stream has at `position`.
    func matches(_ bytes: RawSpan, at position: Int) -> Bool {
        var offset = 0
        while offset < bytes.byteCount {
            let count = min(longest, bytes.byteCount - offset)
            let start = (position + offset) % Self.period
            let isEqual = unsafe bytes.withUnsafeBytes { received in
                unsafe storage.withUnsafeBytes { expected in
                    // SAFETY: `offset + count` is within what was received, and `start + count` within the storage.
                    unsafe memcmp(received.baseAddress! + offset, expected.baseAddress! + start, count) == 0
                }
            }
            guard isEqual else { return false }
            offset += count
        }
        return true
    }
}

/// Sends a connection's stream.
struct PatternSender {
    let connection: TCPConnection
    let pattern: Pattern
    let origin: Int
    /// Bytes so far.
    private(set) var count = 0

    init(_ connection: TCPConnection, _ pattern: Pattern, index: Int) {
        self.connection = connection
        self.pattern = pattern
        origin = Pattern.origin(ofConnection: index)
    }

    mutating func send(_ bytes: Int) async throws {
        var left = bytes
        while left > 0 {
            let piece = pattern.piece(at: origin + count, count: min(left, pattern.longest))
            try await connection.send(piece)
            count += piece.count
            left -= piece.count
        }
    }
}

/// Receives a connection's stream, and looks at every byte.
struct PatternReceiver {
    let connection: TCPConnection
    let pattern: Pattern
    let origin: Int
    /// Bytes so far, all of them right.
    private(set) var count = 0

    init(_ connection: TCPConnection, _ pattern: Pattern, index: Int) {
        self.connection = connection
        self.pattern = pattern
        origin = Pattern.origin(ofConnection: index)
    }

    /// Receives at least one byte.
    ///
    /// - Throws: ``LoadError/differs(at:)``, ``LoadError/finished``.
    mutating func receive() async throws {
        let (pattern, position) = (pattern, origin + count)
        var (received, isRight) = (0, false)
        let isOpen = try await connection.receive { bytes in
            isRight = pattern.matches(bytes, at: position)
            received = bytes.byteCount
            return received
        }
        guard isOpen else { throw LoadError.finished }
        guard isRight else { throw LoadError.differs(at: count) }
        count += received
    }

    /// Receives until there are `total` bytes in all. More than that were never sent.
    mutating func receive(upTo total: Int) async throws {
        while count < total { try await receive() }
        guard count == total else { throw LoadError.differs(at: total) }
    }
}
