// A frame: a slot of a pool's arena, and which of its bytes are the packet.
//
//     slot │◀─ headroom ─▶│◀──────── bytes ────────▶│◀─ tailroom ─▶│
//          0            start                  start + length      capacity
//
// Headers are prepended, so a frame is written from its payload outwards and no byte is moved.

/// Where a frame is in its pool, and what is known of it: 16 plain bytes, which own nothing.
///
/// Rings and links keep frames as descriptors. Whoever holds the descriptor of a frame that was relinquished owes it to the
/// pool, and the compiler does not see to that: what takes and gives descriptors is marked unsafe.
@frozen
public struct FrameDescriptor: BitwiseCopyable, Sendable {
    /// The frame's place in the arena: it begins `slot * frameCapacity` bytes from its start.
    public var slot: UInt32 = 0
    /// Bytes of the packet.
    public var length: UInt32 = 0
    /// Bytes of the slot before the packet.
    public var start: UInt16 = 0
    /// As ``Frame/segmentSize``.
    public var segmentSize: UInt16 = 0
    /// As ``Frame/mark``. It also fills the descriptor up to 16 bytes, which are copied in one store.
    public var mark: UInt16 = 0
    /// As ``Frame/offload``.
    public var offload = FrameOffload()
    /// As ``Frame/interface``.
    public var interface: UInt8 = 0

    /// No frame: fields to be filled in.
    @inlinable
    public init() {}

    /// A frame in this slot of its pool, whose bytes begin `start` bytes into it.
    @inlinable
    public init(slot: UInt32, start: UInt16, length: UInt32) {
        self.slot = slot
        self.start = start
        self.length = length
    }
}

/// What a link has done to a frame that came, and is to do to one that goes (virtio 1.2 §5.1.6, in the same meaning).
public struct FrameOffload: OptionSet, BitwiseCopyable, Sendable {
    /// A bit for each.
    public var rawValue: UInt8

    /// What these bits say.
    @inlinable
    public init(rawValue: UInt8) { self.rawValue = rawValue }

    /// Received: the link has verified the checksum of the transport header, or a trusted peer never wrote it.
    @inlinable
    public static var checksumVerified: FrameOffload { FrameOffload(rawValue: 1) }

    /// To be transmitted: the transport checksum holds the sum of the pseudo-header only, and the link completes it.
    @inlinable
    public static var checksumPartial: FrameOffload { FrameOffload(rawValue: 2) }

    /// Received: the link has written down when, in the first bytes of the slot (``Frame/timestamp``).
    @inlinable
    public static var timestamped: FrameOffload { FrameOffload(rawValue: 4) }
}

/// One L2 frame or L3 packet in memory of a ``FramePool``, with room before it for headers.
///
/// A frame has one owner, who gives it on by consuming it; one that is dropped goes back to its pool. So a frame cannot be
/// lost, nor used after it was given away: the compiler rejects both.
@frozen
public struct Frame: ~Copyable {
    // SAFETY: `pool` is valid as long as the pool is, which traps in its deinit while frames are out, and is freed only with the
    // last burst.
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
    public consuming func relinquish() -> FrameDescriptor {
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

    /// A number of the program's own, which goes with the frame. Links pass it on and do not look at it.
    @inlinable
    public var mark: UInt16 {
        get { descriptor.mark }
        set { descriptor.mark = newValue }
    }

    /// When the link received the frame, in nanoseconds since 1970, if the link can tell (``FrameOffload/timestamped``).
    ///
    /// It lies in the first eight bytes of the slot: it is gone when headers are prepended over them, and a frame with less
    /// headroom cannot have one.
    @inlinable
    public var timestamp: Int64? {
        get {
            guard descriptor.offload.contains(.timestamped), descriptor.start >= 8 else { return nil }
            // SAFETY: a slot has 256 bytes or more, and these eight are before the packet.
            return unsafe pool.slotAddress(descriptor.slot).loadUnaligned(as: Int64.self)
        }
        set {
            guard let newValue, descriptor.start >= 8 else {
                descriptor.offload.remove(.timestamped)
                return
            }
            // SAFETY: as above.
            unsafe pool.slotAddress(descriptor.slot).storeBytes(of: newValue, as: Int64.self)
            descriptor.offload.insert(.timestamped)
        }
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

    /// Makes these bytes the packet, from where it starts now.
    ///
    /// - Precondition: the slot has room for so many.
    @inlinable
    public mutating func copyBytes(from source: RawSpan) {
        setLength(source.byteCount)
        // SAFETY: the slot has room for so many bytes, as was checked, and access to self is exclusive.
        let start = unsafe pool.address(of: descriptor)
        unsafe source.withUnsafeBytes { bytes in
            guard let first = bytes.baseAddress else { return }
            unsafe start.copyMemory(from: first, byteCount: bytes.count)
        }
    }
}
