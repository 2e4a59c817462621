// A host on an Ethernet, with an enemy and an honest peer on it. Whatever the enemy does, the connection of the honest one is to
// go on: after each fault a test asks for an exchange with it.

import MartletSimulation
import Testing

@testable import MartletStack

enum Family: String, CaseIterable, Sendable {
    case v4, v6

    var local: IPAddress { IPAddress(self == .v4 ? "10.0.0.1" : "fd00::1")! }
    var etherType: UInt16 { self == .v4 ? 0x0800 : 0x86DD }
    /// The lengths of the IP header, and of that and a TCP header without options.
    var headerLength: Int { self == .v4 ? 20 : 40 }
    var minimumMTU: Int { self == .v4 ? 552 : 1280 }

    func peer(_ number: Int) -> IPAddress { IPAddress(self == .v4 ? "10.0.0.\(number)" : "fd00::\(number)")! }
}

struct FaultStage: ~Copyable {
    enum Who: CaseIterable { case honest, victim }

    /// The peer's end of a connection, and what it knows of it. Numbers are relative to both initial ones.
    struct Peer {
        var end: SegmentBytes.Endpoint
        var local: SegmentBytes.Endpoint
        let mac: MACAddress
        var id: ConnectionID?
        /// What the peer sends next, and behind what the stack has sent.
        var p: UInt32 = 0
        var n: UInt32 = 0
        /// Segments that have come from the stack since somebody looked.
        var heard: [SegmentOnWire] = []

        var flow: SegmentBytes.Flow { .init(from: end, to: local) }
    }

    var host: Host
    let family: Family
    let listener: ListenerID
    private var honest: Peer
    private var victim: Peer
    /// Packets and frames of the stack for nobody above.
    private(set) var others: [[UInt8]] = []

    static let enemyMAC = MACAddress(bits: 0x02_00_00_00_06_66)

    /// Both have a connection. The victim's numbers start where `initialSequence` says.
    init(
        _ family: Family = .v4, limits: StackLimits = StackLimits(network: .few), initialSequence: UInt32 = 0xFFFF_FF80,
        options: [PacketScript.Option] = [.maximumSegmentSize(1460)],
        interface change: (inout InterfaceConfiguration) -> Void = { _ in }
    ) {
        self.family = family
        var interface = InterfaceConfiguration(
            .ethernet(Host.mac), addresses: [InterfaceAddress("10.0.0.1/24")!, InterfaceAddress("fd00::1/64")!])
        (interface.detectsConflicts, interface.usesAutoconfiguration) = (false, false)
        change(&interface)
        host = Host([interface], limits: limits)
        listener = host.stack.listen(port: 80, backlog: 64)
        func peer(_ number: Int, _ port: UInt16, _ sequence: UInt32) -> Peer {
            Peer(
                end: .init(address: family.peer(number), port: port, initialSequence: sequence),
                local: .init(address: family.local, port: 80, initialSequence: 0),
                mac: MACAddress(bits: 0x02_00_00_00_01_00 + UInt64(number)))
        }
        honest = peer(10, 4000, 1_000_000)
        victim = peer(20, 5000, initialSequence)
        // Until the addresses are ours.
        if interface.detectsConflicts { host.wait(.seconds(10)) }
        open(.honest, [.maximumSegmentSize(1460)])
        open(.victim, options)
    }

    subscript(who: Who) -> Peer {
        get { who == .honest ? honest : victim }
        set { if who == .honest { honest = newValue } else { victim = newValue } }
    }

    private mutating func open(_ who: Who, _ options: [PacketScript.Option]) {
        var syn = PacketScript.Segment(flags: .syn, sequence: 0, length: 0, acknowledgment: nil, window: 65_535)
        syn.options = .exactly(options)
        arrives(who, syn)
        self[who].p = 1
        arrives(who, .ack, at: 1, 0, ack: 1)
        self[who].id = host.stack.accept(listener)
        self[who].heard = []
    }

    // MARK: What comes

    /// A segment with a peer's addresses, whoever sends it.
    mutating func arrives(_ who: Who, _ segment: PacketScript.Segment) {
        arrives(SegmentBytes.packet(segment, on: self[who].flow), from: self[who].mac)
    }

    mutating func arrives(
        _ who: Who, _ flags: PacketScript.Flags, at sequence: UInt32, _ length: Int = 0, ack: UInt32? = nil,
        window: UInt16 = 60_000, options: [PacketScript.Option] = []
    ) {
        var segment = PacketScript.Segment(
            flags: flags, sequence: sequence, length: length, acknowledgment: ack, window: window)
        segment.options = .exactly(options)
        arrives(who, segment)
    }

    /// A packet of the stack's family.
    mutating func arrives(_ packet: [UInt8], from mac: MACAddress = FaultStage.enemyMAC) {
        host.receive(FrameBytes.ethernet(packet, family.etherType, from: mac))
        hear()
    }

    /// Any frame.
    mutating func arrives(frame: [UInt8]) {
        host.receive(frame)
        hear()
    }

    /// Lets time pass. Who is on the link hears each frame when it goes, not at the end.
    mutating func wait(_ duration: Duration) {
        let end = host.now + duration
        host.flush()
        hear()
        var rounds = 0
        while let deadline = host.stack.nextDeadline, deadline <= end {
            host.wait(.nanoseconds(max(0, deadline.nanoseconds - host.now.nanoseconds)))
            hear()
            rounds += 1
            precondition(rounds < 100_000, "the stack has always something to do")
        }
        host.wait(.nanoseconds(end.nanoseconds - host.now.nanoseconds))
        hear()
    }

    // MARK: What goes

    /// Who is asked for by ARP or Neighbor Discovery answers; and the peers take note of their segments.
    private mutating func hear() {
        for frame in host.take() {
            let payload = Array(frame.dropFirst(14))
            let type = UInt16(frame[12]) << 8 | UInt16(frame[13])
            if type == 0x0806 || family == .v6 && payload[6] == 58 && payload[40] == 135 {
                if let answer = answer(payload, type, to: frame) {
                    host.receive(answer)
                    hear()
                    continue
                }
            }
            if type != 0x0806, let segment = try? SegmentOnWire(payload), note(segment, of: frame) { continue }
            others.append(payload)
        }
        while host.stack.nextEvent() != nil {}
    }

    /// Whether a peer's interface takes a frame: it is for its address or for a group.
    private func takes(_ who: Who, _ frame: [UInt8]) -> Bool {
        frame[0] & 1 == 1 || frame.starts(with: FrameBytes.octets(self[who].mac))
    }

    private func answer(_ payload: [UInt8], _ type: UInt16, to frame: [UInt8]) -> [UInt8]? {
        for who in Who.allCases where takes(who, frame) {
            let peer = self[who]
            let octets = FrameBytes.octets(peer.end.address)
            if type == 0x0806, payload[7] == 1, Array(payload[24..<28]) == octets {
                let (theirs, ours) = ("\(peer.end.address)", "\(family.local)")
                return FrameBytes.ethernet(
                    FrameBytes.arp(2, from: theirs, peer.mac, to: ours, Host.mac), type, from: peer.mac)
            }
            if type == 0x86DD, Array(payload[48..<64]) == octets {
                let answer: [UInt8] = [136, 0, 0, 0, 0x60, 0, 0, 0] + octets + [2, 1] + FrameBytes.octets(peer.mac)
                return FrameBytes.ethernet(
                    FrameBytes.icmp(answer, from: "\(peer.end.address)", to: "\(family.local)"), type, from: peer.mac)
            }
        }
        return nil
    }

    private mutating func note(_ segment: SegmentOnWire, of frame: [UInt8]) -> Bool {
        for who in Who.allCases
        where takes(who, frame) && segment.destination == self[who].end.address
            && segment.destinationPort == self[who].end.port
        {
            if segment.absolute.flags.contains(.syn) { self[who].local.initialSequence = segment.absolute.sequence }
            self[who].heard.append(segment)
            guard let relative = segment.relative(to: self[who].flow.reversed), !relative.flags.contains(.rst) else {
                return true
            }
            let end = relative.end &+ (relative.flags.isDisjoint(with: [.syn, .fin]) ? 0 : 1)
            if Int32(bitPattern: end &- self[who].n) > 0 { self[who].n = end }
            return true
        }
        return false
    }

    /// Forgets what has come from the stack.
    mutating func takeOthers() -> [[UInt8]] {
        defer { others = [] }
        return others
    }

    /// The segments that have come for a peer since the last time.
    mutating func takeHeard(_ who: Who) -> [SegmentOnWire] {
        defer { self[who].heard = [] }
        return self[who].heard
    }

    // MARK: Going on

    func state(_ who: Who) -> TCPState { host.stack.state(of: self[who].id!) }

    /// 100 bytes come and are read, 50 go and are acknowledged. Returns whether that was so.
    mutating func exchanges(_ who: Who = .honest) -> Bool {
        guard let id = self[who].id else { return false }
        let p = self[who].p
        arrives(who, [.ack, .psh], at: p, 100, ack: self[who].n)
        guard host.stack.receiveAll(id) == SegmentBytes.data(from: p, count: 100) else { return false }
        self[who].p = p &+ 100
        guard host.stack.send(id, [UInt8](repeating: 7, count: 50)) == 50 else { return false }
        let n = self[who].n
        wait(.zero)
        guard self[who].n == n &+ 50 else { return false }
        arrives(who, .ack, at: self[who].p, 0, ack: self[who].n)
        return host.stack.tcp.number("snd_una", of: id) == Int64(n) + 50 && state(who) == .established
    }

    /// Fails the test unless a peer's connection goes on.
    mutating func goesOn(
        _ who: Who = .honest, _ comment: Comment? = nil, sourceLocation: SourceLocation = #_sourceLocation
    ) {
        let goesOn = exchanges(who)
        #expect(goesOn, comment, sourceLocation: sourceLocation)
    }
}
