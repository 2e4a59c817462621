// The options of a TCP header, read into one plain value.
//
// Hold RFC 9293 §3.2 beside it for the form and the maximum segment size; RFC 7323 for window scale and timestamps,
// RFC 2018 for SACK, RFC 7413 §4.1.1 for Fast Open cookies, RFC 5482 §3 for the user timeout. How they are laid out when
// written is in TCPOptions+Writing.swift. Must not know which options a connection has agreed on: a reader of this
// value ignores what stands in a segment where it must not.

/// A run of bytes that the peer has received out of order: `start` is the first of them, `end` the one behind the last.
@usableFromInline
struct SACKBlock: BitwiseCopyable, Hashable, Sendable {
    @usableFromInline var start: SequenceNumber
    @usableFromInline var end: SequenceNumber

    @inlinable
    init(start: SequenceNumber, end: SequenceNumber) {
        self.start = start
        self.end = end
    }
}

/// The options of one segment.
@usableFromInline
struct TCPOptions: BitwiseCopyable, Sendable {
    /// The largest payload that the sender takes, in bytes; 0 if absent.
    @usableFromInline var maximumSegmentSize: UInt16 = 0
    /// How far window fields are shifted to the left, 0 ... 14; 255 if absent.
    @usableFromInline var windowScale: UInt8 = 255
    @usableFromInline var isSACKPermitted = false
    @usableFromInline var hasTimestamps = false
    /// Whether parsing has ended at an option whose length is 0, 1 or beyond the header (RFC 9293 MUST-7). What stood
    /// before it has been read.
    @usableFromInline var isMalformed = false
    /// TSval.
    @usableFromInline var timestampValue: UInt32 = 0
    /// TSecr.
    @usableFromInline var timestampEcho: UInt32 = 0
    /// How many of `sackBlocks` there are, 0 ... 4.
    @usableFromInline var sackCount: UInt8 = 0
    /// Bytes of the Fast Open cookie, even and in 4 ... 16; 0 if a cookie is asked for; 255 if absent.
    @usableFromInline var fastOpenLength: UInt8 = 255
    /// The user timeout as it stands in the option: 15 bits of seconds, or of minutes if the highest bit is set; 0 if
    /// absent.
    @usableFromInline var userTimeout: UInt16 = 0
    @usableFromInline var sackBlocks = InlineArray<4, SACKBlock>(
        repeating: SACKBlock(start: SequenceNumber(0), end: SequenceNumber(0)))
    @usableFromInline var fastOpenCookie = InlineArray<16, UInt8>(repeating: 0)

    /// No options.
    @inlinable
    @inline(__always)
    init() {}

    /// Bytes that a TCP header has room for.
    @inlinable
    static var maximumLength: Int { 40 }

    /// How a timestamps option starts that two NOPs align: NOP, NOP, kind 8, length 10.
    @inlinable
    static var timestampsPrefix: UInt32 { 0x0101_080A }

    /// The same with SACK permitted in place of the NOPs; and how an MSS option starts, and NOP and a window scale.
    @inlinable static var permittedTimestampsPrefix: UInt32 { 0x0402_080A }
    @inlinable static var segmentSizePrefix: UInt32 { 0x0204_0000 }
    @inlinable static var scalePrefix: UInt32 { 0x0103_0300 }

    /// Reads the options that nearly every segment of an established connection has: the timestamps, aligned, alone.
    /// Returns false, and reads nothing, if `bytes` is anything else, which one comparison says.
    @inlinable
    @inline(__always)
    mutating func readTimestampsOnly(_ bytes: RawSpan) -> Bool {
        guard bytes.byteCount == 12, bytes.uint32(at: 0) == TCPOptions.timestampsPrefix else { return false }
        hasTimestamps = true
        timestampValue = bytes.uint32(at: 4)
        timestampEcho = bytes.uint32(at: 8)
        return true
    }

    /// Reads the options of a SYN, laid out as this stack, Linux and most others do: MSS; SACK permitted and timestamps;
    /// NOP, window scale. Returns false, and reads nothing, if `bytes` is anything else.
    @inlinable
    mutating func readUsualSYN(_ bytes: RawSpan) -> Bool {
        guard bytes.byteCount == 20, bytes.uint32(at: 0) & ~0xFFFF == TCPOptions.segmentSizePrefix,
            bytes.uint32(at: 4) == TCPOptions.permittedTimestampsPrefix,
            bytes.uint32(at: 16) & ~0xFF == TCPOptions.scalePrefix
        else { return false }
        maximumSegmentSize = bytes.uint16(at: 2)
        isSACKPermitted = true
        hasTimestamps = true
        timestampValue = bytes.uint32(at: 8)
        timestampEcho = bytes.uint32(at: 12)
        windowScale = min(bytes.byte(at: 19), 14)
        return true
    }

    /// Reads the bytes between the fixed header and the payload.
    ///
    /// Ends at the end-of-options kind, and at a length that cannot be (``isMalformed``). An option that is unknown, or
    /// of a length that its kind does not have, is skipped. Of an option that stands there twice, the last one counts.
    @usableFromInline
    init(parsing bytes: RawSpan) {
        var offset = 0
        // At most 40 turns, as a header's options have no more bytes, and each turn takes one or more.
        while offset < bytes.byteCount {
            let kind = bytes.byte(at: offset)
            if kind == Kind.endOfOptions { return }
            if kind == Kind.noOperation {
                offset &+= 1
                continue
            }
            // MUST-7: a length may be illegal, such as 0.
            let left = bytes.byteCount &- offset
            let length = left >= 2 ? Int(bytes.byte(at: offset &+ 1)) : 0
            guard length >= 2, length <= left else {
                isMalformed = true
                return
            }
            read(kind, bytes.extracting(offset &+ 2..<offset &+ length))
            offset &+= length
        }
    }

    private mutating func read(_ kind: UInt8, _ content: RawSpan) {
        switch (kind, content.byteCount) {
        case (Kind.maximumSegmentSize, 2):
            maximumSegmentSize = content.uint16(at: 0)
        case (Kind.windowScale, 1):
            // RFC 7323 §2.3: a shift above 14 is to be taken as 14.
            windowScale = min(content.byte(at: 0), 14)
        case (Kind.sackPermitted, 0):
            isSACKPermitted = true
        case (Kind.sack, 8), (Kind.sack, 16), (Kind.sack, 24), (Kind.sack, 32):
            readSACK(content)
        case (Kind.timestamps, 8):
            hasTimestamps = true
            timestampValue = content.uint32(at: 0)
            timestampEcho = content.uint32(at: 4)
        case (Kind.userTimeout, 2):
            userTimeout = content.uint16(at: 0)
        case (Kind.fastOpen, 0...16):
            readFastOpen(content)
        default:
            break
        }
    }

    private mutating func readSACK(_ content: RawSpan) {
        let count = content.byteCount &>> 3
        for index in 0..<count {
            sackBlocks[index] = SACKBlock(
                start: SequenceNumber(content.uint32(at: index &* 8)),
                end: SequenceNumber(content.uint32(at: index &* 8 &+ 4)))
        }
        sackCount = UInt8(truncatingIfNeeded: count)
    }

    private mutating func readFastOpen(_ content: RawSpan) {
        let count = content.byteCount
        guard count & 1 == 0, count == 0 || count >= 4 else { return }
        for index in 0..<16 { fastOpenCookie[index] = index < count ? content.byte(at: index) : 0 }
        fastOpenLength = UInt8(truncatingIfNeeded: count)
    }

    /// The user timeout in seconds, up to 32,767 minutes; 0 if absent.
    @usableFromInline
    var userTimeoutSeconds: Int {
        let count = Int(userTimeout & 0x7FFF)
        return userTimeout & 0x8000 == 0 ? count : count &* 60
    }
}

extension TCPOptions {
    /// The kinds of the registry of TCP option numbers that have a meaning here.
    enum Kind {
        static var endOfOptions: UInt8 { 0 }
        static var noOperation: UInt8 { 1 }
        static var maximumSegmentSize: UInt8 { 2 }
        static var windowScale: UInt8 { 3 }
        static var sackPermitted: UInt8 { 4 }
        static var sack: UInt8 { 5 }
        static var timestamps: UInt8 { 8 }
        static var userTimeout: UInt8 { 28 }
        static var fastOpen: UInt8 { 34 }
    }
}
