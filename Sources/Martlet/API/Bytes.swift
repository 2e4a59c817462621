// The element of a connection: an immutable run of bytes. It shares its storage, so copying one copies no bytes.

/// An immutable run of bytes, received from a connection or made by the program.
///
/// A `Bytes` from a connection refers to the very buffer that the kernel filled. Keep it as long as you like: the runtime
/// replaces buffers that the program holds on to. To keep a small part of a large one, copy it: `Bytes(copying: part)`.
public struct Bytes: Sendable {
    let slab: Slab?
    private let start: Int
    private let end: Int

    init(slab: Slab, start: Int, end: Int) {
        self.slab = slab
        self.start = start
        self.end = end
    }

    /// The slab and where in it the bytes start.
    var storage: (slab: Slab, start: Int)? { slab.map { ($0, start) } }

    /// Where the bytes lie, for as long as this value or a copy lives.
    var unsafeBuffer: UnsafeRawBufferPointer {
        guard let slab else { return unsafe UnsafeRawBufferPointer(start: nil, count: 0) }
        return unsafe UnsafeRawBufferPointer(start: slab.base + start, count: end - start)
    }

    /// No bytes.
    public init() {
        slab = nil
        start = 0
        end = 0
    }

    /// Copies a buffer.
    public init(copying buffer: UnsafeRawBufferPointer) {
        guard buffer.count > 0, let source = buffer.baseAddress else {
            self.init()
            return
        }
        let slab = Slab(capacity: buffer.count)
        unsafe slab.base.copyMemory(from: source, byteCount: buffer.count)
        self.init(slab: slab, start: 0, end: buffer.count)
    }

    /// Lets `body` write up to `capacity` bytes.
    public init<E: Error>(capacity: Int, _ body: (inout OutputRawSpan) throws(E) -> Void) throws(E) {
        let slab = Slab(capacity: Swift.max(1, capacity))
        let buffer = unsafe UnsafeMutableRawBufferPointer(start: slab.base, count: capacity)
        var output = unsafe OutputRawSpan(buffer: buffer, initializedCount: 0)
        try body(&output)
        self.init(slab: slab, start: 0, end: unsafe output.finalize(for: buffer))
    }

    /// Copies a span.
    public init(copying span: RawSpan) {
        self = unsafe span.withUnsafeBytes { unsafe Bytes(copying: $0) }
    }

    /// Copies a collection of bytes.
    public init(_ bytes: some Collection<UInt8>) {
        if let copy = bytes.withContiguousStorageIfAvailable({ unsafe Bytes(copying: UnsafeRawBufferPointer($0)) }) {
            self = copy
        } else {
            self = unsafe Array(bytes).withUnsafeBytes { unsafe Bytes(copying: $0) }
        }
    }

    /// The UTF-8 of a string.
    public init(_ string: some StringProtocol) { self.init(string.utf8) }

    /// Calls `body` with the bytes. The buffer must not outlive the call.
    @unsafe
    public func withUnsafeBytes<R, E: Error>(_ body: (UnsafeRawBufferPointer) throws(E) -> R) throws(E) -> R {
        guard let slab else { return try unsafe body(UnsafeRawBufferPointer(start: nil, count: 0)) }
        return try unsafe body(UnsafeRawBufferPointer(start: slab.base + start, count: end - start))
    }

    /// The bytes as a span that cannot outlive this value.
    public var bytes: RawSpan {
        @_lifetime(borrow self)
        borrowing get {
            let buffer =
                if let slab { unsafe UnsafeRawBufferPointer(start: slab.base + start, count: end - start) } else {
                    unsafe UnsafeRawBufferPointer(start: nil, count: 0)
                }
            return unsafe _overrideLifetime(RawSpan(_unsafeBytes: buffer), borrowing: self)
        }
    }

    /// The bytes at the given offsets, sharing this value's storage. O(1).
    public subscript(bounds: Range<Int>) -> Bytes {
        precondition(bounds.lowerBound >= 0 && bounds.upperBound <= count, "range out of bounds")
        guard let slab else { return self }
        return Bytes(slab: slab, start: start + bounds.lowerBound, end: start + bounds.upperBound)
    }
}

extension Bytes: RandomAccessCollection {
    public typealias SubSequence = Bytes

    public var startIndex: Int { 0 }
    public var endIndex: Int { end - start }
    public var count: Int { end - start }

    public subscript(position: Int) -> UInt8 {
        precondition(position >= 0 && position < count, "index out of bounds")
        guard let slab else { return 0 }
        return unsafe slab.base.load(fromByteOffset: start + position, as: UInt8.self)
    }

    public func withContiguousStorageIfAvailable<R>(_ body: (UnsafeBufferPointer<UInt8>) throws -> R) rethrows -> R? {
        try unsafe withUnsafeBytes { try unsafe body($0.assumingMemoryBound(to: UInt8.self)) }
    }
}

extension Bytes: Hashable {
    public static func == (left: Bytes, right: Bytes) -> Bool { left.elementsEqual(right) }

    public func hash(into hasher: inout Hasher) {
        unsafe withUnsafeBytes { unsafe hasher.combine(bytes: $0) }
    }
}

extension Bytes: ExpressibleByStringLiteral, ExpressibleByArrayLiteral {
    public init(stringLiteral string: String) { self.init(string) }

    public init(arrayLiteral bytes: UInt8...) { self.init(bytes) }
}

extension Bytes: CustomStringConvertible {
    /// The bytes as text, with U+FFFD where they are not UTF-8.
    public var description: String { String(decoding: self, as: UTF8.self) }
}
