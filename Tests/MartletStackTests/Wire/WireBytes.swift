// Packets as arrays of bytes: written by hand, by chance, or by the code under test.

@testable import MartletStack

extension Array where Element == UInt8 {
    /// `count` bytes of 0xEE, of which those from `offset` on are then changed by `write`.
    init(count: Int, from offset: Int = 0, writing write: (inout MutableRawSpan) -> Void) {
        self.init(repeating: 0xEE, count: count)
        change(from: offset, write)
    }

    mutating func change(from offset: Int = 0, _ write: (inout MutableRawSpan) -> Void) {
        unsafe withUnsafeMutableBytes { buffer in
            // SAFETY: the span ends with the call, and no one else has access to the array in it.
            let rest = unsafe UnsafeMutableRawBufferPointer(rebasing: buffer[offset...])
            var bytes = unsafe MutableRawSpan(_unsafeBytes: rest)
            write(&bytes)
        }
    }

    /// The bytes, to be parsed.
    var raw: RawSpan {
        @_lifetime(borrow self)
        get { unsafe span.bytes }
    }

    /// The bytes of two hexadecimal digits each; blanks between them do not count.
    init(hex: String) {
        let digits = hex.filter { !$0.isWhitespace }.map { UInt8($0.hexDigitValue!) }
        precondition(digits.count.isMultiple(of: 2))
        self = stride(from: 0, to: digits.count, by: 2).map { digits[$0] << 4 | digits[$0 + 1] }
    }

    static func random(count: Int, using generator: inout SeededGenerator) -> [UInt8] {
        var bytes: [UInt8] = []
        bytes.reserveCapacity(count + 8)
        while bytes.count < count {
            var word = generator.next()
            for _ in 0..<8 {
                bytes.append(UInt8(truncatingIfNeeded: word))
                word >>= 8
            }
        }
        bytes.removeLast(bytes.count - count)
        return bytes
    }

    /// Writes big-endian numbers over the bytes at `offset`.
    mutating func put<Number: FixedWidthInteger>(_ number: Number, at offset: Int) {
        for index in 0..<Number.bitWidth / 8 {
            self[offset + index] = UInt8(truncatingIfNeeded: number >> Number(Number.bitWidth - 8 - 8 * index))
        }
    }

    /// The internet checksum by the letter of RFC 1071: 16-bit numbers one by one, each carry brought around at once.
    var naiveSum: UInt16 {
        var sum: UInt32 = 0
        for index in indices {
            sum += index.isMultiple(of: 2) ? UInt32(self[index]) << 8 : UInt32(self[index])
            if sum > 0xFFFF { sum -= 0xFFFF }
        }
        return UInt16(sum)
    }
}

// Macros of the test library take no spans.

extension ARPPacket {
    init?(bytes: [UInt8]) { self.init(parsing: bytes.raw) }
}

extension EthernetHeader {
    init?(bytes: [UInt8]) { self.init(parsing: bytes.raw) }
}

extension ICMPv4Message {
    init?(bytes: [UInt8]) { self.init(parsing: bytes.raw) }
}

extension ICMPv6Message {
    init?(bytes: [UInt8]) { self.init(parsing: bytes.raw) }
}

extension IPv4Header {
    init?(bytes: [UInt8]) { self.init(parsing: bytes.raw) }
}

extension IPv6Header {
    init?(bytes: [UInt8]) { self.init(parsing: bytes.raw) }
}

extension NDPMessage {
    init?(bytes: [UInt8]) { self.init(parsing: bytes.raw) }
}

extension Segment {
    init?(bytes: [UInt8]) { self.init(parsing: bytes.raw) }
}

extension TCPHeader {
    init?(bytes: [UInt8]) { self.init(parsing: bytes.raw) }
}

extension UDPHeader {
    init?(bytes: [UInt8]) { self.init(parsing: bytes.raw) }
}

extension IPv4Header {
    func isIntact(bytes: [UInt8]) -> Bool { isIntact(bytes.raw) }
}

extension ICMPv4Message {
    static func isIntact(bytes: [UInt8]) -> Bool { isIntact(bytes.raw) }
}

extension ICMPv6Message {
    static func isIntact(bytes: [UInt8], source: IPv6Address, destination: IPv6Address) -> Bool {
        isIntact(bytes.raw, source: source, destination: destination)
    }
}
