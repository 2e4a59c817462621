// TCP options: each at every place, every length that a field can say, and layouts byte for byte.

import Testing

@testable import MartletStack

extension TCPOptions: Equatable {
    static func == (left: TCPOptions, right: TCPOptions) -> Bool { left.fields == right.fields }

    fileprivate var fields: [UInt32] {
        var fields = [
            UInt32(maximumSegmentSize), UInt32(windowScale), isSACKPermitted ? 1 : 0, hasTimestamps ? 1 : 0,
            isMalformed ? 1 : 0, timestampValue, timestampEcho, UInt32(sackCount), UInt32(fastOpenLength),
            UInt32(userTimeout),
        ]
        for index in 0..<Int(sackCount) { fields += [sackBlocks[index].start.bits, sackBlocks[index].end.bits] }
        for index in 0..<16 { fields.append(UInt32(fastOpenCookie[index])) }
        return fields
    }

    fileprivate init(_ set: (inout TCPOptions) -> Void) {
        self.init()
        set(&self)
    }

    fileprivate init(bytes: [UInt8]) { self.init(parsing: bytes.raw) }

    fileprivate var written: [UInt8] { [UInt8](count: length) { write(to: &$0) } }
}

@Suite struct TCPOptionsTests {
    /// One option of each kind, as bytes and as it is read.
    static let each: [(bytes: [UInt8], options: TCPOptions)] = [
        ([2, 4, 0x05, 0xB4], TCPOptions { $0.maximumSegmentSize = 1_460 }),
        ([3, 3, 9], TCPOptions { $0.windowScale = 9 }),
        ([4, 2], TCPOptions { $0.isSACKPermitted = true }),
        (
            [UInt8](hex: "080a 01020304 f5f6f7f8"),
            TCPOptions { ($0.hasTimestamps, $0.timestampValue, $0.timestampEcho) = (true, 0x0102_0304, 0xF5F6_F7F8) }
        ),
        (
            [UInt8](hex: "051a 00000001 00000002 fffffff0 00000010 80000000 80000001"),
            TCPOptions {
                $0.sackCount = 3
                $0.sackBlocks[0] = SACKBlock(start: SequenceNumber(1), end: SequenceNumber(2))
                $0.sackBlocks[1] = SACKBlock(start: SequenceNumber(0xFFFF_FFF0), end: SequenceNumber(16))
                $0.sackBlocks[2] = SACKBlock(start: SequenceNumber(0x8000_0000), end: SequenceNumber(0x8000_0001))
            }
        ),
        ([34, 2], TCPOptions { $0.fastOpenLength = 0 }),
        (
            [UInt8](hex: "2208 a1a2a3a4a5a6"),
            TCPOptions {
                $0.fastOpenLength = 6
                for index in 0..<6 { $0.fastOpenCookie[index] = 0xA1 + UInt8(index) }
            }
        ),
        ([28, 4, 0x80, 0x05], TCPOptions { $0.userTimeout = 0x8005 }),
        ([253, 7, 1, 2, 3, 4, 5], TCPOptions()),
    ]

    // MARK: Reading

    @Test func `Each option is read at every place, behind NOPs and at every alignment in memory`() {
        for (bytes, expected) in Self.each {
            for nops in 0...40 - bytes.count {
                for shift in 0..<8 {
                    let padded = [UInt8](repeating: 0xEE, count: shift) + [UInt8](repeating: 1, count: nops) + bytes
                    let options = TCPOptions(parsing: padded.raw.from(shift))
                    #expect(options == expected, "\(bytes) behind \(nops) NOPs")
                }
            }
        }
    }

    @Test func `Each option is read beside each other one`() {
        for (first, expected) in Self.each {
            for (second, _) in Self.each where first[0] != second[0] && first.count + second.count <= 40 {
                let both = TCPOptions(bytes: first + second)
                let reversed = TCPOptions(bytes: second + first)
                #expect(both == reversed)
                #expect(!both.isMalformed)
                var alone = both
                let other = TCPOptions(bytes: second)
                // Take away what the second one brought: what remains is the first one.
                if other.maximumSegmentSize != 0 { alone.maximumSegmentSize = 0 }
                if other.windowScale != 255 { alone.windowScale = 255 }
                if other.isSACKPermitted { alone.isSACKPermitted = false }
                if other.hasTimestamps {
                    (alone.hasTimestamps, alone.timestampValue, alone.timestampEcho) = (false, 0, 0)
                }
                if other.sackCount != 0 { alone.sackCount = 0 }
                if other.fastOpenLength != 255 {
                    (alone.fastOpenLength, alone.fastOpenCookie) = (255, TCPOptions().fastOpenCookie)
                }
                if other.userTimeout != 0 { alone.userTimeout = 0 }
                #expect(alone == expected, "\(first) beside \(second)")
            }
        }
    }

    @Test func `An option cut short at any byte is malformed, and what stood before it is read`() {
        for (bytes, _) in Self.each {
            for length in 1..<bytes.count {
                let cut = TCPOptions(bytes: [4, 2] + bytes.prefix(length))
                #expect(
                    cut == TCPOptions { ($0.isSACKPermitted, $0.isMalformed) = (true, true) }, "\(bytes), \(length)")
            }
        }
    }

    // MUST-7
    @Test func `A length that cannot be ends parsing, and one that its kind does not have is skipped`() {
        for kind in UInt8.min...UInt8.max where kind > 1 {
            for length in UInt8.min...UInt8.max {
                var bytes = [UInt8](repeating: 1, count: 40)
                bytes.replaceSubrange(0..<2, with: [kind, length])
                let options = TCPOptions(bytes: bytes)
                #expect(options.isMalformed == (length < 2 || length > 40), "kind \(kind), length \(length)")
                var expected = TCPOptions()
                if options.isMalformed {
                    expected.isMalformed = true
                } else {
                    switch (kind, length) {
                    case (2, 4): expected.maximumSegmentSize = 0x0101
                    case (3, 3): expected.windowScale = 1
                    case (4, 2): expected.isSACKPermitted = true
                    case (5, 10), (5, 18), (5, 26), (5, 34):
                        expected.sackCount = (length - 2) / 8
                        for index in 0..<4 {
                            let ones = SequenceNumber(0x0101_0101)
                            expected.sackBlocks[index] = SACKBlock(start: ones, end: ones)
                        }
                    case (8, 10):
                        expected.hasTimestamps = true
                        (expected.timestampValue, expected.timestampEcho) = (0x0101_0101, 0x0101_0101)
                    case (28, 4): expected.userTimeout = 0x0101
                    case (34, 2), (34, 6), (34, 8), (34, 10), (34, 12), (34, 14), (34, 16), (34, 18):
                        expected.fastOpenLength = length - 2
                        for index in 0..<Int(length - 2) { expected.fastOpenCookie[index] = 1 }
                    default: break
                    }
                }
                #expect(options == expected, "kind \(kind), length \(length)")
            }
        }
    }

    @Test func `Nothing is read behind the end of the options`() {
        #expect(TCPOptions(bytes: [4, 2, 0, 3, 3, 7]) == TCPOptions { $0.isSACKPermitted = true })
        #expect(TCPOptions(bytes: [0, 2, 0]) == TCPOptions())
        #expect(TCPOptions(bytes: []) == TCPOptions())
    }

    // RFC 7323 §2.3
    @Test func `A window scale above 14 is read as 14`() {
        for scale in UInt8.min...UInt8.max {
            #expect(TCPOptions(bytes: [3, 3, scale]).windowScale == min(scale, 14))
        }
    }

    @Test func `Of an option that stands there twice, the last one counts`() {
        let options = TCPOptions(bytes: [2, 4, 1, 1, 34, 8, 1, 2, 3, 4, 5, 6, 2, 4, 2, 2, 34, 6, 9, 9, 9, 9])
        let expected = TCPOptions {
            $0.maximumSegmentSize = 0x0202
            $0.fastOpenLength = 4
            for index in 0..<4 { $0.fastOpenCookie[index] = 9 }
        }
        #expect(options == expected)
    }

    @Test(arguments: [(0, 0), (90, 90), (0x7FFF, 32_767), (0x8001, 60), (0xFFFF, 1_966_020)] as [(UInt16, Int)])
    func `A user timeout is in seconds, or in minutes if its highest bit is set`(field: UInt16, seconds: Int) {
        #expect(TCPOptions { $0.userTimeout = field }.userTimeoutSeconds == seconds)
    }

    // MARK: The short way

    private static func timestampsOnly(_ bytes: RawSpan) -> TCPOptions? {
        var options = TCPOptions()
        return options.readTimestampsOnly(bytes) ? options : nil
    }

    @Test func `Only aligned timestamps alone take the short way`() {
        let timestamps = [UInt8](hex: "0101080a 01020304 05060708")
        #expect(Self.timestampsOnly(timestamps.raw) == TCPOptions(bytes: timestamps))
        for length in 0..<12 {
            #expect(Self.timestampsOnly(timestamps.raw.extracting(0..<length)) == nil)
        }
        #expect(Self.timestampsOnly((timestamps + [1, 1, 1, 1]).raw) == nil)
        for bit in 0..<32 {
            var bytes = timestamps
            bytes[bit / 8] ^= 1 << UInt8(bit % 8)
            #expect(Self.timestampsOnly(bytes.raw) == nil, "bit \(bit)")
        }
    }

    @Test func `The options of a usual SYN are read the short way as the long way reads them, and others are not`() {
        func usualSYN(_ bytes: RawSpan) -> TCPOptions? {
            var options = TCPOptions()
            return options.readUsualSYN(bytes) ? options : nil
        }
        let usual = [UInt8](hex: "020405b4 0402080a 01020304 05060708 01030307")
        #expect(usualSYN(usual.raw) == TCPOptions(bytes: usual))
        for length in 0..<20 { #expect(usualSYN(usual.raw.extracting(0..<length)) == nil) }
        #expect(usualSYN((usual + [1, 1, 1, 1]).raw) == nil)
        for bit in 0..<160 {
            var bytes = usual
            bytes[bit / 8] ^= 1 << UInt8(bit % 8)
            // Either it is declined, or the long way agrees.
            if let options = usualSYN(bytes.raw) { #expect(options == TCPOptions(bytes: bytes), "bit \(bit)") }
        }
    }

    // MARK: Writing

    @Test func `Layouts are those that most stacks send`() {
        var syn = TCPOptions {
            ($0.maximumSegmentSize, $0.windowScale, $0.isSACKPermitted) = (1_460, 7, true)
            ($0.hasTimestamps, $0.timestampValue, $0.timestampEcho) = (true, 0xA1A2_A3A4, 0)
        }
        #expect(syn.written == [UInt8](hex: "020405b4 0402080a a1a2a3a4 00000000 01030307"))
        syn.isSACKPermitted = false
        #expect(syn.written == [UInt8](hex: "020405b4 0101080a a1a2a3a4 00000000 01030307"))
        (syn.isSACKPermitted, syn.hasTimestamps) = (true, false)
        #expect(syn.written == [UInt8](hex: "020405b4 01010402 01030307"))
        var established = TCPOptions { ($0.hasTimestamps, $0.timestampValue, $0.timestampEcho) = (true, 1, 2) }
        #expect(established.written == [UInt8](hex: "0101080a 00000001 00000002"))
        established.sackCount = 2
        established.sackBlocks[0] = SACKBlock(start: SequenceNumber(3), end: SequenceNumber(4))
        established.sackBlocks[1] = SACKBlock(start: SequenceNumber(5), end: SequenceNumber(6))
        #expect(
            established.written
                == [UInt8](hex: "0101080a 00000001 00000002 01010512 00000003 00000004 00000005 00000006"))
        #expect(TCPOptions().written == [])
        #expect(TCPOptions { $0.userTimeout = 90 }.written == [28, 4, 0, 90])
    }

    @Test(arguments: [
        (0, "2202 0101"), (4, "2206 a0a1a2a3 0101"), (6, "2208 a0a1a2a3a4a5"), (8, "220a a0a1a2a3a4a5a6a7 0101"),
        (14, "2210 a0a1a2a3a4a5a6a7a8a9aaabacad"), (16, "2212 a0a1a2a3a4a5a6a7a8a9aaabacadaeaf 0101"),
    ])
    func `A Fast Open cookie is filled with NOPs to four bytes`(length: UInt8, hex: String) {
        let options = TCPOptions {
            $0.fastOpenLength = length
            for index in 0..<Int(length) { $0.fastOpenCookie[index] = 0xA0 + UInt8(index) }
        }
        #expect(options.written == [UInt8](hex: hex))
    }

    @Test func `Options of any values are read as they were written, and nothing behind them is touched`() {
        let seed = UInt64.random(in: 0...UInt64.max)
        var generator = SeededGenerator(seed: seed)
        var written = 0
        while written < 3_000 {
            let options = Self.random(using: &generator)
            guard options.length <= 40 else { continue }
            written += 1
            let bytes = [UInt8](count: 44) { options.write(to: &$0) }
            #expect(options.length.isMultiple(of: 4))
            #expect(TCPOptions(parsing: bytes.raw.extracting(0..<options.length)) == options, "seed \(seed)")
            #expect(bytes[options.length...].allSatisfy { $0 == 0xEE }, "seed \(seed)")
        }
    }

    static func random(using generator: inout SeededGenerator) -> TCPOptions {
        TCPOptions {
            func chance(_ upper: Int) -> Int { Int.random(in: 0...upper, using: &generator) }
            if chance(1) == 0 { $0.maximumSegmentSize = UInt16(chance(65_535)) }
            if chance(1) == 0 { $0.windowScale = UInt8(chance(14)) }
            $0.isSACKPermitted = chance(1) == 0
            if chance(1) == 0 {
                let (value, echo) = (UInt32(chance(0xFFFF_FFFF)), UInt32(chance(0xFFFF_FFFF)))
                ($0.hasTimestamps, $0.timestampValue, $0.timestampEcho) = (true, value, echo)
            }
            if chance(2) == 0 { $0.userTimeout = UInt16(chance(65_535)) }
            if chance(2) == 0 {
                $0.sackCount = UInt8(chance(4))
                for index in 0..<Int($0.sackCount) {
                    $0.sackBlocks[index] = SACKBlock(
                        start: SequenceNumber(UInt32(chance(0xFFFF_FFFF))),
                        end: SequenceNumber(UInt32(chance(0xFFFF_FFFF))))
                }
            }
            if chance(2) == 0 {
                $0.fastOpenLength = [0, 4, 6, 8, 10, 12, 14, 16][chance(7)]
                for index in 0..<Int($0.fastOpenLength) { $0.fastOpenCookie[index] = UInt8(chance(255)) }
            }
        }
    }

    @Test func `There is room for three SACK blocks beside timestamps, and for four without`() {
        #expect(TCPOptions().sackCapacity == 4)
        #expect(TCPOptions { $0.hasTimestamps = true }.sackCapacity == 3)
        let most = TCPOptions {
            ($0.maximumSegmentSize, $0.windowScale, $0.userTimeout, $0.hasTimestamps) = (1, 1, 1, true)
            $0.fastOpenLength = 14
        }
        #expect(most.length == 40)
        #expect(most.sackCapacity == 0)
        for cookie: UInt8 in [0, 4, 6, 8, 10, 12, 14, 16] {
            var options = TCPOptions { $0.fastOpenLength = cookie }
            options.sackCount = UInt8(options.sackCapacity)
            #expect(options.length <= 40 && (options.sackCount == 4 || options.length + 8 > 40))
        }
    }

    @Test func `More options than a header has room for are not written`() async {
        await #expect(processExitsWith: .failure) {
            let options = TCPOptions { ($0.hasTimestamps, $0.sackCount) = (true, 4) }
            _ = [UInt8](count: 60) { options.write(to: &$0) }
        }
    }
}
