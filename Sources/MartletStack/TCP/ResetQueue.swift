// Resets for segments that belong to no connection (RFC 9293 §3.10.7.1). They are owed by nobody, so they wait here.

/// A reset that is to be sent.
struct OwedReset: BitwiseCopyable {
    var tuple: FourTuple
    var sequence: SequenceNumber
    var acknowledgment: SequenceNumber
    var flags: TCPFlags

    /// Returns false if there is no frame or no room.
    func write(into burst: inout Burst) -> Bool {
        guard !burst.isFull, var frame = burst.takeFrame() else { return false }
        let header = TCPHeader(
            sourcePort: tuple.localPort, destinationPort: tuple.remotePort, sequence: sequence,
            acknowledgment: acknowledgment, flags: flags)
        SegmentOut.prepend(header, TCPOptions(), tuple, &frame)
        burst.append(frame)
        return true
    }
}

/// At most 64 of them; more are dropped, and the peers that sent those segments send them again.
struct ResetQueue: ~Copyable {
    private var resets = PlainTable<OwedReset>(capacity: 64)
    private var head = 0
    private(set) var count = 0

    var isEmpty: Bool { count == 0 }

    var first: OwedReset? { isEmpty ? nil : resets[head] }

    mutating func removeFirst() {
        head = (head + 1) & 63
        count -= 1
    }

    /// Queues the answer to a segment for nobody: one that the sender of that segment believes.
    mutating func append(to segment: Segment, _ tuple: FourTuple) {
        guard count < 64 else { return }
        let place = (head + count) & 63
        if segment.flags.contains(.ack) {
            resets[place] = OwedReset(
                tuple: tuple, sequence: segment.acknowledgment, acknowledgment: SequenceNumber(0), flags: [.rst])
        } else {
            resets[place] = OwedReset(
                tuple: tuple, sequence: SequenceNumber(0), acknowledgment: segment.sequence + segment.length,
                flags: [.rst, .ack])
        }
        count += 1
    }
}
