// Captures as tshark reads them: that the file is what others take it for, and not only what we think that pcapng is.

import Glibc
import MartletStack
import NetworkRig
import Testing

@testable import Martlet

@Suite(.enabled(if: Rig.runs(with: "tshark"), "\(Rig.whyNot(with: "tshark"))"))
struct CaptureInTsharkTests {
    /// The fields of each frame of a file.
    private func fields(_ path: String, _ names: String...) throws -> [[String]] {
        let options = names.flatMap { ["-e", $0] }
        let command = ["tshark", "-r", path, "-n", "-T", "fields", "-E", "separator=|", "-E", "occurrence=a"]
        // As root it says something about that.
        let output = try Program.run(command + options).output
        return output.split(separator: "\n").map {
            $0.split(separator: "|", omittingEmptySubsequences: false).map(String.init)
        }
    }

    private func withFile(_ body: (String) throws -> Void) throws {
        let path = "/tmp/martlet-tshark-\(getpid())-\(UInt64.random(in: 0 ... .max)).pcapng"
        defer { _ = unsafe unlink(path) }
        try body(path)
    }

    @Test("lengths, cut lengths, interfaces, directions and reasons of drops are where tshark looks for them")
    func lengths() throws {
        try withFile { path in
            let pool = FramePool(count: 64, capacity: 2048)
            do {
                let file = try CaptureFile(path: path, snapLength: 100)
                var link = CaptureLink(MemoryLink.loopback("first", pool: pool, frames: 2), to: file)
                var other = CaptureLink(MemoryLink.loopback("second", pool: pool), to: file)
                var burst = pool.makeBurst()
                burst.appendNumbered(0..<1, length: 60)
                burst.appendNumbered(1..<2, length: 1514)
                burst.appendNumbered(2..<4, length: 61)
                #expect(link.transmitOrDrop(&burst) == 2)
                #expect(link.receive(into: &burst) == 2)
                #expect(other.transmit(&burst) == 2)
            }
            let frames = try fields(
                path, "frame.len", "frame.cap_len", "frame.interface_name", "frame.packet_flags_direction",
                "frame.comment", "eth.type")
            try #require(frames.count == 8)
            #expect(frames.map { $0[0] } == ["60", "1514", "61", "61", "60", "1514", "60", "1514"])
            #expect(frames.map { $0[1] } == ["60", "100", "61", "61", "60", "100", "60", "100"])
            let names = Array(repeating: "memory:first", count: 6) + Array(repeating: "memory:second", count: 2)
            #expect(frames.map { $0[2] } == names)
            // Outbound is 2, inbound 1.
            #expect(frames.map { Int($0[3].drop { $0 == "0" || $0 == "x" }) } == [2, 2, 2, 2, 1, 1, 2, 2])
            #expect(
                frames.map { $0[4].contains("dropped: ringFull") } == [
                    false, false, true, true, false, false, false, false,
                ])
            #expect(frames.allSatisfy { $0[5] == "0x88b5" })
        }
    }

    @Test("a frame's own time is in the file to the nanosecond, and one without has the time of the capture")
    func times() throws {
        try withFile { path in
            let pool = FramePool(count: 64, capacity: 2048)
            do {
                let file = try CaptureFile(path: path)
                var link = CaptureLink(MemoryLink.loopback(pool: pool), to: file)
                var burst = pool.makeBurst()
                burst.appendNumbered(0..<2)
                var index = 0
                burst.changeEach { frame in
                    if index == 0 { frame.timestamp = 1_234_567_890_123_456_789 }
                    index += 1
                }
                // What goes has the time at which it goes, and what comes the time that its link says.
                #expect(link.transmit(&burst) == 2)
                #expect(link.receive(into: &burst) == 2)
            }
            let times = try fields(path, "frame.time_epoch").map { $0[0] }
            try #require(times.count == 4)
            #expect(times[2] == "1234567890.123456789")
            #expect(times[0] == times[1] && times[3] != times[2])
            let second = try #require(Double(times[0]))
            // The file was written to last within a minute of that, as its file system says.
            let written = try Program.run("stat", "-c", "%Y", path).output.filter { $0 != "\n" }
            #expect(abs(try #require(Double(written)) - second) < 60)
        }
    }
}
