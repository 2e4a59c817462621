// What is forwarded between which links, by whom, and what ours is held to.

import Foundation

/// One figure of ours beside one of a peer's.
struct LinkScenario: Sendable {
    /// The bar: our frames a second are at least so many times the peer's, or so many millions.
    enum Bar: Sendable {
        case times(Double)
        case millions(Double)
    }

    var name: String
    var title: String
    var burst: Int
    /// Arguments of `martlet-forward`.
    var own: [String]
    /// Arguments of testpmd, behind those of all; nil if nobody here does the same.
    var peer: Testpmd?
    var bar: Bar?

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
        ]
}

/// DPDK's own forwarder, as Debian's `dpdk` package has it.
struct Testpmd: Sendable {
    var mode: String
    var devices: [String]
    /// Its rings are empty at first, so that it has to put frames into them.
    var sendsFirst = false

    /// One core forwards, on the processor behind `cpu`'s; testpmd's own thread is on `cpu`.
    func arguments(burst: Int, cpu: Int) -> [String] {
        ["--no-huge", "-m", "512", "--no-pci", "--log-level=1", "-l", "\(cpu),\(cpu + 1)"]
            + devices.flatMap { ["--vdev", $0] } + ["--"]
            + [
                "--forward-mode=\(mode)", "--burst=\(burst)", "--nb-cores=1", "--total-num-mbufs=8192",
                "--stats-period=1", "--auto-start",
            ] + (sendsFirst ? ["--tx-first"] : [])
    }
}
