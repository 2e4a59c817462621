// What the network does to the fuzzed stack beside segments: errors, fragments, anything. And what the user calls.

@testable import MartletStack

extension StackTarget {
    // MARK: What the network says

    mutating func icmpError() {
        let index = input.choice(6)
        let how = input.byte()
        var quoted = peers[index].quotable
        guard !quoted.isEmpty else { return }
        if how & 0x80 != 0 {
            let place = ends.headerLength + 4
            quoted.put(quoted.number32(at: place) &+ UInt32(input.uint16()), at: place)
        }
        let pairs: [(UInt8, UInt8)] =
            ends.isIPv4
            ? [(3, 4), (3, 1), (3, 3), (3, 2), (11, 0), (12, 0), (4, 0), (5, 1)]
            : [(2, 0), (1, 0), (1, 4), (4, 1), (3, 0), (4, 0), (1, 1), (137, 0)]
        var message: [UInt8] = [pairs[Int(how & 7)].0, pairs[Int(how & 7)].1, 0, 0]
        let number = input.uint16()
        if ends.isIPv4 { message += [0, 0] } else { message += [0, how & 0x40 == 0 ? 0 : 1] }
        message.append(number: number)
        message += quoted.prefix(ends.headerLength + 8 + Int(how >> 3 & 3) * 4)
        let transport: UInt8 = ends.isIPv4 ? 1 : 58
        ends.complete(&message, transport)
        append(ends.packet(message, transport))
    }

    /// A segment or datagram in pieces, that fit or do not.
    mutating func fragments() {
        let index = input.choice(6)
        let how = input.byte()
        let transport: UInt8 = how & 1 == 0 ? 6 : 17
        let sequence = peers[index].expected
        var payload = Array(
            packet(
                index, 0x10, sequence, peers[index].high, 0xFFFF, FuzzStream.bytes(from: sequence, count: 600),
                stamped(index)
            ).dropFirst(ends.headerLength))
        if transport == 17 {
            payload.put(53 as UInt16, at: 2)
            payload.put(UInt16(payload.count), at: 4)
            ends.complete(&payload, 17)
        }
        let identification = UInt16(input.byte())
        for _ in 0..<Int(how >> 1 & 7) + 1 {
            let start = Int(input.byte()) * 8
            let end = min(start + Int(input.byte()) * 8 + Int(how >> 6), payload.count)
            guard start < end else { continue }
            let hasMore = end < payload.count
            let piece = Array(payload[start..<end])
            if ends.isIPv4 {
                let field = UInt16(start / 8) | (hasMore ? 0x2000 : 0)
                append(ends.packet(piece, transport, fragment: field, identification: identification))
            } else {
                var header: [UInt8] = [transport, 0]
                header.append(number: UInt16(start) | (hasMore ? 1 : 0))
                header.append(number: UInt32(identification))
                append(ends.packet(header + piece, 44))
            }
        }
    }

    mutating func anyPacket() {
        let transport = input.byte()
        var payload = input.bytes(input.choice(128))
        // Segments with any bytes are for the target of frames: here every byte of a stream is known.
        guard transport != 6, transport & 0x80 == 0 else { return }
        ends.complete(&payload, transport)
        append(ends.packet(payload, transport, hops: 255))
    }

    mutating func linkMessage() {
        guard isEthernet else { return }
        let body = input.bytes(28)
        if ends.isIPv4 { append([0, 1, 8, 0, 6, 4, 0] + body, etherType: [0x08, 0x06]) }
        guard !ends.isIPv4, !body.isEmpty else { return }
        var message = [133 + body[0] % 5, 0, 0, 0] + body.dropFirst() + input.bytes(input.choice(64))
        ends.complete(&message, 58)
        append(ends.packet(message, 58, hops: 255))
    }

    // MARK: What the user does

    mutating func userCalls() throws(Violation) {
        let call = input.byte()
        let remote = IPAddress(ends.isIPv4 ? "10.0.0.2" : "fd00::2")!
        switch call & 7 {
        case 0:
            let peer = peers[4 + Int(call >> 3 & 1)]
            if let id = try? host.stack.connect(to: remote, port: peer.remotePort) { ids.append(id) }
        case 1: if let id = host.stack.accept(listeners[0]) { ids.append(id) }
        case 2: while host.stack.nextEvent() != nil {}
        case 3 where call == 0xFB:
            // Nobody accepts any more what waits at the old one.
            host.stack.close(listeners[0])
            if let listener = try? host.stack.listen(on: 80, backlog: 2) { listeners[0] = listener }
        default: callOfConnection(call)
        }
        try host.settle()
    }

    mutating func callOfConnection(_ call: UInt8) {
        guard !ids.isEmpty else { return }
        let index = Int(call >> 3) % ids.count
        switch call & 7 {
        case 3: host.stack.finish(ids[index])
        case 4: host.stack.abort(ids[index])
        case 5: host.stack.release(ids.remove(at: index))
        case 6: _ = host.stack.info(of: ids[index])
        default: _ = host.stack.urgentCount(of: ids[index])
        }
    }

    mutating func userSends() throws(Violation) {
        let how = input.byte()
        let count = Int(input.byte())
        guard !ids.isEmpty else { return }
        let id = ids[Int(how & 7) % ids.count]
        guard let tcb = host.stack.tcp.block(of: id) else { return }
        let bytes = FuzzStream.bytes(from: tcb.snd.end.bits, count: how & 8 == 0 ? count : count * 64)
        let taken =
            how & 0x80 == 0 ? host.stack.send(id, bytes.raw) : host.stack.sendUrgent(id, bytes.raw)
        try Violation.unless(taken <= bytes.count, "more is taken than there is")
        try host.settle()
    }

    mutating func userReceives() throws(Violation) {
        let how = input.byte()
        guard !ids.isEmpty else { return }
        let id = ids[Int(how & 7) % ids.count]
        for _ in 0..<Int(how >> 4) + 1 {
            guard let tcb = host.stack.tcp.block(of: id) else { return }
            var isRight = true
            let part = how & 8 == 0 ? Int.max : 1
            let count = host.stack.receive(id) { run in
                for index in 0..<run.byteCount
                where run.byte(at: index) != FuzzStream.byte(at: tcb.rcv.read.bits &+ UInt32(index)) {
                    isRight = false
                }
                return min(run.byteCount, part)
            }
            try Violation.unless(isRight, "a byte is read that the peer has not sent")
            if count == 0 { break }
        }
        try host.settle()
    }

    mutating func settings() {
        var settings = TCPSettings()
        let (which, value) = (input.byte(), input.byte())
        settings.noDelay = which & 1 != 0
        settings.cork = which & 2 != 0
        settings.quickAck = which & 4 != 0
        if which & 8 != 0 { settings.keepAlive = TCPKeepAlive(idleSeconds: 1, intervalSeconds: 1, count: 3) }
        settings.userTimeoutSeconds = which & 16 == 0 ? 0 : UInt16(value)
        settings.exchangesUserTimeout = which & 32 != 0
        if which & 64 != 0 { settings.lingerSeconds = UInt16(value & 3) }
        if which & 128 != 0 { (settings.receiveLimit, settings.sendLimit) = (UInt32(value) << 6, UInt32(value) << 6) }
        if value & 1 != 0 {
            _ = host.stack.set(settings, of: listeners[0])
        } else if !ids.isEmpty {
            _ = host.stack.set(settings, of: ids[Int(value >> 1) % ids.count])
        }
    }

    mutating func userOfDatagrams() throws(Violation) {
        let how = input.byte()
        switch how & 3 {
        case 0:
            let any = IPAddress(ends.isIPv4 ? "0.0.0.0" : "::")!
            if let socket = try? host.stack.bind(any, port: how & 4 == 0 ? 53 : 0) { sockets.append(socket) }
        case 1:
            guard let socket = sockets.first else { return }
            let remote = IPAddress(ends.isIPv4 ? "10.0.0.2" : "fd00::2")!
            _ = host.stack.send(socket, [UInt8](repeating: 1, count: Int(how >> 2) * 64).raw, to: remote, port: 53)
        case 2: if let socket = sockets.first { _ = host.stack.receive(socket) { _, _ in } }
        default: if let socket = sockets.popLast() { host.stack.close(socket) }
        }
        try host.settle()
    }
}
