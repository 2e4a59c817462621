// Which frames an XDP link takes from an interface that the kernel goes on using.

public import MartletStack

/// The flows that an XDP link takes from its interface. Whatever no rule names goes on to the kernel, as if nobody looked.
///
/// A frame has one receiver, since XDP cannot duplicate one. So it is decided here who answers for an address:
///
/// - an address of the link's alone (``Rule/address(_:)``) comes with all that belongs to it: every protocol, fragments,
///   and the ARP and Neighbor Discovery messages that ask for it or answer it. The kernel must not have that address;
/// - ports (``Rule/ports(_:of:at:)``) are taken from an address that the kernel has and goes on answering for: ARP, Neighbor
///   Discovery, ICMP and fragments go to the kernel. A fragment does not say its port, and the kernel could not reassemble what it
///   does not get: transports must avoid fragmentation, as TCP does. The kernel answers segments that it does get for a port nobody
///   listens on with a reset, and so must not get them: link and queue have to be open before the first connection.
///
/// Broadcast and multicast, router advertisements among them, go to the kernel.
public struct XDPSteering: Hashable, Sendable {
    /// The transports whose ports a rule means.
    public enum Transport: Hashable, Sendable {
        case tcp
        case udp
        case both
    }

    /// One kind of frames that the link takes.
    public enum Rule: Hashable, Sendable {
        /// Everything for an address that is the link's alone.
        case address(IPAddress)
        /// Whole datagrams for these ports, at one address or, if it is `nil`, at any.
        ///
        /// The ports of IPv6 packets with extension headers are not looked for: they go to the kernel.
        case ports(ClosedRange<UInt16>, of: Transport, at: IPAddress?)
    }

    /// A frame that any of these names is taken.
    public var rules: [Rule]

    /// Frames of this VLAN are meant, whose tag is in the frame (IEEE 802.1Q). `nil` means frames without a tag.
    public var vlan: UInt16?

    /// - Parameter vlan: 1 ... 4094, or `nil` for frames without a tag.
    public init(_ rules: [Rule], vlan: UInt16? = nil) {
        self.rules = rules
        self.vlan = vlan
    }
}
