// The programs that an interface runs on each frame before the kernel sees it: bpf-helpers(7), bpf_redirect_map(); and the headers
// of RFC 826, 791, 8200, 4861 and IEEE 802.1Q, as far as they are looked at.
//
//            frame ─▶ is it ours? ──yes──▶ the socket of the queue that it came by ──there is none──┐
//                         └───────no──▶ the kernel ◀────────────────────────────────────────────────┘

internal import CMartlet
internal import MartletStack

enum XDPProgram {
    /// Gives every frame to the socket of its queue, and to the kernel where there is no socket: six instructions.
    static func wholeInterface(map: Int32) -> [martlet_bpf_instruction] {
        var program = BPFAssembler()
        program.redirect(context: .r1, map: map)
        return program.assembled()
    }

    /// Gives the frames that `steering` names to the socket of their queue, and all others to the kernel.
    static func steered(_ steering: XDPSteering, map: Int32) -> [martlet_bpf_instruction] {
        // The verifier refuses what cannot be reached, and without rules the end is not.
        if steering.rules.isEmpty { return nothing() }
        var program = SteeringProgram(steering)
        return program.build(map: map)
    }

    /// Gives every frame to the kernel.
    private static func nothing() -> [martlet_bpf_instruction] {
        var program = BPFAssembler()
        program.apply(.move, .r0, Int32(MARTLET_XDP_PASS))
        program.exit()
        return program.assembled()
    }
}

extension BPFAssembler {
    /// The end of a program: the socket in the map at the queue's number, or on to the kernel.
    fileprivate mutating func redirect(context: Register, map: Int32) {
        load(.word, .r2, from: context, at: 16)  // xdp_md.rx_queue_index
        loadMap(.r1, descriptor: map)
        apply(.move, .r3, Int32(MARTLET_XDP_PASS))
        call(Int(MARTLET_BPF_REDIRECT_MAP))
        exit()
    }
}

/// Numbers of the headers that are looked at.
private enum Wire {
    static let ipv4: UInt16 = 0x0800
    static let arp: UInt16 = 0x0806
    static let vlan: UInt16 = 0x8100
    static let ipv6: UInt16 = 0x86DD
    static let tcp: UInt32 = 6
    static let udp: UInt32 = 17
    static let icmpv6: UInt32 = 58
    static let neighborSolicitation: UInt32 = 135
    static let neighborAdvertisement: UInt32 = 136
}

/// r6 is the context, r7 the frame's first byte, r8 its end; r2 … r5 hold what is compared, r0 and r1 nothing for long.
private struct SteeringProgram {
    private let steering: XDPSteering
    /// Where the network header begins: the tag is looked for or not, so this is a constant of the program.
    private let network: Int
    private var program = BPFAssembler()
    private let take: BPFAssembler.Label
    private let pass: BPFAssembler.Label

    init(_ steering: XDPSteering) {
        self.steering = steering
        network = steering.vlan == nil ? 14 : 18
        take = program.makeLabel()
        pass = program.makeLabel()
    }

    mutating func build(map: Int32) -> [martlet_bpf_instruction] {
        let (ipv4, ipv6, arp) = (program.makeLabel(), program.makeLabel(), program.makeLabel())
        program.apply(.move, .r6, .r1)
        program.load(.word, .r7, from: .r6, at: 0)  // xdp_md.data
        program.load(.word, .r8, from: .r6, at: 4)  // xdp_md.data_end
        requireBytes(network)
        program.load(.half, .r2, from: .r7, at: 12)
        if let vlan = steering.vlan {
            program.jump(if: .r2, .notEqual, Self.half(Wire.vlan), to: pass)
            program.load(.half, .r2, from: .r7, at: 14)
            program.halfFromNetworkOrder(.r2)
            program.apply(.and, .r2, 0x0FFF)
            program.jump(if: .r2, .notEqual, UInt32(vlan), to: pass)
            program.load(.half, .r2, from: .r7, at: 16)
        }
        program.jump(if: .r2, .equal, Self.half(Wire.ipv4), to: ipv4)
        program.jump(if: .r2, .equal, Self.half(Wire.ipv6), to: ipv6)
        program.jump(if: .r2, .equal, Self.half(Wire.arp), to: arp)
        program.jump(to: pass)

        program.place(ipv4)
        matchIPv4()
        program.place(ipv6)
        matchIPv6()
        program.place(arp)
        matchARP()

        program.place(take)
        program.redirect(context: .r6, map: map)
        program.place(pass)
        program.apply(.move, .r0, Int32(MARTLET_XDP_PASS))
        program.exit()
        return program.assembled()
    }

    // MARK: Protocols

    private mutating func matchIPv4() {
        requireBytes(network + 20)
        requireVersion(4)
        program.load(.word, .r5, from: .r7, at: network + 16)
        for case .address(.v4(let address)) in steering.rules {
            program.jump(if: .r5, .equal, address.bits.bigEndian, to: take)
        }
        // A fragment has no port, or not all of the datagram: neither may be taken for its ports.
        program.load(.half, .r2, from: .r7, at: network + 6)
        program.apply(.and, .r2, Int32(Self.half(0x3FFF)))
        program.jump(if: .r2, .notEqual, 0, to: pass)
        program.load(.byte, .r9, from: .r7, at: network + 9)
        program.load(.byte, .r2, from: .r7, at: network)
        program.apply(.and, .r2, 0x0F)
        program.jump(if: .r2, .less, 5, to: pass)
        program.apply(.shiftLeft, .r2, 2)
        program.apply(.add, .r2, .r7)  // as many bytes into the frame as the header is long
        program.apply(.move, .r0, .r2)
        program.apply(.add, .r0, Int32(network + 4))
        program.jump(if: .r0, .greater, .r8, to: pass)
        program.load(.half, .r4, from: .r2, at: network + 2)
        program.halfFromNetworkOrder(.r4)
        matchPorts(isIPv4: true)
    }

    private mutating func matchIPv6() {
        requireBytes(network + 40)
        requireVersion(6)
        loadIPv6Address(at: network + 24)
        matchLoadedIPv6Address()
        let notICMP = program.makeLabel()
        program.load(.byte, .r9, from: .r7, at: network + 6)
        program.jump(if: .r9, .notEqual, Wire.icmpv6, to: notICMP)
        // Solicitations and advertisements go to groups as well: what counts is the address that they are about.
        requireBytes(network + 64)
        let isEither = program.makeLabel()
        program.load(.byte, .r2, from: .r7, at: network + 40)
        program.jump(if: .r2, .equal, Wire.neighborSolicitation, to: isEither)
        program.jump(if: .r2, .notEqual, Wire.neighborAdvertisement, to: pass)
        program.place(isEither)
        loadIPv6Address(at: network + 48)
        matchLoadedIPv6Address()
        program.jump(to: pass)

        program.place(notICMP)
        requireBytes(network + 44)
        program.load(.half, .r0, from: .r7, at: network + 42)
        program.halfFromNetworkOrder(.r0)
        matchPorts(isIPv4: false)
    }

    private mutating func matchARP() {
        requireBytes(network + 28)
        program.load(.word, .r2, from: .r7, at: network)
        program.jump(if: .r2, .notEqual, UInt32(0x0001_0800).bigEndian, to: pass)  // Ethernet, and IPv4
        program.load(.half, .r2, from: .r7, at: network + 4)
        program.jump(if: .r2, .notEqual, Self.half(0x0604), to: pass)
        program.load(.word, .r5, from: .r7, at: network + 24)
        for case .address(.v4(let address)) in steering.rules {
            program.jump(if: .r5, .equal, address.bits.bigEndian, to: take)
        }
        program.jump(to: pass)
    }

    // MARK: Rules

    /// The port is in r4 and the address in r5 for IPv4; in r0 and r2 … r5 for IPv6. The protocol is in r9.
    private mutating func matchPorts(isIPv4: Bool) {
        let port: BPFAssembler.Register = isIPv4 ? .r4 : .r0
        for case .ports(let ports, let transport, let address) in steering.rules {
            let next = program.makeLabel()
            switch address {
            case .v4(let address):
                guard isIPv4 else { continue }
                program.jump(if: .r5, .notEqual, address.bits.bigEndian, to: next)
            case .v6(let address):
                guard !isIPv4 else { continue }
                requireIPv6(address, otherwise: next)
            case nil: break
            }
            switch transport {
            case .tcp: program.jump(if: .r9, .notEqual, Wire.tcp, to: next)
            case .udp: program.jump(if: .r9, .notEqual, Wire.udp, to: next)
            case .both:
                let isEither = program.makeLabel()
                program.jump(if: .r9, .equal, Wire.tcp, to: isEither)
                program.jump(if: .r9, .notEqual, Wire.udp, to: next)
                program.place(isEither)
            }
            program.jump(if: port, .less, UInt32(ports.lowerBound), to: next)
            program.jump(if: port, .greater, UInt32(ports.upperBound), to: next)
            program.jump(to: take)
            program.place(next)
        }
        program.jump(to: pass)
    }

    private mutating func matchLoadedIPv6Address() {
        for case .address(.v6(let address)) in steering.rules {
            let next = program.makeLabel()
            requireIPv6(address, otherwise: next)
            program.jump(to: take)
            program.place(next)
        }
    }

    private mutating func requireIPv6(_ address: IPv6Address, otherwise next: BPFAssembler.Label) {
        let halves = [address.high, address.low]
        let words = halves.flatMap { [UInt32($0 >> 32), UInt32(truncatingIfNeeded: $0)] }
        for (register, word) in zip([BPFAssembler.Register.r2, .r3, .r4, .r5], words) {
            program.jump(if: register, .notEqual, word.bigEndian, to: next)
        }
    }

    // MARK: Bytes

    private mutating func loadIPv6Address(at offset: Int) {
        for (word, register) in [BPFAssembler.Register.r2, .r3, .r4, .r5].enumerated() {
            program.load(.word, register, from: .r7, at: offset + word * 4)
        }
    }

    /// Lets the kernel have a frame that ends too early. The verifier wants this before each read.
    private mutating func requireBytes(_ count: Int) {
        program.apply(.move, .r0, .r7)
        program.apply(.add, .r0, Int32(count))
        program.jump(if: .r0, .greater, .r8, to: pass)
    }

    private mutating func requireVersion(_ version: UInt32) {
        program.load(.byte, .r0, from: .r7, at: network)
        program.apply(.shiftRight, .r0, 4)
        program.jump(if: .r0, .notEqual, version, to: pass)
    }

    /// A half as a load from the packet sees it.
    private static func half(_ value: UInt16) -> UInt32 { UInt32(value.bigEndian) }
}
