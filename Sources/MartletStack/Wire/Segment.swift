// What TCP works with once a header has been read.
//
// Hold RFC 9293 §3.3.1 beside it: SEG.SEQ, SEG.ACK, SEG.LEN, SEG.WND, SEG.UP. The ports are not here: they have done their
// work when the connection is found. Must not know a connection.

/// A received segment: the fields of its header, and where its payload is.
@usableFromInline
struct Segment: BitwiseCopyable, Sendable {
    /// SEG.SEQ.
    @usableFromInline var sequence: SequenceNumber
    /// SEG.ACK; means nothing without the ACK flag.
    @usableFromInline var acknowledgment: SequenceNumber
    @usableFromInline var flags: TCPFlags
    /// SEG.WND as it stands in the header, not scaled.
    @usableFromInline var window: UInt16
    /// SEG.UP; means nothing without the URG flag.
    @usableFromInline var urgentPointer: UInt16
    /// Where the payload starts, in bytes from the start of the TCP header.
    @usableFromInline var payloadOffset: Int32
    /// Bytes of payload.
    @usableFromInline var payloadLength: Int32
    /// Whether the IP header said that a router on the way is congested (CE, RFC 3168).
    @usableFromInline var isCongestionExperienced = false
    /// Payload bytes of each of the segments that a link has merged into this one; 0 if it is one.
    @usableFromInline var segmentSize: UInt16 = 0
    @usableFromInline var options: TCPOptions

    @inlinable
    init(
        sequence: SequenceNumber, acknowledgment: SequenceNumber = SequenceNumber(0), flags: TCPFlags = [],
        window: UInt16 = 0, urgentPointer: UInt16 = 0, payloadOffset: Int32 = 20, payloadLength: Int32 = 0,
        options: TCPOptions = TCPOptions()
    ) {
        self.sequence = sequence
        self.acknowledgment = acknowledgment
        self.flags = flags
        self.window = window
        self.urgentPointer = urgentPointer
        self.payloadOffset = payloadOffset
        self.payloadLength = payloadLength
        self.options = options
    }

    /// Reads a segment: from the TCP header on, and without what a link has padded behind it. `nil` if the header is
    /// malformed or there are 2 GiB and more. The checksum is not verified.
    @inlinable
    init?(parsing packet: RawSpan) {
        guard let header = TCPHeader(parsing: packet) else { return nil }
        self.init(header, packet)
    }

    /// Reads the rest of a segment whose header has been read.
    ///
    /// - Precondition: `header` was read from the start of `packet`.
    @inlinable
    @inline(__always)
    init?(_ header: TCPHeader, _ packet: RawSpan) {
        let headerLength = Int(header.headerLength)
        guard packet.byteCount <= Int(Int32.max), headerLength <= packet.byteCount else { return nil }
        let options = packet.extracting(TCPHeader.minimumLength..<headerLength)
        sequence = header.sequence
        acknowledgment = header.acknowledgment
        flags = header.flags
        window = header.window
        urgentPointer = header.urgentPointer
        payloadOffset = Int32(truncatingIfNeeded: headerLength)
        payloadLength = Int32(truncatingIfNeeded: packet.byteCount &- headerLength)
        self.options = TCPOptions()
        if !self.options.readTimestampsOnly(options), !self.options.readUsualSYN(options) {
            self.options = TCPOptions(parsing: options)
        }
    }

    /// SEG.LEN: what the segment takes of the sequence space, its SYN and FIN included.
    @inlinable
    var length: Int {
        Int(payloadLength) &+ (flags.contains(.syn) ? 1 : 0) &+ (flags.contains(.fin) ? 1 : 0)
    }

    /// The sequence number behind the segment: SEG.SEQ + SEG.LEN.
    @inlinable
    var end: SequenceNumber { sequence + length }
}
