// The XDP programs, run by the kernel on frames of the test (BPF_PROG_TEST_RUN) and compared with a second description of the rules,
// written over bytes instead of instructions.

import CMartlet
import Glibc
import MartletStack
import Testing

@testable import Martlet

/// A loaded program with a socket in its map, so that what it takes is redirected and what it leaves is passed.
@safe private final class LoadedProgram {
    private var descriptors: [Int32] = []
    private let arena: UnsafeMutableRawPointer
    private let program: Int32

    /// - Parameter hasSocket: Whether there is a socket for queue 0.
    init(hasSocket: Bool = true, _ code: (Int32) -> [martlet_bpf_instruction]) throws {
        let map = martlet_bpf_socket_map(1)
        try #require(map >= 0, "a map: errno \(-map)")
        let socket = martlet_xdp_socket()
        try #require(socket >= 0, "a socket: errno \(-socket)")
        unsafe arena = .allocate(byteCount: 8192, alignment: 4096)
        descriptors = [map, socket]
        try unsafe #require(martlet_xdp_register(socket, arena, 8192, 2048) == 0)
        for ring in [MARTLET_XDP_FILL, MARTLET_XDP_COMPLETION, MARTLET_XDP_RECEIVE] {
            try #require(martlet_xdp_set_ring_size(socket, Int32(ring), 4) == 0)
        }
        if hasSocket { try #require(martlet_bpf_map_set(map, 0, socket) == 0) }
        program = try XDPInterface.load(code(map), for: "xdp:test")
        descriptors.append(program)
    }

    deinit {
        for descriptor in descriptors { _ = martlet_close(descriptor) }
        unsafe arena.deallocate()
    }

    /// Whether the program takes the frame.
    func takes(_ frame: [UInt8]) throws -> Bool {
        let verdict = unsafe frame.withUnsafeBytes { unsafe martlet_bpf_run(program, $0.baseAddress, UInt32($0.count)) }
        switch verdict {
        case 2: return false
        case 4: return true  // XDP_REDIRECT
        default: throw Failed("the program's verdict is \(verdict)")
        }
    }
}

/// The rules of `XDPSteering`'s documentation, over bytes.
private func isTaken(_ frame: [UInt8], by steering: XDPSteering) -> Bool {
    var packet = frame.dropFirst(12)
    func half(_ at: Int) -> Int { Int(packet[packet.startIndex + at]) << 8 | Int(packet[packet.startIndex + at + 1]) }
    func bytes(_ range: Range<Int>) -> [UInt8] {
        Array(packet[packet.startIndex + range.lowerBound..<packet.startIndex + range.upperBound])
    }
    if let vlan = steering.vlan {
        guard packet.count >= 6, half(0) == 0x8100, half(2) & 0xFFF == Int(vlan) else { return false }
        packet = packet.dropFirst(4)
    }
    guard packet.count >= 2 else { return false }
    let type = half(0)
    packet = packet.dropFirst(2)
    func isOurs(_ address: [UInt8]) -> Bool {
        steering.rules.contains { if case .address(let ours) = $0 { octets(ours) == address } else { false } }
    }
    func portIsOurs(_ port: Int, _ transport: UInt8, _ address: [UInt8]) -> Bool {
        steering.rules.contains { rule in
            guard case .ports(let ports, let wanted, let ours) = rule else { return false }
            guard ours.map({ octets($0) == address }) ?? true, ports.contains(UInt16(port)) else { return false }
            return transport == 6 && wanted != .udp || transport == 17 && wanted != .tcp
        }
    }
    switch type {
    case 0x0800:
        guard packet.count >= 20, packet.first! >> 4 == 4 else { return false }
        let destination = bytes(16..<20)
        if isOurs(destination) { return true }
        let header = Int(packet.first! & 15) * 4
        guard header >= 20, half(6) & 0x3FFF == 0, packet.count >= header + 4 else { return false }
        return portIsOurs(half(header + 2), bytes(9..<10)[0], destination)
    case 0x86DD:
        guard packet.count >= 40, packet.first! >> 4 == 6 else { return false }
        let destination = bytes(24..<40)
        if isOurs(destination) { return true }
        let next = bytes(6..<7)[0]
        if next == 58 {
            return packet.count >= 64 && [135, 136].contains(bytes(40..<41)[0]) && isOurs(bytes(48..<64))
        }
        return packet.count >= 44 && portIsOurs(half(42), next, destination)
    case 0x0806:
        return packet.count >= 28 && bytes(0..<6) == [0, 1, 8, 0, 6, 4] && isOurs(bytes(24..<28))
    default: return false
    }
}

private func octets(_ address: IPAddress) -> [UInt8] {
    switch address {
    case .v4(let address): (0..<4).map { address.octets[$0] }
    case .v6(let address): (0..<16).map { address.octets[$0] }
    }
}

/// Random frames of which many are nearly what a rule wants.
private struct RandomFrames {
    var random: SeededNumbers
    let addresses: [IPAddress]
    let ports: [UInt16]

    mutating func next() -> [UInt8] {
        var frame = [UInt8](repeating: 2, count: 12)
        if Bool.random(using: &random) {
            frame += [0x81, 0x00]
            frame += bytes(UInt16(Bool.random(using: &random) ? 0x2007 : 0x0008))
        }
        let address = octets(addresses.randomElement(using: &random)!)
        let isMeant = { (chance: Int, random: inout SeededNumbers) in Int.random(in: 0..<chance, using: &random) != 0 }
        let isIPv6 = address.count == 16
        switch Int.random(in: 0..<8, using: &random) {
        case 0:
            frame += [8, 6, 0, 1, 8, 0, 6, 4, 0, isMeant(3, &random) ? 1 : 2] + [UInt8](repeating: 3, count: 14)
            frame += address.prefix(4)
        case 1: frame += [UInt8](repeating: 0, count: 40)
        case _ where isIPv6:
            frame += [0x86, 0xDD, isMeant(9, &random) ? 0x60 : 0x50, 0, 0, 0, 0, 32]
            let next: UInt8 = [6, 17, 58, 44, 0].randomElement(using: &random)!
            frame += [next, 255] + [UInt8](repeating: 9, count: 16)
            if next == 58 {
                frame +=
                    [UInt8](repeating: 0xFF, count: 16) + [
                        UInt8.random(in: 134...137, using: &random), 0, 0, 0, 0, 0, 0, 0,
                    ]
                frame += address
            } else {
                frame += address + bytes(1234) + bytes(ports.randomElement(using: &random)!)
            }
        default:
            let words = UInt8.random(in: 4...8, using: &random)
            frame += [8, 0, (isMeant(9, &random) ? 0x40 : 0x60) | words, 0, 0, 40, 0, 1]
            frame += [[0, 0], [0x40, 0], [0x20, 0], [0, 3], [0x80, 0]].randomElement(using: &random)!
            frame += [64, [6, 17, 1].randomElement(using: &random)!, 0, 0, 10, 0, 0, 9] + address
            if words > 5 { frame += [UInt8](repeating: 1, count: Int(words - 5) * 4) }
            frame += bytes(1234) + bytes(ports.randomElement(using: &random)!)
        }
        frame += [0, 0]
        if !isMeant(3, &random) { frame.removeLast(Int.random(in: 0...(frame.count - 14), using: &random)) }
        return frame
    }

    private func bytes(_ value: UInt16) -> [UInt8] { [UInt8(value >> 8), UInt8(truncatingIfNeeded: value)] }
}

/// SplitMix64: the same numbers for the same seed, on every machine.
private struct SeededNumbers: RandomNumberGenerator {
    var state: UInt64

    mutating func next() -> UInt64 {
        state &+= 0x9E37_79B9_7F4A_7C15
        var mixed = state
        mixed = (mixed ^ (mixed >> 30)) &* 0xBF58_476D_1CE4_E5B9
        mixed = (mixed ^ (mixed >> 27)) &* 0x94D0_49BB_1331_11EB
        return mixed ^ (mixed >> 31)
    }
}

private let ours: [IPAddress] = ["10.0.0.1", "200.1.2.3", "fd00::1", "fe80::ff:fe00:1"].map { IPAddress($0)! }
private let others: [IPAddress] = ["10.0.0.2", "200.1.2.4", "fd00::2", "fd00:0:0:1::1"].map { IPAddress($0)! }

private let steerings: [XDPSteering] = [
    XDPSteering([]),
    XDPSteering([.address(ours[0]), .address(ours[2])]),
    XDPSteering([.address(ours[1]), .address(ours[3])], vlan: 7),
    XDPSteering([.ports(80...80, of: .tcp, at: nil)]),
    XDPSteering([.ports(80...443, of: .both, at: ours[0]), .ports(0...79, of: .udp, at: ours[3])]),
    XDPSteering([.ports(443...65535, of: .tcp, at: ours[2]), .address(ours[1])]),
    XDPSteering([.ports(1...80, of: .udp, at: nil), .ports(40_000...50_000, of: .both, at: ours[1])], vlan: 8),
]

@Suite(.enabled(if: getuid() == 0, "loading a BPF program needs root")) struct XDPProgramTests {
    @Test("the steering program takes exactly the frames that its rules name", arguments: steerings.indices)
    func steered(which: Int) throws {
        let steering = steerings[which]
        let program = try LoadedProgram { XDPProgram.steered(steering, map: $0) }
        let seed = UInt64.random(in: 0 ... .max)
        var frames = RandomFrames(
            random: SeededNumbers(state: seed), addresses: ours + others,
            ports: [0, 1, 79, 80, 81, 443, 444, 45_000, 65_535])
        var (taken, left) = (0, 0)
        for number in 0..<20_000 {
            let frame = frames.next()
            let expected = isTaken(frame, by: steering)
            guard try program.takes(frame) == expected else {
                Issue.record("seed \(seed), frame \(number): \(expected ? "not taken" : "taken"): \(frame)")
                return
            }
            if expected { taken += 1 } else { left += 1 }
        }
        #expect(left > 1000, "seed \(seed)")
        #expect(taken > (steering.rules.isEmpty ? -1 : 30), "seed \(seed): the frames do not try the rules")
    }

    @Test("the program for a whole interface takes every frame, and is six instructions")
    func whole() throws {
        let program = try LoadedProgram { XDPProgram.wholeInterface(map: $0) }
        #expect(try program.takes([UInt8](repeating: 0, count: 14)))
        #expect(try program.takes([UInt8](repeating: 0xFF, count: 1500)))
        #expect(XDPProgram.wholeInterface(map: 0).count == 6)
    }

    @Test("without a socket for the queue the kernel gets what the link would have taken")
    func nobodyThere() throws {
        let whole = try LoadedProgram(hasSocket: false) { XDPProgram.wholeInterface(map: $0) }
        #expect(try !whole.takes([UInt8](repeating: 0, count: 60)))
        let steering = XDPSteering([.ports(0...65535, of: .both, at: nil)])
        let frame: [UInt8] =
            [UInt8](repeating: 2, count: 12) + [8, 0, 0x45, 0, 0, 40, 0, 1, 0, 0, 64, 6, 0, 0] + [
                10, 0, 0, 9, 10, 0, 0, 1, 0, 7, 0, 7,
            ]
        #expect(isTaken(frame, by: steering))
        let steered = try LoadedProgram(hasSocket: false) { XDPProgram.steered(steering, map: $0) }
        #expect(try !steered.takes(frame))
    }

    @Test("a program of five hundred rules is taken by the verifier")
    func manyRules() throws {
        let rules = (0..<500).map { number -> XDPSteering.Rule in
            let port = UInt16(number * 100)
            return number % 2 == 0
                ? .ports(port...port + 9, of: .both, at: ours[number / 2 % 4])
                : .address(.v4(IPv4Address(bits: UInt32(number))))
        }
        let steering = XDPSteering(rules)
        let program = try LoadedProgram { XDPProgram.steered(steering, map: $0) }
        let frame: [UInt8] =
            [UInt8](repeating: 2, count: 12) + [8, 0, 0x45, 0, 0, 40, 0, 1, 0, 0, 64, 6, 0, 0] + [
                10, 0, 0, 9, 0, 0, 1, 243, 0, 7, 0, 7,
            ]
        #expect(try program.takes(frame))
    }

    @Test("what the verifier refuses is refused with its own words")
    func refused() {
        var assembler = BPFAssembler()
        assembler.load(.word, .r0, from: .r1, at: 4096)
        assembler.exit()
        #expect {
            _ = try XDPInterface.load(assembler.assembled(), for: "xdp:test")
        } throws: { error in
            guard case LinkError.system(_, let errno, let during) = error else { return false }
            return errno == EACCES && during.contains("invalid bpf_context access")
        }
    }
}
