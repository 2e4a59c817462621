// What is forwarded between which links, by whom, and what ours is held to.

import Foundation

/// One figure of ours beside one of a peer's.
struct LinkScenario: Sendable {
    /// The bar: our frames a second are at least so many times the peer's, or so many millions.
    enum Bar: Sendable {
        case times(Double)
        case millions(Double)
        /// Our processor time is less than this share of one.
        case share(Double)
    }

    /// What is done with links of the kernel's, in namespaces that are made for it.
    enum Wire: Sendable {
        case transmit
        /// What `sender` transmits: a link on the far end of a veth, or the kernel's side of a TAP.
        case receive(sender: String)
        /// The highest rate that is written to a file without loss.
        case capture
        /// What writing to a file takes of a processor, at a rate that all bear.
        case captureCost(rate: Double)
        case idle

        var isCapture: Bool {
            switch self {
            case .capture, .captureCost: true
            default: false
            }
        }
    }

    var name: String
    var title: String
    var burst: Int
    /// Arguments of `martlet-forward`.
    var own: [String]
    /// Arguments of testpmd, behind those of all; nil if nobody here does the same.
    var peer: Testpmd?
    var bar: Bar?
    /// Nil for links in memory.
    var wire: Wire?

    static let bursts = [1, 2, 4, 8, 16, 32, 64, 128, 256, 512]
    private static let nulls = ["net_null0", "net_null1"]
    private static let rings = ["net_ring0", "net_ring1"]

    static let all: [LinkScenario] =
        bursts.map { burst in
            LinkScenario(
                name: "null-\(burst)", title: "null to null, a frame allocated and freed", burst: burst,
                own: ["--links", "null"], peer: Testpmd(mode: "io", devices: nulls),
                bar: burst == 32 ? .times(1.5) : [1, 8, 256].contains(burst) ? .times(1) : nil)
        } + [
            LinkScenario(
                name: "macswap", title: "null to null, addresses swapped", burst: 32,
                own: ["--links", "null", "--mode", "macswap"], peer: Testpmd(mode: "macswap", devices: nulls),
                bar: .times(1.3)),
            LinkScenario(
                name: "any", title: "the same through `AnyLink`, addresses left", burst: 32, own: ["--links", "any"],
                peer: Testpmd(mode: "io", devices: nulls), bar: nil),
            LinkScenario(
                name: "pipe", title: "pipe to pipe, the same frames", burst: 32, own: ["--links", "memory"],
                peer: Testpmd(mode: "io", devices: rings, sendsFirst: true), bar: .times(0.5)),
            LinkScenario(
                name: "cores", title: "pipe between two cores", burst: 64, own: ["--links", "cores"], peer: nil,
                bar: .millions(100)),
            LinkScenario(
                name: "switch", title: "switch, 4 ports, 64 addresses", burst: 64, own: ["--links", "switch"],
                peer: nil,
                bar: .millions(40)),
        ] + onWires

    /// `near` and `far` are the ends of a veth, each in a namespace of its own; `near2` is beside `near`.
    private static let onWires: [LinkScenario] =
        [
            ("AF_XDP", "xdp", "net_af_xdp0,iface=near"), ("AF_PACKET", "packet", "net_af_packet0,iface=near"),
        ].flatMap { title, kind, device in
            [
                wire("\(kind)-transmit", "\(title), transmitting", "\(kind):near", .transmit, device),
                wire("\(kind)-receive", "\(title), receiving", "\(kind):near", .receive(sender: "\(kind):far"), device),
            ]
        } + [
            // testpmd makes a TAP of its own, with several queues.
            wire("tap-transmit", "TAP, transmitting", "tap:tap", .transmit, "net_tap0,iface=tap2"),
            wire("tap-receive", "TAP, receiving", "tap:tap", .receive(sender: "packet:tap"), "net_tap0,iface=tap2"),
            LinkScenario(
                name: "capture", title: "captured to a file without loss, at most what the sender gives", burst: 64,
                own: ["--links", "capture", "--link", "packet:near"], peer: nil, bar: nil, wire: .capture),
            LinkScenario(
                name: "capture-cost", title: "captured to a file, a second of processor time", burst: 64,
                own: ["--links", "capture", "--link", "packet:near"], peer: nil, bar: .times(2),
                wire: .captureCost(rate: 400_000)),
            LinkScenario(
                name: "idle", title: "processor time on two quiet links", burst: 32,
                own: ["--links", "idle", "--link", "packet:near", "--link", "packet:near2"], peer: nil,
                bar: .share(0.005), wire: .idle),
        ]

    private static func wire(_ name: String, _ title: String, _ link: String, _ wire: Wire, _ device: String)
        -> LinkScenario
    {
        var isSending = false
        if case .transmit = wire { isSending = true }
        return LinkScenario(
            name: name, title: title, burst: 32,
            own: ["--links", isSending ? "transmit" : "receive", "--link", link],
            peer: Testpmd(mode: isSending ? "txonly" : "rxonly", devices: [device]), bar: .times(1), wire: wire)
    }
}

/// DPDK's own forwarder, as Debian's `dpdk` package has it.
struct Testpmd: Sendable {
    var mode: String
    var devices: [String]
    /// Its rings are empty at first, so that it has to put frames into them.
    var sendsFirst = false

    /// One core forwards, on the processor behind `cpu`'s; testpmd's own thread is on `cpu`.
    func arguments(burst: Int, cpu: Int) -> [String] {
        let isOneWay = mode.hasSuffix("only")
        var all = ["--no-huge", "-m", "512", "--no-pci", "--log-level=1", "-l", "\(cpu),\(cpu + 1)"]
        for device in devices { all += ["--vdev", device] }
        all += ["--", "--forward-mode=\(mode)", "--burst=\(burst)", "--nb-cores=1", "--stats-period=1", "--auto-start"]
        all += ["--total-num-mbufs=\(isOneWay ? 16_384 : 8192)"]
        if sendsFirst { all += ["--tx-first"] }
        if mode == "rxonly" { all += ["--no-flush-rx"] }
        if mode == "txonly" { all += ["--txpkts=64"] }
        return all
    }

    /// The figure of each of its reports that is meant.
    var label: String { mode == "rxonly" ? "Rx-pps:" : "Tx-pps:" }
}
