// Echoes that came in pieces are sent back in pieces: RFC 1122 §3.2.2.6 wants all of their bytes back, and RFC 4443 §4.2 too.
//
// A whole echo goes back in the frame that it came in (`answerEcho`). This one lies in the memory of reassembly, and is copied into as
// many frames as its way back takes. Where there are not so many, there is no answer, as if it had been lost.

/// An echo request that lies elsewhere than in its frame.
struct EchoInPieces: BitwiseCopyable {
    /// Where the request came from, and where it was sent to: an address of ours.
    var peer: IPAddress
    var own: IPAddress
    /// Of the way back.
    var mtu: Int
    var now: Instant

    private var isIPv4: Bool { own.bitWidth == 32 }
    private var `protocol`: IPProtocol { isIPv4 ? .icmp : .icmpv6 }

    /// Whether a message is an echo request, and intact.
    func isRequest(_ message: RawSpan) -> Bool {
        switch (peer, own) {
        case (.v4, .v4):
            guard let header = ICMPv4Message(parsing: message), case .echoRequest = header.meaning else { return false }
            return ICMPv4Message.isIntact(message)
        case (.v6(let peer), .v6(let own)):
            guard let header = ICMPv6Message(parsing: message), case .echoRequest = header.meaning else { return false }
            return ICMPv6Message.isIntact(message, source: peer, destination: own)
        default: return false
        }
    }

    /// Writes the reply into frames, and returns whether there were enough.
    ///
    /// - Precondition: the message is a request.
    func answer(
        _ request: RawSpan, into packets: inout Burst, identifications: inout IPIdentification,
        using random: inout StackRandom
    ) -> Bool {
        let room = min(packets.room, packets.freeFrames)
        guard room > 0, let frame = packets.takeFrame(),
            let cuts = FragmentCuts(request.byteCount, mtu: mtu, room: frame.tailroom, isIPv4: isIPv4),
            cuts.count <= room
        else { return false }
        let identification = identifications.next(
            from: own, to: peer, protocol: `protocol`, at: now, using: &random)
        append(request, cuts, 0, identification, frame, &packets)
        for index in 1..<cuts.count {
            guard let frame = packets.takeFrame() else { preconditionFailure("frames were counted") }
            append(request, cuts, index, identification, frame, &packets)
        }
        return true
    }

    private func append(
        _ request: RawSpan, _ cuts: FragmentCuts, _ index: Int, _ identification: UInt32, _ frame: consuming Frame,
        _ packets: inout Burst
    ) {
        frame.setLength(cuts[index].count)
        var bytes = frame.mutableBytes
        _ = request.extracting(cuts[index]).copyAndSum(to: &bytes)
        if index == 0 {
            // Addresses in the other order have the same sum: only the type changes.
            let type: UInt16 = isIPv4 ? 0 : 129 << 8
            bytes.store(type, at: 0)
            bytes.store(
                Checksum.update(request.uint16(at: 2), replacing: request.uint16(at: 0), with: type), at: 2)
        }
        if cuts.count == 1 {
            IPOut.prepend(from: own, to: peer, protocol: `protocol`, &frame)
        } else {
            Fragmentation.prepend(
                from: own, to: peer, protocol: `protocol`, timeToLive: 64, identification: identification,
                offset: cuts[index].lowerBound, hasMore: index < cuts.count - 1, &frame)
        }
        packets.append(frame)
    }
}
