// What arrives at the fuzzed stack: segments of its peers, and answers to its questions for neighbors.

@testable import MartletStack

extension StackTarget {
    // MARK: What comes in

    mutating func append(
        _ packet: [UInt8], offload: FrameOffload = [], segmentSize: Int = 0, etherType: [UInt8]? = nil
    ) {
        guard isEthernet else { return arrivals.append((packet, offload, segmentSize)) }
        let type = etherType ?? (ends.isIPv4 ? [0x08, 0x00] : [0x86, 0xDD])
        arrivals.append((FuzzEnds.localLink + FuzzEnds.remoteLink + type + packet, offload, segmentSize))
    }

    mutating func arrive() throws(Violation) {
        if !arrivals.isEmpty {
            let burst = arrivals
            arrivals = []
            try host.ingress(burst)
        }
        try hear()
    }

    /// The peers look at what has left, and neighbors answer.
    mutating func hear() throws(Violation) {
        let packets = host.packets
        host.packets = []
        for packet in packets { try hear(packet) }
        let frames = host.frames
        host.frames = []
        guard answersNeighbors else { return }
        for frame in frames where frame.count >= 42 && frame[12...13] == [0x08, 0x06] && frame[21] == 1 {
            guard frame[38..<42].elementsEqual(FuzzEnds.v4.remote) else { continue }
            let answer = Array(frame[14..<20]) + [0, 2] + FuzzEnds.remoteLink + FuzzEnds.v4.remote
            append(answer + Array(frame[22..<32]), etherType: [0x08, 0x06])
        }
    }

    mutating func hear(_ packet: [UInt8]) throws(Violation) {
        let start = ends.headerLength
        let transport = packet[ends.isIPv4 ? 9 : 6]
        if transport == 58, packet[start] == 135, answersNeighbors, packet.count >= start + 24,
            packet[start + 8..<start + 24].elementsEqual(ends.remote)
        {
            var answer: [UInt8] = [136, 0, 0, 0, 0x60, 0, 0, 0] + ends.remote + [2, 1] + FuzzEnds.remoteLink
            ends.complete(&answer, 58)
            append(ends.packet(answer, 58, hops: 255))
        }
        guard transport == 6, packet.count >= start + 20 else { return }
        let (local, remote) = (packet.number16(at: start), packet.number16(at: start + 2))
        guard let index = peers.firstIndex(where: { $0.remotePort == remote }) else { return }
        if packet[start + 13] & 0x12 == 2 { peers[index].localPort = local }
        guard peers[index].localPort == local else { return }
        try peers[index].receive(packet, at: start)
    }

    mutating func wait() throws(Violation) {
        let length = input.byte()
        // From 1 µs to 36 minutes, twice as long each time; the highest are an hour, and 25 days.
        let nanoseconds: Int64 =
            length < 250 ? 1000 << Int64(length & 31) : length < 254 ? 3_600_000_000_000 : 25 * 86_400_000_000_000
        peerClock &+= UInt32(truncatingIfNeeded: nanoseconds / 1_000_000)
        try host.wait(nanoseconds)
        try hear()
    }

    /// A peer does what an honest one would: it takes everything and acknowledges it.
    mutating func behave() throws(Violation) {
        let index = input.choice(6)
        peers[index].acknowledged = peers[index].high
        send(
            index, flags: 0x10, peers[index].expected, peers[index].high, window: 0xFFFF, data: [],
            options: stamped(index))
        try arrive()
    }

    mutating func shakeHands() {
        let index = input.choice(6)
        let how = input.byte()
        let flags: UInt8 = (index < 4 ? 0x02 : 0x12) | (how & 1 == 0 ? 0 : 0xC0)
        let sequence = peers[index].initial &+ (how & 0x80 == 0 ? 0 : UInt32(how))
        var options: [UInt8] = how & 2 == 0 ? [2, 4, 5, 0xB4] : how & 4 == 0 ? [] : [2, 4, 0, 1]
        if how & 8 == 0 { options += stamped(index) }
        if how & 16 == 0 { options += [4, 2, 1, 1] }
        if how & 32 == 0 { options += [3, 3, how & 64 == 0 ? 7 : 14, 0] }
        send(index, flags: flags, sequence, peers[index].high, window: 0xFFFF, data: [], options: options)
    }

    func stamped(_ index: Int) -> [UInt8] {
        var options: [UInt8] = [1, 1, 8, 10]
        options.append(number: peerClock)
        options.append(number: peers[index].timestamp)
        return options
    }

    mutating func segment() {
        let index = input.choice(6)
        let how = input.byte()
        let flags = input.byte()
        let peer = peers[index]
        let bases = [peer.expected, peer.next, peer.edge, peer.initial]
        var sequence = bases[Int(how & 3)]
        sequence &+= how & 4 == 0 ? 0 : UInt32(bitPattern: Int32(Int16(bitPattern: input.uint16())))
        var acknowledgment = [peer.high, peer.acknowledged, peer.theirInitial, peer.high][Int(how >> 3 & 3)]
        acknowledgment &+= how & 32 == 0 ? 0 : UInt32(bitPattern: Int32(Int16(bitPattern: input.uint16())))
        if how & 0x18 == 0x18 { acknowledgment &+= UInt32(bitPattern: Int32(Int8(bitPattern: input.byte()))) << 24 }
        let window = how & 64 == 0 ? [0xFFFF, 0, 1, 1000][input.choice(4)] : input.uint16()
        let options = how & 128 == 0 ? stamped(index) : options(index)
        let length = [0, 1, 1448, Int(input.byte()) * 8][input.choice(4)]
        send(
            index, flags: flags, sequence, acknowledgment, window: window,
            data: FuzzStream.bytes(from: sequence, count: min(length, 1400)), options: options)
    }

    mutating func options(_ index: Int) -> [UInt8] {
        var options: [UInt8] = []
        let which = input.byte()
        if which & 1 != 0 {
            options += [1, 1, 8, 10]
            options.append(number: peerClock &- UInt32(input.byte()))
            options.append(number: peers[index].timestamp &- UInt32(input.byte()))
        }
        if which & 2 != 0 {
            let count = Int(input.byte() & 3) + 1
            options += [1, 1, 5, UInt8(2 + 8 * count)]
            for _ in 0..<count {
                let start = peers[index].acknowledged &+ UInt32(input.uint16()) &- 64
                options.append(number: start)
                options.append(number: start &+ UInt32(input.uint16()) &- 16)
            }
        }
        if which & 4 != 0 { options += [28, 4] + input.bytes(2) }
        if which & 8 != 0 { options += [34, UInt8(2 + which >> 4 & 15)] + input.bytes(Int(which >> 4 & 15)) }
        if which & 0xF0 == 0xF0 { options += input.bytes(input.choice(40)) }
        return options
    }

    /// A segment of a peer's, with what its header has not room for left out.
    mutating func send(
        _ index: Int, flags: UInt8, _ sequence: UInt32, _ acknowledgment: UInt32, window: UInt16, data: [UInt8],
        options: [UInt8]
    ) {
        append(packet(index, flags, sequence, acknowledgment, window, data, options), offload: [])
    }

    mutating func packet(
        _ index: Int, _ flags: UInt8, _ sequence: UInt32, _ acknowledgment: UInt32, _ window: UInt16, _ data: [UInt8],
        _ options: [UInt8]
    ) -> [UInt8] {
        var options = Array(options.prefix(40))
        while !options.count.isMultiple(of: 4) { options.append(0) }
        peers[index].sent(flags, sequence, length: data.count)
        var segment: [UInt8] = []
        segment.append(number: peers[index].remotePort)
        segment.append(number: peers[index].localPort)
        segment.append(number: sequence)
        segment.append(number: acknowledgment)
        segment += [UInt8(20 + options.count) << 2, flags]
        segment.append(number: window)
        segment += [0, 0, 0, flags & 0x20 == 0 ? 0 : UInt8(data.count & 255)]
        segment += options + data
        ends.complete(&segment, 6)
        if flags & 0x10 != 0 { peers[index].acknowledged = acknowledgment }
        peers[index].next = sequence &+ UInt32(data.count) &+ (flags & 3 != 0 ? 1 : 0)
        return ends.packet(segment, 6, ecn: flags & 0x20 == 0 ? 2 : 3)
    }
}
