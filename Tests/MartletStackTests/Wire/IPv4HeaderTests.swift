// IPv4 and UDP headers: byte for byte, every length against every other, and checksums.

import Testing

@testable import MartletStack

@Suite struct IPv4HeaderTests {
    /// A header with a checksum that was computed elsewhere, and eight bytes of payload.
    static let packet = [UInt8](hex: "45b9 001c 1c46 4000 4011 98ee c0000201 c63364ff 0035c001 00080000")

    static func fixed(_ bytes: [UInt8]) -> [UInt8] {
        var bytes = bytes
        let length = Int(bytes[0] & 0xF) * 4
        bytes.put(0 as UInt16, at: 10)
        bytes.put(~Array(bytes[..<length]).naiveSum, at: 10)
        return bytes
    }

    @Test func `A header is read field by field`() throws {
        let header = try #require(IPv4Header(bytes: Self.fixed(Self.packet)))
        #expect(header.source == IPv4Address(192, 0, 2, 1))
        #expect(header.destination == IPv4Address(198, 51, 100, 255))
        #expect(header.totalLength == 28 && header.headerLength == 20 && header.payloadLength == 8)
        #expect(header.identification == 0x1C46)
        #expect(header.dontFragment && !header.moreFragments && header.fragmentOffset == 0 && !header.isFragment)
        #expect(header.dscp == 46 && header.ecn == .capable1)
        #expect(header.timeToLive == 64 && header.protocol == .udp)
        #expect(header.isIntact(bytes: Self.fixed(Self.packet)))
    }

    @Test func `A header that is made is whole`() throws {
        var header = IPv4Header(
            source: IPv4Address(192, 0, 2, 1), destination: .broadcast, protocol: .tcp, payloadLength: 4)
        header.checksum = header.computedChecksum
        let bytes = [UInt8](count: 24) { header.write(to: &$0) }
        #expect(bytes.suffix(4) == [0xEE, 0xEE, 0xEE, 0xEE])
        #expect(bytes.prefix(10) == [UInt8](hex: "4500 0018 0000 4000 4006")[...])
        #expect(IPv4Header(bytes: bytes) == header)
        #expect(header.isIntact(bytes: bytes))
    }

    @Test func `Headers of any fields are read as they were written, and their checksums are right`() {
        let seed = UInt64.random(in: 0...UInt64.max)
        var generator = SeededGenerator(seed: seed)
        for _ in 0..<2_000 {
            var bytes = [UInt8].random(count: 20, using: &generator)
            bytes[0] = 0x45
            bytes.put(20 as UInt16, at: 2)
            bytes[6] &= 0x6F  // The reserved bit is not kept, and the offset stays below 32 KiB.
            bytes = Self.fixed(bytes)
            guard let header = IPv4Header(bytes: bytes) else {
                Issue.record("seed \(seed): \(bytes)")
                continue
            }
            #expect([UInt8](count: 20) { header.write(to: &$0) } == bytes, "seed \(seed)")
            #expect(header.computedChecksum == header.checksum, "seed \(seed)")
            #expect(header.isFragment == (bytes.raw.uint16(at: 6) & 0x3FFF != 0), "seed \(seed)")
        }
    }

    @Test func `Every header length and total length is checked against every number of bytes`() {
        for version in [0, 4, 5, 6, 15] {
            for words in 0...15 {
                for total in 0...72 {
                    var bytes = Self.packet + [UInt8](repeating: 0, count: 44)
                    bytes[0] = UInt8(version << 4 | words)
                    bytes.put(UInt16(total), at: 2)
                    for length in [0, 1, 19, 20, 21, words * 4 - 1, words * 4, total - 1, total, total + 1, 72]
                    where length >= 0 && length <= 72 {
                        let header = IPv4Header(parsing: bytes.raw.extracting(0..<length))
                        let isValid = version == 4 && words >= 5 && total >= words * 4 && length >= total
                        #expect((header != nil) == isValid, "version \(version), \(words * 4), \(total), \(length)")
                        guard let header else { continue }
                        #expect(Int(header.headerLength) == words * 4 && header.payloadLength == total - words * 4)
                    }
                }
            }
        }
    }

    @Test func `Padding behind a packet is not of it`() {
        #expect(IPv4Header(bytes: Self.packet + [UInt8](repeating: 1, count: 18))?.payloadLength == 8)
    }

    @Test func `A fragment has its offset in bytes, and ends within what a packet can have`() throws {
        var bytes = Self.packet
        bytes.put(0x2001 as UInt16, at: 6)
        let first = try #require(IPv4Header(bytes: bytes))
        #expect(first.moreFragments && !first.dontFragment && first.fragmentOffset == 8 && first.isFragment)
        bytes.put(0x1FFF as UInt16, at: 6)
        #expect(IPv4Header(bytes: bytes) == nil)
        bytes.put(0x1FFC as UInt16, at: 6)  // 65,504 and 28 bytes make 65,532.
        #expect(IPv4Header(bytes: bytes)?.fragmentOffset == 65_504)
        bytes.put(0x1FFD as UInt16, at: 6)
        #expect(IPv4Header(bytes: bytes) == nil)
    }

    @Test func `The checksum covers the options, and any flipped bit shows`() throws {
        var bytes = Self.packet
        bytes[0] = 0x46
        bytes = Self.fixed(bytes)
        let header = try #require(IPv4Header(bytes: bytes))
        #expect(header.isIntact(bytes: bytes))
        for bit in 0..<24 * 8 {
            bytes[bit / 8] ^= 1 << UInt8(bit % 8)
            #expect(!header.isIntact(bytes: bytes), "bit \(bit)")
            bytes[bit / 8] ^= 1 << UInt8(bit % 8)
        }
        bytes[24] ^= 1  // The payload.
        #expect(header.isIntact(bytes: bytes))
    }

    @Test func `No noise traps`() {
        let seed = UInt64.random(in: 0...UInt64.max)
        var generator = SeededGenerator(seed: seed)
        for _ in 0..<100_000 {
            var bytes = [UInt8].random(count: Int(generator.next() % 80), using: &generator)
            if bytes.count > 2 {
                bytes[0] = 0x40 | bytes[0] & 0xF
                bytes[2] = 0
            }
            guard let header = IPv4Header(bytes: bytes) else { continue }
            _ = header.isIntact(bytes.raw)
            if Int(header.totalLength) > bytes.count || header.payloadLength < 0 {
                Issue.record("seed \(seed): \(bytes)")
            }
        }
    }

    // MARK: UDP

    @Test func `A UDP header is read, and written the same`() throws {
        let bytes = [UInt8](hex: "0035 c001 000a beef 0102")
        let header = try #require(UDPHeader(bytes: bytes))
        #expect(header.sourcePort == 53 && header.destinationPort == 0xC001)
        #expect(header.datagramLength == 10 && header.payloadLength == 2 && header.checksum == 0xBEEF)
        #expect([UInt8](count: 10) { header.write(to: &$0) } == bytes.prefix(8) + [0xEE, 0xEE])
        #expect(UDPHeader(sourcePort: 53, destinationPort: 0xC001, payloadLength: 2, checksum: 0xBEEF) == header)
    }

    @Test func `Every UDP length is checked against every number of bytes`() {
        for length in 0...20 {
            for count in 0...20 {
                var bytes = [UInt8](repeating: 0, count: 20)
                bytes.put(UInt16(length), at: 4)
                let header = UDPHeader(parsing: bytes.raw.extracting(0..<count))
                #expect((header != nil) == (length >= 8 && count >= length), "\(length) in \(count)")
            }
        }
    }
}
