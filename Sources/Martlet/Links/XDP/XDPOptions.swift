// How an XDP link is opened.

/// What an XDP link takes from its interface, and at what cost to it.
public struct XDPOptions: Hashable, Sendable {
    /// Whether the kernel may copy frames between the driver and the arena.
    public enum Copying: Hashable, Sendable {
        /// It does if the driver knows no better.
        case automatic
        /// It does not: opening fails where the driver cannot do without.
        case never
        /// It always does.
        case always
    }

    /// Where the program runs.
    public enum Attachment: Hashable, Sendable {
        /// In the driver, and where that cannot, as ``generic``.
        case automatic
        /// In the driver, or not at all.
        case native
        /// On packet buffers that the kernel has made: slower, and possible on every interface.
        case generic
    }

    /// Calls of the link drive the driver, instead of interrupts (Linux 5.11; where frames are copied, 5.18).
    ///
    /// It saves interrupts for a core that never sleeps, and takes a system call each time that nothing has come. For the driver
    /// to stay quiet meanwhile, set `napi_defer_hard_irqs` and `gro_flush_timeout` of the interface.
    public struct BusyPolling: Hashable, Sendable {
        /// Microseconds that a call may wait for frames.
        public var microseconds: Int
        /// Frames that a call handles at most.
        public var budget: Int

        public init(microseconds: Int = 20, budget: Int = 64) {
            self.microseconds = microseconds
            self.budget = budget
        }
    }

    /// The flows to take; all of the interface's frames if nil. All links of an interface have the same.
    public var steering: XDPSteering?
    public var copying = Copying.automatic
    /// All links of an interface have the same.
    public var attachment = Attachment.automatic
    public var busyPolling: BusyPolling?
    /// Frames of the pool that lie with the kernel, for what comes. Fewer if the pool has fewer.
    public var receiveFrames = 1024
    /// Entries of each of the four rings: a power of two, no smaller than ``receiveFrames``.
    public var ringSize = 2048
    /// Whether checksums of received frames are taken as right, as far as they are there: on a veth, what the peer's kernel
    /// sent has none, unless its transmit offload is off (`ethtool -K PEER tx off`).
    public var trustsChecksums = false

    public init(steering: XDPSteering? = nil) { self.steering = steering }
}
