// The fixed part of a TCP header.
//
//      0                   1                   2                   3
//      0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
//     ┌───────────────────────────────┬───────────────────────────────┐
//   0 │          source port          │       destination port        │
//   4 │                        sequence number                        │
//   8 │                     acknowledgment number                     │
//  12 │ offset│ rsrvd │     flags     │            window             │   the ninth flag, AE, is the last
//  16 │           checksum            │        urgent pointer         │   of the bits once reserved
//  20 │                  options, 0 … 40 bytes …                      │
//     └───────────────────────────────┴───────────────────────────────┘
//
// Hold RFC 9293 §3.1 beside it, RFC 3168 and 9768 for the ECN flags. Must not know what a segment means.

/// The control bits of a TCP header.
@usableFromInline
struct TCPFlags: OptionSet, BitwiseCopyable, Hashable, Sendable {
    @usableFromInline var rawValue: UInt16

    @inlinable
    init(rawValue: UInt16) { self.rawValue = rawValue }

    /// No more bytes follow.
    @inlinable static var fin: TCPFlags { TCPFlags(rawValue: 1) }
    /// The sequence number is the first of a connection.
    @inlinable static var syn: TCPFlags { TCPFlags(rawValue: 2) }
    /// The connection is no more.
    @inlinable static var rst: TCPFlags { TCPFlags(rawValue: 4) }
    /// The sender has nothing behind these bytes yet: do not wait for more.
    @inlinable static var psh: TCPFlags { TCPFlags(rawValue: 8) }
    /// The acknowledgment number is valid.
    @inlinable static var ack: TCPFlags { TCPFlags(rawValue: 16) }
    /// The urgent pointer is valid.
    @inlinable static var urg: TCPFlags { TCPFlags(rawValue: 32) }
    /// ECN echo (RFC 3168).
    @inlinable static var ece: TCPFlags { TCPFlags(rawValue: 64) }
    /// Congestion window reduced (RFC 3168).
    @inlinable static var cwr: TCPFlags { TCPFlags(rawValue: 128) }
    /// Accurate ECN (RFC 9768); once the nonce sum.
    @inlinable static var ae: TCPFlags { TCPFlags(rawValue: 256) }
}

/// A TCP header without its options.
@usableFromInline
struct TCPHeader: BitwiseCopyable, Hashable, Sendable {
    @usableFromInline var sourcePort: UInt16
    @usableFromInline var destinationPort: UInt16
    @usableFromInline var sequence: SequenceNumber
    @usableFromInline var acknowledgment: SequenceNumber
    @usableFromInline var flags: TCPFlags
    /// The window field, not scaled.
    @usableFromInline var window: UInt16
    @usableFromInline var checksum: UInt16
    @usableFromInline var urgentPointer: UInt16
    /// Bytes of the header with its options: a multiple of 4 in 20 ... 60.
    @usableFromInline var headerLength: UInt8

    /// Bytes of a header without options.
    @inlinable
    static var minimumLength: Int { 20 }

    @inlinable
    init(
        sourcePort: UInt16, destinationPort: UInt16, sequence: SequenceNumber = SequenceNumber(0),
        acknowledgment: SequenceNumber = SequenceNumber(0), flags: TCPFlags = [], window: UInt16 = 0,
        checksum: UInt16 = 0, urgentPointer: UInt16 = 0, headerLength: UInt8 = 20
    ) {
        self.sourcePort = sourcePort
        self.destinationPort = destinationPort
        self.sequence = sequence
        self.acknowledgment = acknowledgment
        self.flags = flags
        self.window = window
        self.checksum = checksum
        self.urgentPointer = urgentPointer
        self.headerLength = headerLength
    }

    /// Reads the header at the start of `bytes`; `nil` if it says to be shorter than 20 bytes or longer than `bytes`.
    ///
    /// The three bits still reserved are ignored (RFC 9293 §3.1). The checksum is not verified.
    @inlinable
    @inline(__always)
    init?(parsing bytes: RawSpan) {
        guard bytes.byteCount >= TCPHeader.minimumLength else { return nil }
        // Three loads rather than eight: each is checked against the span's end.
        let first: UInt64 = bytes.number(at: 0)
        let second: UInt64 = bytes.number(at: 8)
        let third = bytes.uint32(at: 16)
        let offsetAndFlags = UInt16(truncatingIfNeeded: second &>> 16)
        let headerLength = Int(offsetAndFlags &>> 12) &* 4
        guard headerLength >= TCPHeader.minimumLength, headerLength <= bytes.byteCount else { return nil }
        sourcePort = UInt16(truncatingIfNeeded: first &>> 48)
        destinationPort = UInt16(truncatingIfNeeded: first &>> 32)
        sequence = SequenceNumber(UInt32(truncatingIfNeeded: first))
        acknowledgment = SequenceNumber(UInt32(truncatingIfNeeded: second &>> 32))
        flags = TCPFlags(rawValue: offsetAndFlags & 0x1FF)
        window = UInt16(truncatingIfNeeded: second)
        checksum = UInt16(truncatingIfNeeded: third &>> 16)
        urgentPointer = UInt16(truncatingIfNeeded: third)
        self.headerLength = UInt8(truncatingIfNeeded: headerLength)
    }

    /// Writes the 20 bytes before the options, with the checksum field as it is.
    ///
    /// - Precondition: `bytes` has 20 bytes or more; `headerLength` is a multiple of 4 in 20 ... 60.
    @inlinable
    @inline(__always)
    func write(to bytes: inout MutableRawSpan) {
        precondition(headerLength >= 20 && headerLength <= 60 && headerLength & 3 == 0, "no header is so long")
        // Three stores rather than eight, as for reading.
        let ports = UInt32(sourcePort) &<< 16 | UInt32(destinationPort)
        let offsetAndFlags = UInt16(headerLength) &<< 10 | flags.rawValue & 0x1FF
        let control = UInt32(offsetAndFlags) &<< 16 | UInt32(window)
        bytes.store(UInt64(ports) &<< 32 | UInt64(sequence.bits), at: 0)
        bytes.store(UInt64(acknowledgment.bits) &<< 32 | UInt64(control), at: 8)
        bytes.store(UInt32(checksum) &<< 16 | UInt32(urgentPointer), at: 16)
    }
}
