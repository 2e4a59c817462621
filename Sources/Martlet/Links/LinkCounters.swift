// What has passed a link, and why what did not pass was dropped.

/// What has passed a link in both directions since it was made, or since a program set it to zero.
public struct LinkCounters: Sendable, BitwiseCopyable {
    public var received = LinkDirection()
    public var transmitted = LinkDirection()

    @inlinable
    public init() {}
}

/// What has passed a link in one direction.
public struct LinkDirection: Sendable, BitwiseCopyable {
    public var frames: UInt64 = 0
    /// Bytes of those frames, link header included.
    public var bytes: UInt64 = 0
    /// Frames that were dropped, by reason. They are not among `frames`.
    public var drops = LinkDrops()

    @inlinable
    public init() {}

    /// Counts frames that passed.
    @inlinable
    public mutating func count(_ frames: Int, bytes: Int) {
        self.frames &+= UInt64(truncatingIfNeeded: frames)
        self.bytes &+= UInt64(truncatingIfNeeded: bytes)
    }
}

/// Why a link dropped a frame.
public enum LinkDrop: UInt8, Sendable, CaseIterable, BitwiseCopyable {
    /// The ring was full: the receiver was too slow, or the transmitter too fast.
    case ringFull
    /// There was no free frame to receive into.
    case arenaEmpty
    /// Shorter than its link header.
    case runt
    /// Longer than the MTU, or than a frame has room for.
    case oversize
    /// The kernel or the other side described it in a way that cannot be.
    case malformed
    /// The link was down or gone.
    case linkDown
    /// The kernel refused it, with an error of no other kind here.
    case refused
    /// A fault that a `FaultLink` was asked for.
    case fault
    /// Too many frames for everybody in too short a time, at a switch.
    case storm
    /// It would have gone back to where it came from, at a switch.
    case noWay
    /// A program's own decision.
    case filtered
}

/// Frames that were dropped, by reason.
public struct LinkDrops: Sendable, BitwiseCopyable {
    @usableFromInline var counts = InlineArray<11, UInt64>(repeating: 0)

    @inlinable
    public init() {}

    /// Frames that were dropped for `reason`.
    @inlinable
    public subscript(reason: LinkDrop) -> UInt64 {
        get { counts[Int(reason.rawValue)] }
        set { counts[Int(reason.rawValue)] = newValue }
    }

    /// Frames that were dropped for any reason.
    public var total: UInt64 { LinkDrop.allCases.reduce(0) { $0 &+ self[$1] } }
}
