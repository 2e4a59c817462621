// What a link carries and can do.

public import MartletStack

/// What a link carries, and what it can do for a frame.
public struct LinkProperties: Sendable, Hashable {
    /// What is at the beginning of a frame.
    public enum Medium: UInt8, Sendable {
        /// An Ethernet header, without the frame check sequence.
        case ethernet
        /// An IPv4 or IPv6 header: a TUN.
        case ip
    }

    public var medium: Medium
    /// Bytes of the largest packet, link header not included.
    public var mtu: Int
    /// The interface's own address, if it has one.
    public var macAddress: MACAddress?
    public var capabilities: LinkCapabilities

    public init(
        medium: Medium = .ethernet, mtu: Int = 1500, macAddress: MACAddress? = nil, capabilities: LinkCapabilities = []
    ) {
        self.medium = medium
        self.mtu = mtu
        self.macAddress = macAddress
        self.capabilities = capabilities
    }

    /// Bytes of the largest frame that is one segment: the MTU, with an Ethernet header and a VLAN tag where there are such.
    public var largestFrame: Int { medium == .ethernet ? mtu + 18 : mtu }
}

/// What a link can do.
public struct LinkCapabilities: OptionSet, Sendable, Hashable {
    public var rawValue: UInt16

    public init(rawValue: UInt16) { self.rawValue = rawValue }

    /// It says which received frames have a verified checksum (``FrameOffload/checksumVerified``).
    public static let receiveChecksum = LinkCapabilities(rawValue: 1)
    /// It completes partial checksums (``FrameOffload/checksumPartial``).
    public static let transmitChecksum = LinkCapabilities(rawValue: 2)
    /// It cuts large TCP segments (``Frame/segmentSize``).
    public static let segmentation = LinkCapabilities(rawValue: 4)
    /// It may merge received TCP segments into larger ones.
    public static let coalescing = LinkCapabilities(rawValue: 8)
    /// Frames are handed over by swapping indices: bursts must be of a pool over the link's own arena.
    public static let zeroCopy = LinkCapabilities(rawValue: 16)
    /// Frames go through the kernel with a virtio-net header, which is how checksums and segmentation are left to it.
    public static let virtioHeader = LinkCapabilities(rawValue: 32)
    /// It says when frames were received (``Frame/timestamp``).
    public static let timestamps = LinkCapabilities(rawValue: 64)
    /// What is transmitted is complete only when it is reclaimed: frames stay out for a while.
    public static let lateCompletion = LinkCapabilities(rawValue: 128)
}
