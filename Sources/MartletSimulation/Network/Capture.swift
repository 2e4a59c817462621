// A capture of what went over virtual links, in the file format that packet analysers read.
//
// Hold draft-ietf-opsawg-pcapng beside it: §4.1 section header, §4.2 interface description, §4.3 enhanced packet, §3.5
// options. Written little-endian on every machine, so that equal runs give equal bytes. Must not know what made the
// frames.
//
//     ┌──────┬────────┬──────────────────────────┬─────────┬────────┐
//     │ type │ length │ body, padded to 4 bytes  │ options │ length │       the shape of each block
//     └──────┴────────┴──────────────────────────┴─────────┴────────┘

public import MartletStack

/// A pcapng capture under construction: one section, any number of interfaces, and frames with nanoseconds.
///
/// Write it out after a failure, and look at the run with tshark or Wireshark. Frames beyond ``byteLimit`` are counted in
/// ``omittedCount`` and left out.
public struct Capture: Sendable {
    /// Which way a frame went, as seen from its interface.
    public enum Direction: UInt32, Sendable {
        case unknown = 0
        case inbound = 1
        case outbound = 2
    }

    /// The whole file so far. It is complete after each call.
    public private(set) var bytes: [UInt8] = []

    /// The length that ``bytes`` does not exceed, interface descriptions apart.
    public let byteLimit: Int

    /// Interfaces are numbered `0 ..< interfaceCount`.
    public private(set) var interfaceCount = 0

    /// Frames written.
    public private(set) var frameCount = 0

    /// Frames left out because of ``byteLimit``.
    public private(set) var omittedCount = 0

    /// A capture without interfaces and frames, which says that `application` wrote it.
    public init(application: String = "Martlet", byteLimit: Int = 1 << 28) {
        self.byteLimit = byteLimit
        var section = Block(type: 0x0A0D_0D0A)
        section.append(0x1A2B_3C4D as UInt32)  // byte-order magic
        section.append(1 as UInt16)  // version 1.0
        section.append(0 as UInt16)
        section.append(UInt64.max)  // section length: unknown
        section.appendOption(4, Array(application.utf8))  // shb_userappl
        bytes += section.finished(hasOptions: true)
    }

    /// Describes another interface, and gives its number: 0 for the first, and so on.
    public mutating func addInterface(_ name: String, framing: Framing) -> Int {
        var block = Block(type: 1)
        block.append(framing == .ethernet ? 1 : 101 as UInt16)  // LINKTYPE_ETHERNET, LINKTYPE_RAW
        block.append(0 as UInt16)  // reserved
        block.append(0 as UInt32)  // snapshot length: no limit
        block.appendOption(2, Array(name.utf8))  // if_name
        block.appendOption(9, [9])  // if_tsresol: 10⁻⁹ s
        bytes += block.finished(hasOptions: true)
        interfaceCount += 1
        return interfaceCount - 1
    }

    /// Appends a frame.
    ///
    /// The instant counts from the epoch of the file's time stamps, 1970, so that a simulation seems to begin there;
    /// one before the clock's origin is written as the origin. A comment is for what the bytes do not tell, as a
    /// ``VirtualNetwork/Drop``; it is cut off at 65,535 bytes.
    ///
    /// - Precondition: there is such an interface.
    public mutating func append(
        _ frame: [UInt8], at instant: Instant, interface: Int, direction: Direction = .unknown, comment: String? = nil
    ) {
        precondition((0..<interfaceCount).contains(interface), "the capture has no interface \(interface)")
        let time = UInt64(max(0, instant.nanoseconds))
        var block = Block(type: 6)
        block.append(UInt32(interface))
        block.append(UInt32(time >> 32))
        block.append(UInt32(truncatingIfNeeded: time))
        block.append(UInt32(frame.count))  // captured
        block.append(UInt32(frame.count))  // original
        block.appendPadded(frame)
        if let comment { block.appendOption(1, Array(comment.utf8)) }  // opt_comment
        if direction != .unknown {
            // epb_flags, whose lowest two bits are the direction.
            block.appendOption(2, [UInt8(direction.rawValue), 0, 0, 0])
        }
        let finished = block.finished(hasOptions: comment != nil || direction != .unknown)
        guard bytes.count + finished.count <= byteLimit else {
            omittedCount += 1
            return
        }
        bytes += finished
        frameCount += 1
    }
}

/// One block, from its type to the repeated length.
private struct Block {
    /// The length at offset 4 is not known before the end.
    var bytes: [UInt8] = []

    init(type: UInt32) {
        append(type)
        append(0 as UInt32)
    }

    mutating func append<Number: FixedWidthInteger & UnsignedInteger>(_ number: Number) {
        for shift in stride(from: 0, to: Number.bitWidth, by: 8) {
            bytes.append(UInt8(truncatingIfNeeded: number >> Number(shift)))
        }
    }

    mutating func appendPadded(_ content: [UInt8]) {
        bytes += content
        bytes += repeatElement(0, count: -content.count & 3)
    }

    /// An option; text too long for its length field is cut off before the character that does not fit.
    mutating func appendOption(_ code: UInt16, _ value: [UInt8]) {
        var length = min(value.count, Int(UInt16.max))
        while length < value.count && length > 0 && value[length] & 0xC0 == 0x80 { length -= 1 }
        append(code)
        append(UInt16(length))
        appendPadded(Array(value[..<length]))
    }

    consuming func finished(hasOptions: Bool) -> [UInt8] {
        if hasOptions { append(0 as UInt32) }  // opt_endofopt
        let length = UInt32(bytes.count + 4)
        append(length)
        for index in 0..<4 { bytes[4 + index] = UInt8(truncatingIfNeeded: length >> UInt32(8 * index)) }
        return bytes
    }
}
