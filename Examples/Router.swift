// A router between two networks: IPv4 packets go from one link to the other, with all that makes a host believe in it.
//
//     swift run -c release Router packet:eth0 packet:eth1 --address 10.1.0.1/24 --address 10.2.0.1/24      # as root
//     ethtool -K eth0 gro off; ethtool -K eth1 gro off         # so that no packet is longer than it was on its wire
//     ip route add 10.2.0.0/24 via 10.1.0.1                                                          # on a host behind eth0
//
// What RFC 1812 asks of a packet on its way: its header is checked, its time to live goes down by one with the checksum, and whoever
// sent what cannot go on hears why by ICMP. Addresses of hosts are asked for by ARP (RFC 826). What it leaves out: fragmenting,
// VLAN tags, multicast, redirects, options of IP beyond passing them on. Ctrl-C ends it, and it says what went by.

import ArgumentParser
import Foundation
import Martlet
import MartletStack

@main
struct RouterCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "Router", abstract: "Forwards IPv4 packets between the networks of two links.")

    @Argument(help: "A link, such as packet:eth0.") var one: String
    @Argument(help: "The other link.") var other: String
    @Option(help: "The router's own address and the network, as 10.1.0.1/24: one for each link, in their order.")
    var address: [String]
    @Option(
        help: ArgumentHelp(
            "A network behind another router, as 10.3.0.0/16=10.2.0.9; may be repeated.", valueName: "net=router"))
    var route: [String] = []

    func run() async throws {
        let names = (try LinkName(one), try LinkName(other))
        let networks = try address.map { try Network($0) }
        guard networks.count == 2 else { throw ValidationError("each of the two links needs an --address") }
        let routes = try route.map { try Route($0, networks) }
        try await Runtime.run(.init(cores: .count(1), shutdownSignals: [.terminate, .interrupt])) { runtime in
            try await runtime.withLink(names.0) { one in
                try await runtime.withLink(names.1) { other in
                    let router = Router([one, other], networks, routes)
                    try await withThrowingTaskGroup(of: Void.self) { group in
                        for port in 0..<2 { group.addTask { try await router.serve(port) } }
                        defer { group.cancelAll() }
                        do { try await group.next() } catch LinkError.cancelled {} catch NetworkError.cancelled {}
                    }
                    print(router.summary)
                }
            }
        }
    }
}

/// An address of the router's, and the network that it is in.
struct Network: Sendable {
    let address: UInt32
    let mask: UInt32

    init(_ text: String) throws {
        guard let parsed = InterfaceAddress(text), case .v4(let address) = parsed.address, parsed.prefixLength <= 32
        else {
            throw ValidationError("\(text) is not an IPv4 address with a prefix, as 10.1.0.1/24")
        }
        self.address = address.bits
        mask = parsed.prefixLength == 0 ? 0 : UInt32.max << (32 - UInt32(parsed.prefixLength))
    }

    func contains(_ other: UInt32) -> Bool { other & mask == address & mask }
    /// The host bits all ones: everybody there (RFC 919).
    func isBroadcast(_ other: UInt32) -> Bool { mask != .max && contains(other) && other | mask == .max }
}

/// A network behind another router.
struct Route: Sendable {
    let network: Network
    let router: UInt32
    let port: Int

    init(_ text: String, _ networks: [Network]) throws {
        let parts = text.split(separator: "=").map(String.init)
        guard parts.count == 2, let router = IPv4Address(parts[1]) else {
            throw ValidationError("\(text) is not a route, as 10.3.0.0/16=10.2.0.9")
        }
        guard let port = networks.firstIndex(where: { $0.contains(router.bits) }) else {
            throw ValidationError("\(text): the other router is on neither network")
        }
        (network, self.router, self.port) = (try Network(parts[0]), router.bits, port)
    }
}

/// The two links and what is known of the hosts on them. It is touched on its core's thread alone.
final class Router: @unchecked Sendable {
    private struct Neighbour {
        var hardware: UInt64
        var heard: ContinuousClock.Instant
    }

    private let links: [OpenLink]
    private let networks: [Network]
    private let routes: [Route]
    private let hardware: [UInt64]
    private var neighbours: [[UInt32: Neighbour]] = [[:], [:]]
    /// Packets, with their Ethernet headers, that wait for a host's answer, and when it was last asked.
    private var waiting: [[UInt32: (packets: [[UInt8]], asked: ContinuousClock.Instant)]] = [[:], [:]]
    private var counts: [String: Int] = [:]
    /// Errors that may still be sent in this second (RFC 1812 §4.3.2.8).
    private var errorsLeft = 100
    private var second: ContinuousClock.Instant = .now

    init(_ links: [OpenLink], _ networks: [Network], _ routes: [Route]) {
        (self.links, self.networks) = (links, networks)
        self.routes = routes.sorted { $0.network.mask > $1.network.mask }
        hardware = links.map {
            ($0.properties.macAddress
                ?? MACAddress(bits: .random(in: 0...UInt64.max) & 0xFCFF_FFFF_FFFF | 0x200_0000_0000)).bits
        }
    }

    var summary: String { counts.sorted { $0.key < $1.key }.map { "\($0.value) \($0.key)" }.joined(separator: ", ") }

    private func count(_ what: String) { counts[what, default: 0] += 1 }

    /// All that comes from one link, to its end.
    func serve(_ port: Int) async throws {
        while var burst = try await links[port].nextBurst() {
            var across = burst.makeBurst()
            var back = burst.makeBurst()
            let now = ContinuousClock.now
            if now - second > .seconds(1) { (second, errorsLeft) = (now, 100) }
            while var frame = burst.popFirst() {
                switch way(of: &frame, from: port, now) {
                case port: back.append(frame)
                case 1 - port: across.append(frame)
                default: break
                }
            }
            links[1 - port].transmit(across)
            links[port].transmit(back)
        }
    }

    /// Does to a frame what is to be done, and says which link it leaves by; -1 is none.
    private func way(of frame: inout Frame, from port: Int, _ now: ContinuousClock.Instant) -> Int {
        guard frame.length >= 34 else { return -1 }
        switch frame.bytes.uint16(at: 12) {
        case 0x0806: return frame.length >= 42 ? answerARP(&frame, port, now) : -1
        case 0x0800: return forward(&frame, port, now)
        default: return -1
        }
    }

    // MARK: ARP

    private func answerARP(_ frame: inout Frame, _ port: Int, _ now: ContinuousClock.Instant) -> Int {
        let (sender, target) = (frame.bytes.uint32(at: 28), frame.bytes.uint32(at: 38))
        let senderHardware = UInt64(frame.bytes.uint16(at: 22)) << 32 | UInt64(frame.bytes.uint32(at: 24))
        let isRequest = frame.bytes.uint16(at: 20) == 1
        guard networks[port].contains(sender), senderHardware >> 40 & 1 == 0, target == networks[port].address else {
            return -1
        }
        neighbours[port][sender] = Neighbour(hardware: senderHardware, heard: now)
        if let packets = waiting[port].removeValue(forKey: sender)?.packets {
            release(packets, port, to: senderHardware)
        }
        guard isRequest else { return -1 }
        count("questions for an address answered")
        frame.setLength(42)
        writeARP(&frame, port, operation: 2, to: sender, senderHardware)
        return port
    }

    private func writeARP(
        _ frame: inout Frame, _ port: Int, operation: UInt16, to target: UInt32, _ targetHardware: UInt64
    ) {
        writeEthernet(&frame, to: targetHardware == 0 ? 0xFFFF_FFFF_FFFF : targetHardware, from: port, type: 0x0806)
        frame.put(0x0001_0800_0604 << 16 | UInt64(operation), at: 14)
        frame.put(address: hardware[port], at: 22)
        frame.put(networks[port].address, at: 28)
        frame.put(address: targetHardware, at: 32)
        frame.put(target, at: 38)
    }

    /// Sends packets that have waited, now that their way is known.
    private func release(_ packets: [[UInt8]], _ port: Int, to target: UInt64) {
        var burst = links[port].makeBurst()
        for packet in packets {
            guard var frame = burst.takeFrame() else { break }
            frame.copyBytes(from: packet.span.bytes)
            writeEthernet(&frame, to: target, from: port, type: 0x0800)
            burst.append(frame)
            count("packets forwarded")
        }
        links[port].transmit(burst)
    }

    /// Keeps a packet until its next hop has answered, a few for each, and asks once a second.
    private func keep(_ frame: inout Frame, for hop: UInt32, _ port: Int, _ now: ContinuousClock.Instant) {
        var (packets, asked) = waiting[port][hop] ?? ([], now - .seconds(2))
        // What a link has left to the next one to do cannot wait in a copy of its bytes.
        frame.completeChecksum()
        if packets.count < 4, waiting[port].count < 1000 {
            packets.append((0..<frame.length).map { frame.bytes.byte(at: $0) })
        } else {
            count("packets dropped: no answer from the next hop")
        }
        if now - asked > .seconds(1) {
            asked = now
            ask(hop, port)
        }
        waiting[port][hop] = (packets, asked)
    }

    private func ask(_ hop: UInt32, _ port: Int) {
        var burst = links[port].makeBurst()
        guard var frame = burst.takeFrame() else { return }
        frame.setLength(42)
        writeARP(&frame, port, operation: 1, to: hop, 0)
        burst.append(frame)
        links[port].transmit(burst)
    }

    // MARK: IPv4

    private func forward(_ frame: inout Frame, _ port: Int, _ now: ContinuousClock.Instant) -> Int {
        let header = Int(frame.bytes.byte(at: 14) & 15) * 4
        let total = Int(frame.bytes.uint16(at: 16))
        // RFC 1812 §5.2.2: the header is whole, its sum is right, and the packet is as long as it says.
        guard frame.bytes.byte(at: 14) >> 4 == 4, header >= 20, total >= header, 14 + total <= frame.length,
            sum(frame.bytes, 14, header) == 0xFFFF
        else {
            count("packets dropped: not whole")
            return -1
        }
        let (source, destination) = (frame.bytes.uint32(at: 26), frame.bytes.uint32(at: 30))
        // For another station or a group, or from nobody (§5.3.7).
        guard UInt64(frame.bytes.uint16(at: 0)) << 32 | UInt64(frame.bytes.uint32(at: 2)) == hardware[port],
            destination >> 28 < 14, source >> 28 < 14, source >> 24 != 127,
            source >> 24 != 0,
            destination >> 24 != 127, !networks.contains(where: { $0.isBroadcast(destination) })
        else { return -1 }
        if networks.contains(where: { $0.address == destination }) { return answer(&frame, port, header) }
        guard frame.bytes.byte(at: 22) > 1 else { return refuse(&frame, port, type: 11, code: 0, "time exceeded") }
        guard let (out, hop) = nextHop(destination) else { return refuse(&frame, port, type: 3, code: 0, "no route") }
        if frame.segmentSize == 0, total > links[out].properties.mtu {
            return refuse(&frame, port, type: 3, code: 4, "too long", mtu: links[out].properties.mtu)
        }
        decrementTimeToLive(&frame)
        guard let neighbour = neighbours[out][hop], now - neighbour.heard < .seconds(120) else {
            keep(&frame, for: hop, out, now)
            return -1
        }
        // Half a minute before it is forgotten it is asked for again, once a second at most.
        if now - neighbour.heard > .seconds(90), now - (waiting[out][hop]?.asked ?? now - .seconds(2)) > .seconds(1) {
            waiting[out][hop] = ([], now)
            ask(hop, out)
        }
        // What the kernel has left to this link to sum, the other may not know how to.
        if !links[out].properties.capabilities.contains(.transmitChecksum) { frame.completeChecksum() }
        writeEthernet(&frame, to: neighbour.hardware, from: out, type: 0x0800)
        count("packets forwarded")
        return out
    }

    private func nextHop(_ destination: UInt32) -> (port: Int, hop: UInt32)? {
        if let port = networks.firstIndex(where: { $0.contains(destination) }) { return (port, destination) }
        return routes.first { $0.network.contains(destination) }.map { ($0.port, $0.router) }
    }

    /// One less, and the checksum as RFC 1624 corrects it: HC' = ~(~HC + ~m + m').
    private func decrementTimeToLive(_ frame: inout Frame) {
        let (old, checksum) = (frame.bytes.uint16(at: 22), frame.bytes.uint16(at: 24))
        let sum = UInt32(~checksum) + UInt32(~old) + UInt32(old - 0x100)
        frame.put(old - 0x100, at: 22)
        frame.put(~folded(sum), at: 24)
    }

    /// A packet for the router itself: it answers to ping, and listens on no port.
    private func answer(_ frame: inout Frame, _ port: Int, _ header: Int) -> Int {
        let total = Int(frame.bytes.uint16(at: 16))
        guard frame.bytes.byte(at: 23) == 1 else { return refuse(&frame, port, type: 3, code: 3, "nobody listens") }
        guard total >= header + 8, frame.bytes.byte(at: 14 + header) == 8, frame.bytes.uint16(at: 20) & 0x3FFF == 0,
            sum(frame.bytes, 14 + header, total - header) == 0xFFFF
        else { return -1 }
        let (source, destination) = (frame.bytes.uint32(at: 26), frame.bytes.uint32(at: 30))
        let sender = UInt64(frame.bytes.uint16(at: 6)) << 32 | UInt64(frame.bytes.uint32(at: 8))
        frame.setLength(14 + total)
        frame.put(0 as UInt8, at: 14 + header)
        frame.put(0 as UInt16, at: 16 + header)
        writeAddresses(&frame, from: destination, to: source, header)
        frame.put(~sum(frame.bytes, 14 + header, total - header), at: 16 + header)
        writeEthernet(&frame, to: sender, from: port, type: 0x0800)
        count("pings answered")
        return port
    }

    /// Makes of a packet the error that tells its sender why it does not go on (RFC 792), unless there is to be none.
    private func refuse(_ frame: inout Frame, _ port: Int, type: UInt8, code: UInt8, _ why: String, mtu: Int = 0) -> Int
    {
        count("packets refused: \(why)")
        let header = Int(frame.bytes.byte(at: 14) & 15) * 4
        let isICMPError =
            frame.bytes.byte(at: 23) == 1 && 14 + header < frame.length
            && ![0, 8, 13].contains(frame.bytes.byte(at: 14 + header))
        // RFC 1812 §4.3.2.7: none about an error, about a later fragment, and not more than the link is to bear.
        guard !isICMPError, frame.bytes.uint16(at: 20) & 0x1FFF == 0, errorsLeft > 0 else { return -1 }
        errorsLeft -= 1
        let source = frame.bytes.uint32(at: 26)
        let sender = UInt64(frame.bytes.uint16(at: 6)) << 32 | UInt64(frame.bytes.uint32(at: 8))
        let quoted = (14..<min(frame.length, 14 + header + 8)).map { frame.bytes.byte(at: $0) }
        frame.segmentSize = 0
        frame.offload = []
        frame.setLength(14 + 28 + quoted.count)
        for (place, byte) in quoted.enumerated() { frame.put(byte, at: 42 + place) }
        frame.put(0x45C0 as UInt16, at: 14)
        frame.put(UInt16(28 + quoted.count), at: 16)
        frame.put(0x4001 as UInt16, at: 22)
        frame.put(UInt32(0), at: 18)
        frame.put(UInt16(type) << 8 | UInt16(code), at: 34)
        frame.put(UInt16(0), at: 36)
        frame.put(UInt32(mtu), at: 38)
        writeAddresses(&frame, from: networks[port].address, to: source, 20)
        frame.put(~sum(frame.bytes, 34, 8 + quoted.count), at: 36)
        writeEthernet(&frame, to: sender, from: port, type: 0x0800)
        return port
    }

    // MARK: Bytes

    private func writeAddresses(_ frame: inout Frame, from source: UInt32, to destination: UInt32, _ header: Int) {
        frame.put(64 as UInt8, at: 22)
        frame.put(0 as UInt16, at: 24)
        frame.put(source, at: 26)
        frame.put(destination, at: 30)
        let checksum = ~sum(frame.bytes, 14, header)
        frame.put(checksum, at: 24)
    }

    private func writeEthernet(_ frame: inout Frame, to target: UInt64, from port: Int, type: UInt16) {
        frame.put(address: target, at: 0)
        frame.put(address: hardware[port], at: 6)
        frame.put(type, at: 12)
    }

    /// The ones-complement sum (RFC 1071) of `count` bytes.
    private func sum(_ bytes: RawSpan, _ start: Int, _ count: Int) -> UInt16 {
        var sum: UInt32 = 0
        for offset in stride(from: 0, to: count & ~1, by: 2) { sum += UInt32(bytes.uint16(at: start + offset)) }
        if count & 1 == 1 { sum += UInt32(bytes.byte(at: start + count - 1)) << 8 }
        return folded(sum)
    }

    private func folded(_ sum: UInt32) -> UInt16 {
        let once = sum >> 16 + sum & 0xFFFF
        return UInt16(once >> 16 + once & 0xFFFF)
    }
}

extension Frame {
    /// Writes a number in network byte order.
    fileprivate mutating func put(_ number: some FixedWidthInteger & BitwiseCopyable, at offset: Int) {
        var bytes = mutableBytes
        bytes.store(number, at: offset)
    }

    /// Writes a hardware address: six bytes.
    fileprivate mutating func put(address: UInt64, at offset: Int) {
        put(UInt16(truncatingIfNeeded: address >> 32), at: offset)
        put(UInt32(truncatingIfNeeded: address), at: offset + 2)
    }
}
