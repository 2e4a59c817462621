// TCP headers and segments: byte for byte, cut short, and made of noise.

import Testing

@testable import MartletStack

@Suite struct TCPHeaderTests {
    /// A SYN-ACK as it was sent, with 20 bytes of options.
    static let synAck = [UInt8](
        hex: """
            01bb c001 89abcdef 01234567 a112 fe88 beef 0102
            0204 05b4 0402 080a 11223344 55667788 0103 0307
            """)

    @Test func `A header is read field by field`() throws {
        let header = try #require(TCPHeader(bytes: Self.synAck))
        #expect(header.sourcePort == 443)
        #expect(header.destinationPort == 0xC001)
        #expect(header.sequence == SequenceNumber(0x89AB_CDEF))
        #expect(header.acknowledgment == SequenceNumber(0x0123_4567))
        #expect(header.flags == [.syn, .ack, .ae])
        #expect(header.window == 0xFE88)
        #expect(header.checksum == 0xBEEF)
        #expect(header.urgentPointer == 0x0102)
        #expect(header.headerLength == 40)
    }

    @Test func `A header is written as it was read, and nothing behind it is touched`() throws {
        let header = try #require(TCPHeader(bytes: Self.synAck))
        let written = [UInt8](count: 24) { header.write(to: &$0) }
        #expect(written == Self.synAck.prefix(20) + [0xEE, 0xEE, 0xEE, 0xEE])
    }

    @Test func `Each flag is the bit that RFC 9293 §3.1 draws`() throws {
        let flags: [TCPFlags] = [.fin, .syn, .rst, .psh, .ack, .urg, .ece, .cwr, .ae]
        for (bit, flag) in flags.enumerated() {
            var bytes = Self.synAck
            bytes.put(0x5000 | flag.rawValue, at: 12)
            #expect(TCPHeader(parsing: bytes.raw)?.flags == flag)
            #expect(flag.rawValue == 1 << UInt16(bit))
        }
    }

    @Test func `The reserved bits are ignored when read and zero when written`() throws {
        var bytes = Self.synAck
        bytes.put(0x5E10 as UInt16, at: 12)
        let header = try #require(TCPHeader(bytes: bytes))
        #expect(header.flags == .ack)
        var other = header
        other.flags = TCPFlags(rawValue: 0xFFFF)
        #expect([UInt8](count: 20) { other.write(to: &$0) }[12...13] == [0x51, 0xFF])
    }

    @Test func `Every data offset is checked against the length of every packet`() {
        for offset in 0...15 {
            for length in 0...70 {
                var bytes = Self.synAck + [UInt8](repeating: 1, count: 30)
                bytes[12] = UInt8(offset << 4)
                let isValid = offset >= 5 && length >= offset * 4
                let header = TCPHeader(parsing: bytes.raw.extracting(0..<length))
                #expect((header != nil) == isValid, "offset \(offset), length \(length)")
                #expect((Segment(parsing: bytes.raw.extracting(0..<length)) != nil) == isValid)
                if let header { #expect(Int(header.headerLength) == offset * 4) }
            }
        }
    }

    @Test func `Headers of any fields are read as they were written`() {
        let seed = UInt64.random(in: 0...UInt64.max)
        var generator = SeededGenerator(seed: seed)
        for _ in 0..<2_000 {
            var bytes = [UInt8].random(count: 60, using: &generator)
            bytes[12] = UInt8.random(in: 5...15, using: &generator) << 4 | bytes[12] & 1
            let header = TCPHeader(parsing: bytes.raw)
            let written = [UInt8](count: 20) { header?.write(to: &$0) }
            #expect(written[...] == bytes.prefix(20), "seed \(seed)")
        }
    }

    @Test(arguments: [0, 16, 22, 64, 255] as [UInt8])
    func `A header length that cannot be is not written`(length: UInt8) async {
        await #expect(processExitsWith: .failure) { [length] in
            var header = TCPHeader(sourcePort: 1, destinationPort: 2)
            header.headerLength = length
            _ = [UInt8](count: 20) { header.write(to: &$0) }
        }
    }

    // MARK: Segments

    @Test func `A segment has the fields of its header, its options and its payload`() throws {
        let segment = try #require(Segment(bytes: (Self.synAck + [1, 2, 3])))
        #expect(segment.sequence == SequenceNumber(0x89AB_CDEF))
        #expect(segment.acknowledgment == SequenceNumber(0x0123_4567))
        #expect(segment.flags == [.syn, .ack, .ae])
        #expect(segment.window == 0xFE88)
        #expect(segment.urgentPointer == 0x0102)
        #expect(segment.payloadOffset == 40)
        #expect(segment.payloadLength == 3)
        #expect(segment.options.maximumSegmentSize == 1_460)
        #expect(segment.options.windowScale == 7)
        #expect(segment.options.isSACKPermitted)
        #expect(segment.options.timestampValue == 0x1122_3344)
        #expect(segment.options.timestampEcho == 0x5566_7788)
    }

    @Test(
        arguments: [
            (TCPFlags.ack, 0), (.syn, 1), (.fin, 1), ([.syn, .fin], 2), ([.rst, .psh, .urg, .ack, .ece, .cwr, .ae], 0),
        ] as [(TCPFlags, Int)])
    func `SYN and FIN take a sequence number each`(flags: TCPFlags, count: Int) {
        var segment = Segment(sequence: SequenceNumber(.max - 2), flags: flags)
        #expect(segment.length == count)
        segment.payloadLength = 1_460
        #expect(segment.length == 1_460 + count)
        #expect(segment.end == SequenceNumber(UInt32(1_460 + count) - 3))
    }

    @Test func `The short way for timestamps reads what the long way does`() throws {
        var bytes = Self.synAck
        bytes[12] = 0x80
        bytes.replaceSubrange(20..<24, with: [1, 1, 8, 10])
        let segment = try #require(Segment(bytes: Array(bytes.prefix(32))))
        let options = TCPOptions(parsing: bytes.raw.extracting(20..<32))
        #expect(segment.options == options)
        #expect(options.hasTimestamps && options.timestampValue == 0x0402_080A && options.timestampEcho == 0x1122_3344)
        #expect(segment.payloadOffset == 32 && segment.payloadLength == 0)
    }

    @Test func `No noise traps, and what is read lies within it`() {
        let seed = UInt64.random(in: 0...UInt64.max)
        var generator = SeededGenerator(seed: seed)
        for _ in 0..<100_000 {
            var bytes = [UInt8].random(count: Int(generator.next() % 72), using: &generator)
            if bytes.count > 12 { bytes[12] |= 0x50 }
            guard let segment = Segment(parsing: bytes.raw) else { continue }
            let end = Int(segment.payloadOffset) + Int(segment.payloadLength)
            if segment.payloadOffset < 20 || end != bytes.count || segment.options.sackCount > 4 {
                Issue.record("seed \(seed): \(bytes)")
            }
        }
    }
}
