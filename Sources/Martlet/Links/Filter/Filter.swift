// Which frames are wanted: said in Swift, or read from an expression such as `tcp port 80 and net 10.0.0.0/8`, and compiled to
// classic BPF, which the kernel runs on a packet socket and `Filter.Program` runs anywhere else.
//
// The words mean what they mean in pcap-filter(7), with one difference: they look behind a VLAN tag, whether the tag is in the
// frame or the kernel has put it beside.

public import MartletStack

/// A question to a frame that is answered by yes or no.
///
/// ```swift
/// let web = Filter.tcp && .port(80) && .net(IPAddress("10.0.0.0")!, prefix: 8)
/// let other = try Filter("not arp and udp portrange 5000-5010")
/// ```
///
/// A frame that ends before what the filter has to look at is not wanted, whatever the rest would say.
public struct Filter: Sendable, Hashable {
    /// Which of a frame's two addresses or ports is meant.
    public enum Side: Sendable, Hashable {
        case either
        case source
        case destination
    }

    indirect enum Expression: Sendable, Hashable {
        case all
        case none
        case test(Test)
        case not(Expression)
        case and(Expression, Expression)
        case or(Expression, Expression)
    }

    enum Test: Sendable, Hashable {
        case etherType(UInt16)
        case linkAddress(MACAddress, Side)
        case toGroup
        /// A VLAN's identifier; any VLAN if nil.
        case vlan(UInt16?)
        /// In either version of IP, or in one: 4 or 6.
        case ipProtocol(UInt8, version: UInt8?)
        case net(IPAddress, prefix: Int, Side)
        /// A port of one of these protocols.
        case ports(ClosedRange<UInt16>, Side, [UInt8])
        case atLeast(UInt32)
    }

    let expression: Expression

    init(_ expression: Expression) { self.expression = expression }

    private init(_ test: Test) { expression = .test(test) }

    // MARK: Questions

    /// Every frame.
    public static let everything = Filter(.all)
    /// No frame.
    public static let nothing = Filter(.none)

    /// Frames of IPv4.
    public static let ip = etherType(0x0800)
    /// Frames of IPv6.
    public static let ip6 = etherType(0x86DD)
    /// Frames of ARP.
    public static let arp = etherType(0x0806)
    /// TCP over either version of IP.
    public static let tcp = ipProtocol(6)
    /// UDP over either version of IP.
    public static let udp = ipProtocol(17)
    /// ICMP for IPv4.
    public static let icmp = Filter(.ipProtocol(1, version: 4))
    /// ICMP for IPv6.
    public static let icmp6 = Filter(.ipProtocol(58, version: 6))
    /// Frames to everybody on the link.
    public static let broadcast = Filter(.linkAddress(.broadcast, .destination))
    /// Frames to a group on the link, everybody included.
    public static let multicast = Filter(.toGroup)

    /// Frames that carry that type, behind a VLAN tag if there is one.
    public static func etherType(_ type: UInt16) -> Filter { Filter(.etherType(type)) }

    /// Packets of either version of IP that carry that protocol. In IPv6 it follows the header, or a fragment header.
    public static func ipProtocol(_ number: UInt8) -> Filter { Filter(.ipProtocol(number, version: nil)) }

    /// Frames with that Ethernet address.
    public static func linkAddress(_ address: MACAddress, _ side: Side = .either) -> Filter {
        Filter(.linkAddress(address, side))
    }

    /// Packets with that address; of IPv4, also in ARP.
    public static func host(_ address: IPAddress, _ side: Side = .either) -> Filter {
        if case .v4 = address { return net(address, prefix: 32, side) }
        return net(address, prefix: 128, side)
    }

    /// Packets with an address that begins with the first `prefix` bits of this one; of IPv4, also in ARP.
    ///
    /// - Precondition: the prefix has 0 ... 32 bits of IPv4, or 0 ... 128 of IPv6.
    public static func net(_ address: IPAddress, prefix: Int, _ side: Side = .either) -> Filter {
        if case .v4 = address {
            precondition((0...32).contains(prefix), "a prefix of IPv4 has 0 ... 32 bits")
        } else {
            precondition((0...128).contains(prefix), "a prefix of IPv6 has 0 ... 128 bits")
        }
        return Filter(.net(address, prefix: prefix, side))
    }

    /// Packets of TCP, UDP or SCTP with that port. Fragments that do not begin a packet have none.
    public static func port(_ port: UInt16, _ side: Side = .either) -> Filter { ports(port...port, side) }

    /// Packets of TCP, UDP or SCTP with a port in that range.
    public static func ports(_ ports: ClosedRange<UInt16>, _ side: Side = .either) -> Filter {
        Filter(.ports(ports, side, [6, 17, 132]))
    }

    /// Frames with the tag of that VLAN, or of any if nil.
    ///
    /// - Precondition: an identifier has 12 bits.
    public static func vlan(_ identifier: UInt16? = nil) -> Filter {
        precondition(identifier ?? 0 < 4096, "a VLAN's identifier has 12 bits")
        return Filter(.vlan(identifier))
    }

    /// Frames of that many bytes or more.
    public static func atLeast(_ bytes: Int) -> Filter { Filter(.atLeast(UInt32(clamping: bytes))) }

    /// Frames of that many bytes or fewer.
    public static func atMost(_ bytes: Int) -> Filter { !atLeast(bytes + 1) }

    // MARK: Joining

    public static func && (left: Filter, right: Filter) -> Filter { Filter(.and(left.expression, right.expression)) }
    public static func || (left: Filter, right: Filter) -> Filter { Filter(.or(left.expression, right.expression)) }
    public static prefix func ! (filter: Filter) -> Filter { Filter(.not(filter.expression)) }

    // MARK: Use

    /// The filter as instructions.
    ///
    /// - Throws: ``LinkError/invalidFilter(reason:)`` if they would be more than the kernel takes: 4,096.
    public func compiled() throws(LinkError) -> Program { try Program(compiling: self) }
}
