// Segments that no connection owes: resets for strangers (RFC 9293 §3.10.7.1), and what handshakes, cookies and TIME-WAIT answer
// before and after there is a connection.

/// A segment without text that is to be sent.
struct Answer: BitwiseCopyable {
    var tuple: FourTuple
    var sequence: SequenceNumber
    var acknowledgment = SequenceNumber(0)
    var flags: TCPFlags
    var window: UInt16 = 0
    /// The number of the settings that say something of its IP header; 0 for none.
    var settings: UInt16 = 0
    var options = TCPOptions()

    /// Returns false if there is no frame or no room.
    @inline(__always)
    func write(into burst: inout Burst, _ table: borrowing SettingsTable) -> Bool {
        guard !burst.isFull, var frame = burst.takeFrame() else { return false }
        let header = TCPHeader(
            sourcePort: tuple.localPort, destinationPort: tuple.remotePort, sequence: sequence,
            acknowledgment: acknowledgment, flags: flags, window: window)
        SegmentOut.prepend(header, options, tuple, &frame)
        if settings != 0 { table[settings].rewrite(&frame) }
        burst.append(frame)
        return true
    }
}

/// At most 256 of them; more are dropped, and the peers that sent those segments send them again.
struct AnswerQueue: ~Copyable {
    private static var capacity: Int { 256 }

    private var answers = PlainTable<Answer>(capacity: AnswerQueue.capacity)
    private var head = 0
    private(set) var count = 0

    var isEmpty: Bool { count == 0 }

    /// The one to be sent next.
    ///
    /// - Precondition: there is one.
    var first: Answer {
        _read { yield answers[head] }
    }

    mutating func removeFirst() {
        head = (head + 1) % Self.capacity
        count -= 1
    }

    /// Returns false if the queue is full.
    @discardableResult
    mutating func append(_ answer: Answer) -> Bool {
        guard count < Self.capacity else { return false }
        answers[(head + count) % Self.capacity] = answer
        count += 1
        return true
    }

    /// Queues the reset for a segment that is for nobody: one that the sender of that segment believes.
    mutating func appendReset(to segment: Segment, _ tuple: FourTuple) {
        if segment.flags.contains(.ack) {
            append(Answer(tuple: tuple, sequence: segment.acknowledgment, flags: [.rst]))
        } else {
            append(
                Answer(
                    tuple: tuple, sequence: SequenceNumber(0), acknowledgment: segment.sequence + segment.length,
                    flags: [.rst, .ack]))
        }
    }
}
