// How a packet socket is set up, and how large its rings become.

internal import CMartlet
internal import Glibc

extension PacketLink {
    /// What a packet socket receives and how.
    public struct Options: Sendable, Hashable {
        /// Receives frames. Otherwise the link only transmits, and costs the kernel nothing when others receive.
        public var receives = true
        /// Transmits frames.
        public var transmits = true
        /// Receives in blocks (TPACKET_V3): the kernel hands over a block when it is full or after ``blockTimeout``. That is for
        /// capturing at high rates, and for frames of very different sizes. Otherwise each frame can be had as soon as it is
        /// there (TPACKET_V2).
        public var receivesBlocks = false
        /// How long a block may wait to be filled: whole milliseconds, 1 at least.
        public var blockTimeout = Duration.milliseconds(1)
        /// Bytes of both rings together.
        public var ringSize = 8 << 20
        /// Frames that may wait in the transmit ring, rounded up to whole blocks.
        public var transmitFrames = 512
        /// Bytes of the longest frame; nil for what the interface's MTU needs. Longer ones are dropped and counted. A peer on a
        /// veth sends segments of up to 64 KiB unless its offloads are turned off.
        public var largestFrame: Int?
        /// What is received: everything if nil. The kernel runs it, so that nothing else costs more than that.
        public var filter: Filter.Program?
        /// Leaves the queueing discipline out when transmitting. Frames that the driver has no room for are lost then.
        public var bypassesQueueing = true
        /// Does not receive what this machine sends.
        public var ignoresOutgoing = true
        /// Receives frames that are for other addresses too.
        public var isPromiscuous = true
        /// Says when each frame was received.
        public var timestamps = false
        /// Shares what is received with other links, one a core.
        public var fanout: Fanout?

        public init() {}
    }

    /// How several links share what an interface receives.
    public struct Fanout: Sendable, Hashable {
        /// Which link of the group gets a frame.
        public enum Mode: Sendable, Hashable {
            /// By its flow: both directions of a connection come to one link.
            case flow
            /// By the CPU that received it.
            case cpu
            /// By the interface's receive queue.
            case queue
            /// One after the other.
            case roundRobin

            var number: Int32 {
                switch self {
                case .flow: Int32(MARTLET_PACKET_FANOUT_HASH)
                case .cpu: Int32(MARTLET_PACKET_FANOUT_CPU)
                case .queue: Int32(MARTLET_PACKET_FANOUT_QUEUE)
                case .roundRobin: Int32(MARTLET_PACKET_FANOUT_LEAST_LOADED)
                }
            }
        }

        /// The group's number, unique in its network namespace.
        public var group: UInt16
        public var mode: Mode
        /// IP fragments are put together before the flow is looked at.
        public var keepsFragmentsTogether: Bool

        public init(group: UInt16, mode: Mode = .flow, keepsFragmentsTogether: Bool = true) {
            self.group = group
            self.mode = mode
            self.keepsFragmentsTogether = keepsFragmentsTogether
        }
    }

    /// The sizes of the rings. Both have the same blocks, which places of one size fill.
    struct Sizes {
        /// Bytes of a place.
        var frame: Int
        var block: Int
        var blocks: Int
        var transmitBlocks: Int

        var framesPerBlock: Int { block / frame }

        init(_ options: Options, mtu: Int, link: String) throws(LinkError) {
            // The MTU of `lo` is more than an IP packet can have.
            let longest = max(options.largestFrame ?? min(mtu + 18, 65_549), 64)
            guard longest <= 65_549, options.receives || options.transmits, options.transmitFrames > 0 else {
                throw .invalid(
                    link: link, reason: "a packet socket receives or transmits, and frames have 65,549 bytes at most")
            }
            // Powers of two fill a block without a gap.
            frame = (longest + Int(MARTLET_PACKET_OVERHEAD)).roundedUpToPowerOfTwo
            // A core is woken once a block, so that those of large rings are larger.
            let large = options.receivesBlocks ? min(1 << 20, (options.ringSize / 64).roundedUpToPowerOfTwo) : 0
            block = max(1 << 17, large, frame)
            transmitBlocks = options.transmits ? (options.transmitFrames * frame + block - 1) / block : 0
            blocks = options.receives ? max(2, options.ringSize / block - transmitBlocks) : 0
        }
    }
}

extension Int {
    /// The smallest power of two that is not less.
    var roundedUpToPowerOfTwo: Int { self <= 1 ? 1 : 1 << (Int.bitWidth - (self - 1).leadingZeroBitCount) }
}
