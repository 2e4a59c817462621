// The capture file, block by block and byte by byte; and what other programs read in it, where they are installed.

import Glibc
import MartletSimulation
import MartletStack
import Testing

@Suite struct CaptureTests {
    static func number(_ bytes: ArraySlice<UInt8>) -> UInt64 { bytes.reversed().reduce(0) { $0 << 8 | UInt64($1) } }

    /// The blocks of a file, each checked for its two lengths.
    static func blocks(_ bytes: [UInt8]) throws -> [[UInt8]] {
        var blocks: [[UInt8]] = []
        var offset = 0
        while offset < bytes.count {
            try #require(offset + 12 <= bytes.count)
            let length = Int(number(bytes[offset + 4..<offset + 8]))
            try #require(length >= 12 && length % 4 == 0 && offset + length <= bytes.count)
            #expect(Int(number(bytes[offset + length - 4..<offset + length])) == length)
            blocks.append(Array(bytes[offset..<offset + length]))
            offset += length
        }
        return blocks
    }

    @Test func `An empty capture is a section header`() {
        #expect(
            Capture(application: "abc").bytes == [
                0x0A, 0x0D, 0x0D, 0x0A, 40, 0, 0, 0, 0x4D, 0x3C, 0x2B, 0x1A, 1, 0, 0, 0,
                0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF,
                4, 0, 3, 0, 0x61, 0x62, 0x63, 0, 0, 0, 0, 0, 40, 0, 0, 0,
            ])
    }

    @Test func `Interfaces say their names, types and nanoseconds`() throws {
        var capture = Capture()
        #expect(capture.addInterface("eth0", framing: .ethernet) == 0)
        #expect(capture.addInterface("a", framing: .ip) == 1)
        let blocks = try Self.blocks(capture.bytes)
        try #require(blocks.count == 3)
        #expect(
            blocks[1] == [
                1, 0, 0, 0, 40, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 2, 0, 4, 0, 0x65, 0x74, 0x68, 0x30,
                9, 0, 1, 0, 9, 0, 0, 0, 0, 0, 0, 0, 40, 0, 0, 0,
            ])
        #expect(blocks[2][8..<10] == [101, 0])
    }

    @Test func `A frame without comment and direction has no options`() throws {
        var capture = Capture()
        let interface = capture.addInterface("a", framing: .ip)
        capture.append([1, 2, 3, 4, 5], at: Instant(nanoseconds: 0x1_0000_0002), interface: interface)
        let block = try #require(try Self.blocks(capture.bytes).last)
        #expect(
            block == [
                6, 0, 0, 0, 40, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 2, 0, 0, 0, 5, 0, 0, 0, 5, 0, 0, 0,
                1, 2, 3, 4, 5, 0, 0, 0, 40, 0, 0, 0,
            ])
    }

    @Test(arguments: [(Capture.Direction.inbound, UInt8(1)), (.outbound, 2)])
    func `A comment and a direction are options behind the frame`(direction: Capture.Direction, flag: UInt8) throws {
        var capture = Capture()
        _ = capture.addInterface("a", framing: .ip)
        let second = capture.addInterface("b", framing: .ip)
        capture.append(
            [7, 7, 7, 7], at: .zero, interface: second, direction: direction,
            comment: VirtualNetwork.Drop.queue.rawValue)
        let block = try #require(try Self.blocks(capture.bytes).last)
        #expect(block[8] == 1)
        let comment: [UInt8] = [1, 0, 10, 0] + Array("queue full".utf8) + [0, 0]
        let flags: [UInt8] = [2, 0, 4, 0, flag, 0, 0, 0]
        let end: [UInt8] = [0, 0, 0, 0, 64, 0, 0, 0]
        #expect(Array(block[32...]) == comment + flags + end)
    }

    @Test(arguments: 0..<9)
    func `Frames and comments of any length keep blocks a multiple of four`(length: Int) throws {
        var capture = Capture()
        _ = capture.addInterface(String(repeating: "x", count: length), framing: .ip)
        let frame = [UInt8](repeating: 0xEE, count: length)
        for comment in 0..<5 {
            capture.append(frame, at: .zero, interface: 0, comment: String(repeating: "c", count: comment))
        }
        let blocks = try Self.blocks(capture.bytes)
        #expect(blocks.count == 7)
        for block in blocks[2...] { #expect(Array(block[28..<28 + length]) == frame) }
    }

    @Test func `A comment too long is cut before the character that does not fit`() throws {
        var capture = Capture()
        _ = capture.addInterface("a", framing: .ip)
        capture.append([], at: .zero, interface: 0, comment: "a" + String(repeating: "é", count: 40_000))
        let block = try #require(try Self.blocks(capture.bytes).last)
        let length = Int(Self.number(block[30..<32]))
        #expect(length == 65_535)
        #expect(String(validating: block[32..<32 + length], as: UTF8.self)?.count == 32_768)
        capture.append([], at: .zero, interface: 0, comment: String(repeating: "é", count: 40_000))
        let even = try #require(try Self.blocks(capture.bytes).last)
        #expect(Self.number(even[30..<32]) == 65_534)
    }

    @Test func `Instants before the origin are written as the origin, and late ones whole`() throws {
        var capture = Capture()
        _ = capture.addInterface("a", framing: .ip)
        for instant in [Instant(nanoseconds: -5), .distantFuture] { capture.append([], at: instant, interface: 0) }
        let blocks = try Self.blocks(capture.bytes)
        #expect(blocks[2][12..<20] == [0, 0, 0, 0, 0, 0, 0, 0])
        #expect(blocks[3][12..<20] == [0xFF, 0xFF, 0xFF, 0x7F, 0xFF, 0xFF, 0xFF, 0xFF])
    }

    @Test func `Beyond its limit a capture counts what it leaves out`() throws {
        var capture = Capture(byteLimit: 400)
        _ = capture.addInterface("a", framing: .ip)
        for _ in 0..<20 { capture.append([UInt8](repeating: 0, count: 60), at: .zero, interface: 0) }
        #expect(capture.bytes.count <= 400)
        #expect(capture.frameCount == 3)
        #expect(capture.omittedCount == 17)
        #expect(try Self.blocks(capture.bytes).count == 5)
        // A shorter one may still fit.
        capture.append([], at: .zero, interface: 0)
        #expect(capture.frameCount == 4)
    }

    @Test func `A path that cannot be written is an error that names it`() {
        let capture = Capture()
        #expect(throws: FileError(path: "/nowhere/at/all.pcapng", code: ENOENT)) {
            try capture.write(toFile: "/nowhere/at/all.pcapng")
        }
        #expect(FileError(path: "/x", code: ENOENT).description == "/x: No such file or directory")
        #expect(throws: FileError(path: "/dev/full", code: ENOSPC)) { try capture.write(toFile: "/dev/full") }
    }

    @Test func `A file is written whole, and replaces what was there`() throws {
        let path = OtherPrograms.temporaryPath("capture")
        defer { unsafe unlink(path) }
        var capture = Capture()
        _ = capture.addInterface("a", framing: .ip)
        capture.append([UInt8](repeating: 3, count: 100_000), at: .zero, interface: 0)
        try capture.write(toFile: path)
        #expect(OtherPrograms.contents(of: path) == capture.bytes)
        try Capture().write(toFile: path)
        #expect(OtherPrograms.contents(of: path) == Capture().bytes)
    }

    @Test(.enabled(if: OtherPrograms.has("tshark"), "tshark is not installed"))
    func `tshark reads times, comments, directions and interfaces`() throws {
        let path = OtherPrograms.temporaryPath("tshark")
        defer { unsafe unlink(path) }
        var capture = Capture()
        let one = capture.addInterface("left", framing: .ethernet)
        let other = capture.addInterface("right", framing: .ip)
        let packet = CongestionTests.ipv4(typeOfService: 2)
        capture.append(
            CongestionTests.ethernetHeader + [8, 0] + packet, at: Instant(nanoseconds: 1_000_000_007), interface: one,
            direction: .outbound, comment: "lost on the link")
        capture.append(packet, at: Instant(nanoseconds: 2_000_000_001), interface: other, direction: .inbound)
        try capture.write(toFile: path)
        let text = OtherPrograms.output(
            of: "tshark -r \(path) -T fields -E separator=/t -e frame.time_epoch -e frame.interface_name "
                + "-e frame.packet_flags_direction -e frame.comment -e ip.src")
        let lines = text.split(separator: "\n").map { $0.split(separator: "\t", omittingEmptySubsequences: false) }
        try #require(lines.count == 2, "\(text)")
        #expect(lines[0][0].contains("1.000000007") || lines[0][0].contains("01.000000007"), "\(text)")
        #expect(lines[0][1] == "left" && lines[1][1] == "right")
        #expect(lines[0][2].hasSuffix("2") && lines[1][2].hasSuffix("1"), "\(text)")
        #expect(lines[0][3] == "lost on the link" && lines[1][3].isEmpty)
        #expect(lines[0][4] == "10.0.0.1" && lines[1][4] == "10.0.0.1")
    }
}
