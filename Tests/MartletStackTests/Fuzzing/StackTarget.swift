// A program of the fuzzer's for a whole stack: what the user calls, which segments come, how much time goes by. Numbers are
// chosen near those that matter, and checksums are right, so that few bytes lead deep.
//
// The first bytes say what the stack is like; limits are small, so that they are run into. Then each operation takes a byte for
// what it is and some for how.

@testable import MartletStack

struct StackTarget: ~Copyable {
    var input: FuzzInput
    var host: FuzzedStack
    let ends: FuzzEnds
    let isEthernet: Bool
    let answersNeighbors: Bool
    var peers: [FuzzPeer] = []
    var ids: [ConnectionID] = []
    var sockets: [SocketID] = []
    var listeners: [ListenerID] = []
    /// What arrives with the next burst.
    var arrivals: [(bytes: [UInt8], offload: FrameOffload, segmentSize: Int)] = []
    var peerClock: UInt32 = 0

    static func run(_ bytes: [UInt8]) throws(Violation) {
        var target = StackTarget(FuzzInput(bytes))
        try target.run()
    }

    init(_ bytes: FuzzInput) {
        var input = bytes
        let kind = input.byte()
        ends = kind & 1 == 0 ? .v4 : .v6
        isEthernet = kind & 2 != 0
        answersNeighbors = kind & 4 == 0
        let address = InterfaceAddress(kind & 1 == 0 ? "10.0.0.1/24" : "fd00::1/64")!
        var interface = InterfaceConfiguration(isEthernet ? .ethernet(MACAddress(bits: 0x02_00_00_00_00_01)) : .ip)
        interface.addresses = [address]
        interface.detectsConflicts = kind & 8 != 0
        interface.usesAutoconfiguration = kind & 16 != 0
        let limits = Self.limits(&input, &interface)
        let frames = [128, 5, 16, 70][input.choice(4)]
        // From the first instant, or shortly before ticks, timestamps or the clock's half wrap.
        let now = Instant(nanoseconds: [0, 1 << 52 - 1 << 30, 4_294_967_290_000_000, 1 << 62][input.choice(4)])
        host = FuzzedStack(interface, limits: limits, frames: frames, secret: 1, now: now)
        for number in 0..<6 as Range<UInt16> {
            let isActive = number >= 4
            peers.append(
                FuzzPeer(
                    localPort: isActive ? 0 : 80, remotePort: isActive ? 9000 + number : 40_000 + number,
                    initial: [1000, 0xFFFF_FF00, 0x7FFF_FF00, 0xFFFF_FFFF, 0, 0xFFFF_F000][Int(number)]))
        }
        self.input = input
        if let listener = try? host.stack.listen(on: 80, backlog: 3) { listeners.append(listener) }
    }

    static func limits(_ input: inout FuzzInput, _ interface: inout InterfaceConfiguration) -> StackLimits {
        var limits = StackLimits(network: .few)
        let (sizes, ways) = (input.byte(), input.byte())
        limits.network.neighbors.entries = 4
        limits.tcp.connections = 6
        limits.tcp.ringMemory = [256 << 10, 8 << 10, 32 << 10, 4 << 20][Int(sizes & 3)]
        limits.tcp.sentRecords = [64, 2, 8, 256][Int(sizes >> 2 & 3)]
        limits.tcp.ranges = [64, 2, 8, 256][Int(sizes >> 4 & 3)]
        limits.tcp.rangesPerConnection = sizes & 0x40 == 0 ? 32 : 3
        limits.tcp.initialReceiveLimit = sizes & 0x80 == 0 ? 65_536 : 3000
        limits.tcp.initialSendLimit = sizes & 0x80 == 0 ? 65_536 : 3000
        limits.tcp.congestion = [.cubic, .newReno, .bbr, .cubic][Int(ways & 3)]
        limits.tcp.ecn = [.whenAsked, .always, .never, .always][Int(ways >> 2 & 3)]
        limits.tcp.pacesAll = ways & 0x10 != 0
        if ways & 0x20 != 0 {
            limits.tcp.segmentsPerFrame = 2
            (interface.completesChecksums, interface.cutsSegments) = (true, true)
        }
        interface.mtu = ways & 0x40 == 0 ? 1500 : 1280
        limits.tcp.settings = ways & 0x80 == 0 ? 16 : 2
        limits.udp.sockets = 2
        limits.udp.datagrams = 4
        limits.udp.ringMemory = 8 << 10
        limits.udp.receiveLimit = 4 << 10
        return limits
    }

    mutating func run() throws(Violation) {
        var operations = 0
        while !input.isEmpty, operations < 250 {
            try perform(input.byte())
            operations += 1
        }
        try arrive()
        try finish()
    }

    mutating func perform(_ operation: UInt8) throws(Violation) {
        switch operation & 15 {
        case 0: try wait()
        case 1: try behave()
        case 2, 3, 4: segment()
        case 5: try arrive()
        case 6: try userCalls()
        case 7: try userSends()
        case 8: try userReceives()
        case 9: shakeHands()
        case 10: icmpError()
        case 11: fragments()
        case 12: anyPacket()
        case 13: linkMessage()
        case 14: try userOfDatagrams()
        default: settings()
        }
        // Alone, unless it is to go with what follows.
        if operation & 0x80 == 0 { try arrive() }
    }

    // MARK: The end

    /// The user lets go of everything. What is left then was lost.
    mutating func finish() throws(Violation) {
        for socket in sockets { host.stack.close(socket) }
        for _ in 0..<16 {
            while host.stack.nextEvent() != nil {}
            while let id = host.stack.accept(listeners[0]) { ids.append(id) }
            for id in ids {
                host.stack.abort(id)
                host.stack.release(id)
            }
            ids = []
            try host.settle()
        }
        try host.checkEmpty()
    }
}

extension TCP {
    /// What is known of a connection.
    func block(of id: ConnectionID) -> TCB? { table.slot(of: id).map { table[$0] } }
}
