import CMartlet
import Glibc
import MartletStack
import Testing

@testable import Martlet

@Suite struct CaptureLinkTests: ReadsCaptures {
    private func withFile(_ body: (String) throws -> Void) throws {
        let path = "/tmp/martlet-capture-\(getpid())-\(UInt64.random(in: 0 ... .max)).pcapng"
        defer { _ = unsafe unlink(path) }
        try body(path)
    }

    @Test(
        "what was captured is handed to the disk a tenth of a second later, if a core sleeps, and the core is woken for it"
    )
    func handsOver() throws {
        try withFile { path in
            let pool = FramePool(count: 64, capacity: 256)
            let file = try CaptureFile(path: path)
            var link = CaptureLink(MemoryLink.loopback("wire", pool: pool), to: file)
            var burst = pool.makeBurst()
            burst.appendNumbered(0..<3)
            #expect(link.transmit(&burst) == 3)
            #expect(link.receive(into: &burst) == 3)
            burst.removeAll()
            let tenth: Int64 = 100_000_000
            // It waits from when it was first seen.
            #expect(file.flushIfDue(now: 5) == 5 + tenth && file.flushIfDue(now: 4 + tenth) == 5 + tenth)
            let sleep = link.prepareToSleep(for: LinkWish())
            link.wokeUp()
            #expect(!sleep.isReady && sleep.deadline == .max && file.flushIfDue(now: 6) == nil)
            burst.appendNumbered(0..<1)
            #expect(link.transmit(&burst) == 1)
            let before = martlet_monotonic_ns()
            #expect(link.prepareToSleep(for: LinkWish()).deadline >= before + tenth)
            link.wokeUp()
            // The writer has it, and nothing else comes.
            file.finish()
            #expect(try blocks(path).count { $0.type == 6 } == 7)
        }
    }

    @Test("what passes is in the file, with its direction, and what was dropped with the reason")
    func captures() throws {
        try withFile { path in
            let pool = FramePool(count: 64, capacity: 256)
            do {
                let file = try CaptureFile(path: path)
                var link = CaptureLink(MemoryLink.loopback("wire", pool: pool, frames: 4), to: file)
                var burst = pool.makeBurst()
                burst.appendNumbered(0..<6, length: 61)
                #expect(link.transmitOrDrop(&burst) == 4)
                #expect(link.counters.transmitted.drops[.ringFull] == 2)
                #expect(link.receive(into: &burst) == 4)
                #expect(burst.takeNumbers() == [0, 1, 2, 3])
                #expect(file.frames == 10 && file.missedFrames == 0)
            }
            let blocks = try blocks(path)
            #expect(blocks.map(\.type) == [0x0A0D_0D0A, 1] + Array(repeating: 6, count: 10) + [5])
            #expect(number(blocks[0].body, 0) == 0x1A2B_3C4D)
            let frames = blocks.filter { $0.type == 6 }.map(\.body)
            for (index, body) in frames.enumerated() {
                #expect(number(body, 12) == 61 && number(body, 16) == 61)
                // The number is behind the Ethernet header, in network byte order; the flags are behind the padded frame.
                #expect(body[20 + 17] == UInt8(index < 6 ? index : index - 6))
                #expect(number(body, 20 + 64) == 4 << 16 | 2)
                #expect(number(body, 20 + 68) == (index < 6 ? 2 : 1))
            }
            for index in 4..<6 { #expect(text(frames[index]).contains("dropped: ringFull")) }
            for index in [0, 3, 6] { #expect(!text(frames[index]).contains("dropped")) }
            #expect(text(blocks[blocks.count - 1].body).contains("2 frames to transmit dropped: ringFull"))
            #expect(text(blocks[1].body).contains("memory:wire"))
        }
    }

    private func text(_ bytes: [UInt8]) -> String { String(decoding: bytes, as: UTF8.self) }

    @Test("what a full ring did not take is in the file once, when it has been taken")
    func takesBack() throws {
        try withFile { path in
            let pool = FramePool(count: 64, capacity: 256)
            do {
                let file = try CaptureFile(path: path)
                var link = CaptureLink(MemoryLink.loopback(pool: pool, frames: 4), to: file)
                var burst = pool.makeBurst()
                var other = pool.makeBurst()
                burst.appendNumbered(0..<6)
                #expect(link.transmit(&burst) == 4)
                #expect(link.transmit(&burst) == 0)
                #expect(file.frames == 4)
                _ = link.receive(into: &other)
                #expect(link.transmit(&burst) == 2)
                #expect(file.frames == 10)
            }
            let numbers = try blocks(path).filter { $0.type == 6 }.map { Int($0.body[20 + 17]) }
            #expect(numbers == [0, 1, 2, 3, 0, 1, 2, 3, 4, 5])
        }
    }

    @Test("while it does not capture nothing is written, and everything passes")
    func off() throws {
        try withFile { path in
            let pool = FramePool(count: 64, capacity: 256)
            do {
                let file = try CaptureFile(path: path)
                var link = CaptureLink(MemoryLink.loopback(pool: pool), to: file, isCapturing: false)
                var burst = pool.makeBurst()
                burst.appendNumbered(0..<6)
                #expect(link.transmit(&burst) == 6 && link.receive(into: &burst) == 6)
                #expect(file.frames == 0)
            }
            #expect(try blocks(path).map(\.type) == [0x0A0D_0D0A, 1, 5])
        }
    }

    @Test("many megabytes go through the buffers whole, and long frames are cut to the snap length")
    func large() throws {
        try withFile { path in
            let pool = FramePool(count: 512, capacity: 2048)
            let rounds = 40
            var written: UInt64 = 0
            do {
                let file = try CaptureFile(path: path, snapLength: 1000)
                var link = CaptureLink(MemoryLink.loopback(pool: pool), to: file)
                var burst = pool.makeBurst(capacity: 256)
                for round in 0..<rounds {
                    burst.appendNumbered(round * 256..<round * 256 + 256, length: 1500)
                    #expect(link.transmit(&burst) == 256)
                    #expect(link.receive(into: &burst) == 256)
                    burst.removeAll()
                }
                #expect(file.frames + file.missedFrames == UInt64(rounds * 512))
                #expect(file.writeError == 0)
                written = file.frames
            }
            let frames = try blocks(path).filter { $0.type == 6 }
            #expect(UInt64(frames.count) == written && written > 0)
            #expect(frames.allSatisfy { number($0.body, 12) == 1000 && number($0.body, 16) == 1500 })
        }
    }

    @Test("a file that cannot be made is an error with its path, and a disk that is full is told")
    func failures() throws {
        #expect(throws: LinkError.self) { _ = try CaptureFile(path: "/nowhere/at/all.pcapng") }
        let file = try CaptureFile(path: "/dev/full")
        let pool = FramePool(count: 64, capacity: 256)
        var link = CaptureLink(MemoryLink.loopback(pool: pool), to: file)
        var burst = pool.makeBurst()
        burst.appendNumbered(0..<6)
        #expect(link.transmit(&burst) == 6)
        file.finish()
        #expect(file.writeError == ENOSPC)
        #expect(link.receive(into: &burst) == 6, "the link goes on")
        burst.removeAll()
    }
}
