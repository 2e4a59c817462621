// Bytes that are written where the ring has room for them, and read where it has them: in two steps each, between which nothing is
// borrowed.

import Testing

@testable import MartletStack

@Suite struct InPlaceTests {
    /// A stack with a connection to itself.
    private struct Loop: ~Copyable {
        var stack: Stack
        var burst: Burst
        var now = Instant(nanoseconds: 1_000_000_000)
        let client: ConnectionID
        let server: ConnectionID
        let pool = FramePool(count: 1024)

        init() throws {
            var stack = Stack.withItself(pool: pool, now: now)
            var burst = pool.makeBurst()
            let listener = stack.listen(port: 7, backlog: 4)
            client = try stack.connect(to: IPAddress("10.0.0.1")!, port: 7)
            var accepted: ConnectionID?
            for _ in 0..<10 where accepted == nil {
                Self.round(&stack, &burst, &now)
                accepted = stack.accept(listener)
            }
            server = accepted!
            self.stack = stack
            self.burst = burst
        }

        private static func round(_ stack: inout Stack, _ burst: inout Burst, _ now: inout Instant) {
            _ = stack.egress(into: &burst, at: now)
            now = now.advanced(byNanoseconds: 50_000)
            stack.advance(to: now)
        }

        mutating func round() { Self.round(&stack, &burst, &now) }

        /// Writes `count` bytes that count up from `next` into room for `capacity`. Returns false if there is none in one run.
        mutating func write(_ count: Int, of capacity: Int, from next: Int) -> Bool {
            let room = unsafe stack.roomToSend(client, capacity)
            guard unsafe !room.isEmpty else { return false }
            #expect(room.count == capacity)
            for index in 0..<count { unsafe room[index] = UInt8(truncatingIfNeeded: next + index) }
            stack.commitSend(client, count)
            return true
        }
    }

    @Test(
        "bytes written and read in place come through whole, wherever the ring ends",
        arguments: [1, 2, 3] as [UInt64])
    func whole(seed: UInt64) throws {
        var generator = SeededGenerator(seed: seed)
        var loop = try Loop()
        var (sent, received, inPlace) = (0, 0, 0)
        while sent < 200_000 {
            let capacity = Int.random(in: 1...3000, using: &generator)
            let count = Int.random(in: 0...capacity, using: &generator)
            if loop.write(count, of: capacity, from: sent) {
                (sent, inPlace) = (sent + count, inPlace + 1)
            } else {
                // As a program would: what does not lie in one run goes by a copy.
                let bytes = (0..<count).map { UInt8(truncatingIfNeeded: sent + $0) }
                sent += unsafe loop.stack.send(loop.client, bytes.span.bytes)
            }
            if Bool.random(using: &generator) { loop.round() }
            let run = unsafe loop.stack.unread(loop.server)
            guard unsafe !run.isEmpty else { continue }
            let taken = Int.random(in: 0...run.count, using: &generator)
            for index in 0..<taken { unsafe #expect(run[index] == UInt8(truncatingIfNeeded: received + index)) }
            loop.stack.consume(taken, of: loop.server)
            received += taken
        }
        #expect(inPlace > 50)
        for _ in 0..<200 where received < sent {
            loop.round()
            var buffer = [UInt8](repeating: 0, count: 1000)
            var span = buffer.mutableSpan
            var raw = unsafe span.mutableBytes
            let count = loop.stack.receive(loop.server, into: &raw)
            for index in 0..<count { #expect(buffer[index] == UInt8(truncatingIfNeeded: received + index)) }
            received += count
        }
        #expect(received == sent)
        // The last ACK may be a delayed one.
        loop.now = loop.now.advanced(byNanoseconds: 500_000_000)
        for _ in 0..<4 { loop.round() }
        let held = loop.stack.tcp.ringBytesTaken
        #expect(held == 0)
    }

    @Test("room that nothing is written into is given back, and of a connection that sends no more there is none")
    func nothing() throws {
        var loop = try Loop()
        let isWritten = loop.write(0, of: 1, from: 0)
        #expect(isWritten)
        let held = loop.stack.tcp.ringBytesTaken
        #expect(held == 0)
        // More than any ring may hold at first.
        let isTooMuch = loop.write(0, of: 1 << 30, from: 0)
        loop.stack.finish(loop.client)
        let isFinished = loop.write(1, of: 1, from: 0)
        #expect(!isTooMuch && !isFinished)
        loop.stack.abort(loop.server)
        let unread = unsafe loop.stack.unread(loop.server)
        unsafe #expect(unread.isEmpty)
    }
}
