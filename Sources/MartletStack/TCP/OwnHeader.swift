// What a connection's settings say of its IP headers: hops, service, and the way (RFC 9293 §3.9.1.9 and §3.9.2).
//
// Most connections want nothing of it. Those that do pay for it: the header is written as for all, and then changed.

extension TCPSettings {
    /// Whether packets have other headers than the usual.
    var wantsOwnHeader: Bool { diffServ & 63 != 0 || timeToLive != nil || sourceRoute != nil }

    /// Changes the IP header of a packet that is otherwise complete.
    func rewrite(_ frame: inout Frame) {
        if frame.bytes.byte(at: 0) &>> 4 == 4 {
            var bytes = frame.mutableBytes
            bytes.store(bytes.bytes.byte(at: 1) & 3 | diffServ << 2, at: 1)
            if let timeToLive { bytes.store(max(timeToLive, 1), at: 8) }
            if let sourceRoute { return sourceRoute.insert(into: &frame) }
            bytes.store(0 as UInt16, at: 10)
            var sum = Checksum()
            sum.add(bytes.bytes.extracting(first: IPv4Header.minimumLength))
            bytes.store(sum.value, at: 10)
        } else {
            var bytes = frame.mutableBytes
            let first = bytes.bytes.uint32(at: 0)
            bytes.store(first & ~(63 << 22) | UInt32(diffServ & 63) << 22, at: 0)
            if let timeToLive { bytes.store(max(timeToLive, 1), at: 7) }
        }
    }
}

extension TCB {
    /// Bytes that a source route takes of each packet.
    @inline(__always)
    func routeLength(_ stack: borrowing Connections) -> UInt16 {
        guard flags.contains(.ownHeader), tuple.isIPv4 else { return 0 }
        return UInt16(stack.settings[settings].sourceRoute?.optionLength ?? 0)
    }
}
