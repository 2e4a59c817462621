// Bytes on their way out. A segment is either a buffer of the core's, into which small sends are copied one behind the other,
// or a reference to a slab that the program handed over, which is sent from where it lies.

internal import CMartlet
internal import Glibc

@safe struct SegmentPool: ~Copyable {
    static let bufferCapacity: Int32 = 16 * 1024
    /// From this size on, bytes are sent from where they lie instead of being copied.
    static let referenceThreshold = 4096

    @safe private struct Segment: BitwiseCopyable {
        var next: Int32 = -1
        var start: Int32 = 0
        var end: Int32 = 0
        var base: UnsafeMutableRawPointer?
        /// The slab that the bytes lie in, kept alive until they have gone. Nil for a buffer of the core's.
        var slab: Unmanaged<Slab>?
    }

    private let segments: UnsafeMutablePointer<Segment>
    private let bufferLimit: Int
    private let referenceLimit: Int
    private var buffers = 0
    private var references = 0
    private var firstFreeBuffer: Int32 = -1
    private var firstFreeReference: Int32 = -1
    private(set) var exhausted: UInt64 = 0
    /// Segments that have come back since the start.
    private(set) var releases: UInt64 = 0

    init(buffers limit: Int) {
        bufferLimit = limit
        referenceLimit = limit
        unsafe segments = .allocate(capacity: limit * 2)
    }

    deinit {
        for index in 0..<buffers { unsafe segments[index].base?.deallocate() }
        unsafe segments.deallocate()
    }

    /// A buffer of the core's, empty, or nil when all are in use.
    mutating func takeBuffer() -> Int32? {
        if firstFreeBuffer >= 0 {
            let index = firstFreeBuffer
            firstFreeBuffer = unsafe segments[Int(index)].next
            unsafe segments[Int(index)].next = -1
            unsafe segments[Int(index)].start = 0
            unsafe segments[Int(index)].end = 0
            return index
        }
        guard buffers < bufferLimit else {
            exhausted += 1
            return nil
        }
        let index = buffers
        buffers += 1
        unsafe (segments + index).initialize(
            to: Segment(base: .allocate(byteCount: Int(Self.bufferCapacity), alignment: 64)))
        return Int32(index)
    }

    /// A reference to `range` of a slab, or nil when all are in use.
    mutating func takeReference(to slab: Slab, start: Int, count: Int) -> Int32? {
        let index: Int
        if firstFreeReference >= 0 {
            index = Int(firstFreeReference)
            firstFreeReference = unsafe segments[index].next
        } else {
            guard references < referenceLimit else {
                exhausted += 1
                return nil
            }
            index = bufferLimit + references
            references += 1
        }
        unsafe (segments + index).initialize(
            to: Segment(
                start: 0, end: Int32(count), base: slab.base + start, slab: .passRetained(slab)))
        return Int32(index)
    }

    mutating func release(_ index: Int32) {
        releases &+= 1
        if let slab = unsafe segments[Int(index)].slab {
            unsafe slab.release()
            unsafe segments[Int(index)].slab = nil
            unsafe segments[Int(index)].next = firstFreeReference
            firstFreeReference = index
        } else {
            unsafe segments[Int(index)].next = firstFreeBuffer
            firstFreeBuffer = index
        }
    }

    func next(after index: Int32) -> Int32 { unsafe segments[Int(index)].next }

    mutating func link(_ index: Int32, after previous: Int32) { unsafe segments[Int(previous)].next = index }

    func count(of index: Int32) -> Int32 { unsafe segments[Int(index)].end - segments[Int(index)].start }

    /// Room behind the bytes of a buffer. A reference has none.
    func room(in index: Int32) -> Int32 {
        unsafe segments[Int(index)].slab == nil ? Self.bufferCapacity - segments[Int(index)].end : 0
    }

    /// The free part of a buffer.
    func tail(of index: Int32) -> UnsafeMutableRawBufferPointer {
        let segment = unsafe segments[Int(index)]
        return unsafe UnsafeMutableRawBufferPointer(
            start: segment.base.unsafelyUnwrapped + Int(segment.end), count: Int(Self.bufferCapacity - segment.end))
    }

    mutating func append(_ count: Int32, to index: Int32) { unsafe segments[Int(index)].end += count }

    mutating func consume(_ count: Int32, of index: Int32) { unsafe segments[Int(index)].start += count }

    /// The bytes of a segment, as sendmsg(2) wants them.
    func piece(of index: Int32) -> iovec {
        let segment = unsafe segments[Int(index)]
        return unsafe iovec(
            iov_base: segment.base.unsafelyUnwrapped + Int(segment.start), iov_len: Int(segment.end - segment.start))
    }
}
