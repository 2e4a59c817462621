// Raw packets: what a TAP device and AF_XDP sockets would need. Kernel TCP needs none of it.

import Glibc

enum PacketChecks {
    static func run() -> [Check] {
        let capabilities = Capabilities.current
        return [
            tap(errorOfOpening: Machine.errorOfOpening("/dev/net/tun"), capabilities),
            packetSockets(errorOfSocket: Machine.errorOfRawSocket(family: AF_PACKET)),
            xdp(errorOfSocket: Machine.errorOfRawSocket(family: familyXDP), capabilities),
        ]
    }

    /// AF_XDP, which older C libraries do not name.
    private static let familyXDP: Int32 = 44

    static func tap(errorOfOpening error: Int32, _ capabilities: Capabilities) -> Check {
        switch error {
        case 0: break
        case ENOENT, ENODEV, ENXIO:
            return .missing(
                "TAP", "no /dev/net/tun",
                remedy: "as root: modprobe tun; in a container: docker run --device /dev/net/tun --cap-add NET_ADMIN")
        case EACCES, EPERM:
            return .missing(
                "TAP", "/dev/net/tun is not to be opened (\(Machine.text(of: error)))",
                remedy: "run as root, or give this user the right to read and write /dev/net/tun")
        default:
            return .missing(
                "TAP", "/dev/net/tun: \(Machine.text(of: error))", remedy: "look at the kernel's log (dmesg)")
        }
        if capabilities.contains(.netAdmin) { return .ok("TAP", "/dev/net/tun opens, and devices can be made") }
        return .warning(
            "TAP", "/dev/net/tun opens, but without CAP_NET_ADMIN no device can be made",
            remedy:
                "use one that root has made for you (ip tuntap add mode tap user NAME), or: setcap cap_net_admin+ep PROGRAM"
        )
    }

    static func packetSockets(errorOfSocket error: Int32) -> Check {
        if error == 0 { return .ok("AF_PACKET", "sockets can be made") }
        return .missing(
            "AF_PACKET", Machine.text(of: error), remedy: "run as root, or: setcap cap_net_raw,cap_net_admin+ep PROGRAM"
        )
    }

    static func xdp(errorOfSocket error: Int32, _ capabilities: Capabilities) -> Check {
        if error == EAFNOSUPPORT {
            return .missing(
                "AF_XDP", "not in this kernel", remedy: "use a kernel with CONFIG_XDP_SOCKETS, best 5.18 or newer")
        }
        var wanted: [(Capabilities, String)] = [(.netRaw, "CAP_NET_RAW"), (.netAdmin, "CAP_NET_ADMIN")]
        // Before Linux 5.8, and as a superset since, CAP_SYS_ADMIN stands for CAP_BPF.
        if !capabilities.contains(.sysAdmin) { wanted.append((.bpf, "CAP_BPF")) }
        let lacking = capabilities.lacking(wanted)
        if error == 0, lacking.isEmpty { return .ok("AF_XDP", "sockets can be made, and programs attached (BPF)") }
        let detail = error == 0 ? "" : "\(Machine.text(of: error)); "
        return .missing(
            "AF_XDP",
            detail + "without \(lacking.isEmpty ? "a security module's consent" : lacking.joined(separator: ", "))",
            remedy: "run as root, or: setcap cap_net_raw,cap_net_admin,cap_bpf+ep PROGRAM")
    }
}
