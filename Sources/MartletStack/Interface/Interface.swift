// An interface as the packet path sees it: plain values in a table that never changes its size.

/// One interface of a stack, named by its place in the table.
struct Interface: BitwiseCopyable {
    let kind: InterfaceKind
    /// Bytes of the largest IP packet that the link takes.
    let mtu: Int
    /// The same for one version: a DHCP server, or a router's advertisement (RFC 4861 §6.3.4), may lower it.
    var mtuV4: Int
    var mtuV6: Int
    let vlan: VLANPolicy
    let completesChecksums: Bool
    let cutsSegments: Bool
    let detectsConflicts: Bool
    let acceptsSourceRoutes: Bool
    let prediction: LinkPrediction
    /// The hop limit of packets that go, 64 unless a router advertises another (RFC 4861 §6.3.4).
    var hopLimit: UInt8 = 64

    init(_ configuration: InterfaceConfiguration) {
        precondition(configuration.mtu >= 576 && configuration.mtu <= 65_535, "an MTU is 576 ... 65,535 bytes")
        if case .member(let vlan) = configuration.vlan {
            precondition(vlan >= 1 && vlan <= 4094, "a VLAN is 1 ... 4,094")
        }
        if case .ethernet(let address) = configuration.kind {
            precondition(!address.isMulticast && address != .zero, "an interface has an address of its own")
        }
        kind = configuration.kind
        mtu = configuration.mtu
        mtuV4 = configuration.mtu
        mtuV6 = configuration.mtu
        vlan = configuration.vlan
        completesChecksums = configuration.completesChecksums
        cutsSegments = configuration.cutsSegments
        detectsConflicts = configuration.detectsConflicts
        acceptsSourceRoutes = configuration.acceptsSourceRoutes
        prediction = LinkPrediction(kind, vlan)
    }

    /// The link address; nil if there is none.
    var linkAddress: MACAddress? { if case .ethernet(let address) = kind { address } else { nil } }

    func mtu(for address: IPAddress) -> Int { if case .v4 = address { mtuV4 } else { mtuV6 } }
}
