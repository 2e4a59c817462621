// A frame: a slot of a pool's arena, and which of its bytes are the packet.
//
//     slot │◀─ headroom ─▶│◀──────── bytes ────────▶│◀─ tailroom ─▶│
//          0            start                  start + length      capacity
//
// Headers are prepended, so a frame is written from its payload outwards and no byte is moved.

/// Where a frame is in its pool, and what is known of it: 16 plain bytes, which own nothing.
@usableFromInline
struct FrameDescriptor: BitwiseCopyable, Sendable {
    @usableFromInline var slot: UInt32 = 0
    @usableFromInline var length: UInt32 = 0
    @usableFromInline var start: UInt16 = 0
    @usableFromInline var segmentSize: UInt16 = 0
    @usableFromInline var offload = FrameOffload()
    @usableFromInline var interface: UInt8 = 0

    @inlinable
    init() {}
}

/// What a link has done to a frame that came, and is to do to one that goes (virtio 1.2 §5.1.6, in the same meaning).
public struct FrameOffload: OptionSet, BitwiseCopyable, Sendable {
    public var rawValue: UInt8

    @inlinable
    public init(rawValue: UInt8) { self.rawValue = rawValue }

    /// Received: the link has verified the checksum of the transport header, or a trusted peer never wrote it.
    @inlinable
    public static var checksumVerified: FrameOffload { FrameOffload(rawValue: 1) }

    /// To be transmitted: the transport checksum holds the sum of the pseudo-header only, and the link completes it.
    @inlinable
    public static var checksumPartial: FrameOffload { FrameOffload(rawValue: 2) }
}

/// One L2 frame or L3 packet in memory of a ``FramePool``, with room before it for headers.
///
/// A frame has one owner, who gives it on by consuming it; one that is dropped goes back to its pool. So a frame cannot be
/// lost, nor used after it was given away: the compiler rejects both.
@frozen
public struct Frame: ~Copyable {
    // SAFETY: `pool` is valid as long as the pool is, which traps in its deinit while frames are out.
    @usableFromInline let pool: FramePool.Storage
    @usableFromInline var descriptor: FrameDescriptor

    @inlinable
    init(pool: FramePool.Storage, descriptor: FrameDescriptor) {
        self.pool = pool
        self.descriptor = descriptor
    }

    @inlinable
    deinit { pool.release(descriptor.slot) }

    /// Gives up ownership: whoever keeps the descriptor owes it to the pool.
    @inlinable
    consuming func relinquish() -> FrameDescriptor {
        let descriptor = descriptor
        discard self
        return descriptor
    }

    /// Bytes of the packet.
    @inlinable
    public var length: Int { Int(descriptor.length) }

    /// Bytes that can be prepended.
    @inlinable
    public var headroom: Int { Int(descriptor.start) }

    /// Bytes that can be appended.
    @inlinable
    public var tailroom: Int { pool.frameCapacity &- Int(descriptor.start) &- Int(descriptor.length) }

    /// What the link has verified, or is to complete.
    @inlinable
    public var offload: FrameOffload {
        get { descriptor.offload }
        set { descriptor.offload = newValue }
    }

    /// Payload bytes of each segment that a link cuts this frame into, or has merged it from; 0 if it is one segment.
    @inlinable
    public var segmentSize: Int {
        get { Int(descriptor.segmentSize) }
        set { descriptor.segmentSize = UInt16(clamping: newValue) }
    }

    /// The interface that a frame of a stack is to leave by: its place among those that the stack was made with.
    @inlinable
    public var interface: UInt8 {
        get { descriptor.interface }
        set { descriptor.interface = newValue }
    }

    /// The packet.
    @inlinable
    public var bytes: RawSpan {
        @_lifetime(borrow self)
        get {
            // SAFETY: start and length stay within the slot, which is this frame's alone until it is consumed.
            let start = unsafe pool.address(of: descriptor)
            return unsafe _overrideLifetime(
                RawSpan(_unsafeStart: start, byteCount: Int(descriptor.length)), borrowing: self)
        }
    }

    /// The packet, to be written.
    @inlinable
    public var mutableBytes: MutableRawSpan {
        @_lifetime(&self)
        mutating get {
            // SAFETY: as for `bytes`; access to self is exclusive.
            let start = unsafe pool.address(of: descriptor)
            return unsafe _overrideLifetime(
                MutableRawSpan(_unsafeStart: start, byteCount: Int(descriptor.length)), mutating: &self)
        }
    }

    /// Makes `count` bytes of headroom the first bytes of the packet. They hold whatever was there.
    ///
    /// - Precondition: there is so much headroom.
    @inlinable
    public mutating func prepend(_ count: Int) {
        precondition(count >= 0 && count <= headroom, "not so much headroom")
        descriptor.start &-= UInt16(truncatingIfNeeded: count)
        descriptor.length &+= UInt32(truncatingIfNeeded: count)
    }

    /// Makes the first `count` bytes headroom: the way of a header that has been read.
    ///
    /// - Precondition: the packet has so many bytes, and starts within 64 KiB of its slot then.
    @inlinable
    public mutating func removeFirst(_ count: Int) {
        precondition(count >= 0 && count <= length && headroom + count <= Int(UInt16.max), "not so many bytes")
        descriptor.start &+= UInt16(truncatingIfNeeded: count)
        descriptor.length &-= UInt32(truncatingIfNeeded: count)
    }

    /// Makes the packet `count` bytes long, by cutting its end or by bytes that hold whatever was there.
    ///
    /// - Precondition: the slot has room for so many.
    @inlinable
    public mutating func setLength(_ count: Int) {
        precondition(count >= 0 && count <= length + tailroom, "not so much room in the slot")
        descriptor.length = UInt32(truncatingIfNeeded: count)
    }
}
