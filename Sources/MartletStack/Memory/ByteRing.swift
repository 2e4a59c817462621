// The bytes of a stream that wait: received and not yet read, or sent and not yet acknowledged.
//
// A ring's length is a power of two, and the byte with sequence number n lies at n modulo that length. So a ring has no head
// and no tail of its own: the TCB's sequence numbers are both.
//
//     snd.una ──▶ ┌───────────────┬─────────┐ ◀── the end of what the user has sent
//                 │  in flight    │ unsent  │          (and wraps around the end of the ring's memory)
//                 └───────────────┴─────────┘

/// A ring of bytes in ``RingMemory``: 8 plain bytes. The connection that took it gives it back.
@usableFromInline
struct ByteRing: BitwiseCopyable {
    /// The first of its blocks.
    @usableFromInline var block: UInt32
    /// Its capacity is `RingMemory.blockSize << order`; 255 stands for no ring.
    @usableFromInline var order: UInt8

    @inlinable
    init(block: UInt32, order: UInt8) {
        self.block = block
        self.order = order
    }

    /// No ring: a connection for which no bytes wait.
    @inlinable
    static var none: ByteRing { ByteRing(block: 0, order: 255) }

    @inlinable
    var isNone: Bool { order == 255 }

    /// Bytes that it holds. Of no ring that is 0: the lowest bits of 255 shift all there is out.
    @inlinable
    var capacity: Int { RingMemory.blockSize &<< Int(order) }
}

// MARK: - Copying

extension RingMemory {
    /// Copies `bytes` into `ring`, the first to the place of sequence number `position`.
    ///
    /// - Precondition: they are at most the ring's capacity.
    @inlinable
    func write(_ bytes: RawSpan, to ring: ByteRing, at position: UInt32) {
        let capacity = ring.capacity
        precondition(bytes.byteCount <= capacity, "more bytes than the ring holds")
        let offset = Int(position) & (capacity &- 1)
        let first = min(bytes.byteCount, capacity &- offset)
        unsafe bytes.withUnsafeBytes { source in
            // SAFETY: offset + first <= capacity, and the rest starts at 0 and is at most the capacity: both copies stay
            // within the ring's blocks, which are the caller's alone.
            guard let start = source.baseAddress else { return }
            let base = unsafe address(of: ring)
            unsafe (base + offset).copyMemory(from: start, byteCount: first)
            if first < source.count {
                unsafe base.copyMemory(from: start + first, byteCount: source.count &- first)
            }
        }
    }

    /// Copies bytes out of `ring`, from the place of `position` on, until `destination` is full.
    ///
    /// - Precondition: `destination` is at most the ring's capacity.
    @inlinable
    func read(_ ring: ByteRing, at position: UInt32, into destination: inout MutableRawSpan) {
        let capacity = ring.capacity
        precondition(destination.byteCount <= capacity, "more bytes than the ring holds")
        let offset = Int(position) & (capacity &- 1)
        let first = min(destination.byteCount, capacity &- offset)
        unsafe destination.withUnsafeMutableBytes { destination in
            // SAFETY: as in `write`.
            guard let start = destination.baseAddress else { return }
            let base = unsafe address(of: ring)
            unsafe start.copyMemory(from: base + offset, byteCount: first)
            if first < destination.count {
                unsafe (start + first).copyMemory(from: base, byteCount: destination.count &- first)
            }
        }
    }

    /// The longest run of at most `count` bytes from the place of `position` that does not wrap.
    ///
    /// - Precondition: `count` is in `0 ... ring.capacity`.
    @inlinable
    @_lifetime(borrow self)
    func run(of ring: ByteRing, at position: UInt32, count: Int) -> RawSpan {
        let capacity = ring.capacity
        precondition(count >= 0 && count <= capacity, "more bytes than the ring holds")
        guard capacity > 0 else { return RawSpan() }
        let offset = Int(position) & (capacity &- 1)
        // SAFETY: the run stays within the ring's blocks, which live as long as this memory.
        let start = unsafe address(of: ring) + offset
        return unsafe _overrideLifetime(
            RawSpan(_unsafeStart: start, byteCount: min(count, capacity &- offset)), borrowing: self)
    }

    /// Where `count` bytes from the place of `position` on may be written; nil if they would wrap.
    ///
    /// - Precondition: `count` is in `0 ... ring.capacity`, and no byte waits there.
    func room(in ring: ByteRing, at position: UInt32, count: Int) -> UnsafeMutableRawBufferPointer? {
        let capacity = ring.capacity
        precondition(count >= 0 && count <= capacity, "more bytes than the ring holds")
        let offset = Int(position) & (capacity &- 1)
        guard count <= capacity &- offset else { return nil }
        // SAFETY: the run stays within the ring's blocks, which live as long as this memory.
        return unsafe UnsafeMutableRawBufferPointer(start: address(of: ring) + offset, count: count)
    }

    /// Shows `body` the longest run of at most `count` bytes from the place of `position` that does not wrap.
    ///
    /// - Precondition: `count` is in `0 ... ring.capacity`.
    @inlinable
    func withRun<Result>(of ring: ByteRing, at position: UInt32, count: Int, _ body: (RawSpan) -> Result) -> Result {
        body(run(of: ring, at: position, count: count))
    }

    /// Copies the `count` bytes from `position` on to the same place in another ring.
    ///
    /// - Precondition: both rings hold so many.
    @inlinable
    func copy(from ring: ByteRing, to other: ByteRing, at position: UInt32, count: Int) {
        var done = 0
        while done < count {
            let place = position &+ UInt32(truncatingIfNeeded: done)
            done += withRun(of: ring, at: place, count: count &- done) { run in
                write(run, to: other, at: place)
                return run.byteCount
            }
        }
    }
}
