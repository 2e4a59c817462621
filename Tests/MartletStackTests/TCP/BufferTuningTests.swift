import Testing

@testable import MartletStack

/// Windows and send buffers that follow what the path carries.
@Suite struct BufferTuningTests {
    /// Sends `total` bytes from the client, of which the server reads at most `reading` each step. Returns the seconds it took,
    /// and the largest send queue.
    static func transfer(_ pair: inout Pair, _ total: Int, reading: Int = .max) -> (seconds: Double, queued: Int) {
        let (client, server) = (pair.clientID!, pair.serverID!)
        let start = pair.now
        let chunk = [UInt8](repeating: 7, count: 1 << 20)
        var (sent, received, queued) = (0, 0, 0)
        repeat {
            while sent < total {
                let count = pair.client.send(client, chunk, from: max(0, chunk.count - (total - sent)))
                if count == 0 { break }
                sent += count
            }
            queued = max(queued, sent - received)
            var left = reading
            while left > 0, received < total {
                let count = pair.server.receive(server) { min($0.byteCount, left) }
                if count == 0 { break }
                (left, received) = (left - count, received + count)
            }
        } while received < total && pair.step(until: LifetimeTests.patience)
        return (Double(pair.now.nanoseconds - start.nanoseconds) / 1e9, queued)
    }

    static func pair(roundTripMilliseconds: Int64, _ limits: TCPLimits) throws -> Pair {
        var pair = Pair(WireConditions(latency: roundTripMilliseconds * 500_000), limits: limits)
        let listener = pair.server.listen(port: 7, backlog: 4)
        pair.clientID = pair.client.connect(from: Pair.clientAddress, to: Pair.serverAddress, port: 7)
        while pair.serverID == nil, pair.step(until: LifetimeTests.patience) {
            pair.serverID = pair.server.accept(listener)
        }
        return pair
    }

    @Test("on a long path the window and the send buffer grow with what is read, up to their limits")
    func grows() throws {
        var limits = TCPLimits()
        limits.ringMemory = 64 << 20
        limits.receiveLimit = 2 << 20
        limits.sendLimit = 3 << 20
        var pair = try Self.pair(roundTripMilliseconds: 100, limits)
        #expect(pair.server.info(of: pair.serverID!)?.rcvSsthresh == 65_536)
        let (seconds, queued) = Self.transfer(&pair, 8 << 20)
        // 64 KiB a round trip would be 12.8 s.
        #expect(seconds < 5, "\(seconds)")
        let info = pair.server.info(of: pair.serverID!)!
        #expect(info.rcvSsthresh == 2 << 20)
        #expect(info.rcvWscale == 6, "the scale is that of the limit")
        #expect(queued > 200_000 && queued <= (3 << 20) + (2 << 20), "\(queued)")
    }

    @Test("who has read all at once gets a ring for as much at once the next time, and who read little a small one")
    func ringOfLastTime() throws {
        var host = Strangers()
        let listener = try host.stack.listen(on: nil, port: Strangers.port)
        let ends = Strangers.ends(1)
        let next = host.handshake(on: ends, options: TCPOptions())
        let accepted = host.stack.accept(listener)
        let id = try #require(accepted)
        var sequence: UInt32 = 1001
        /// So many bytes come in segments of 500, and memory is taken for them.
        func arrive(_ count: Int) -> Int {
            var left = count
            while left > 0 {
                let size = min(left, 500)
                host.send(
                    [.ack], on: ends, sequence: sequence, acknowledgment: next, text: [UInt8](repeating: 1, count: size)
                )
                sequence &+= UInt32(size)
                left -= size
            }
            return host.stack.tcp.ringBytesTaken
        }
        let first = arrive(500)
        #expect(first == 2048)
        _ = arrive(19_500)
        let all = host.stack.receive(id) { $0.byteCount }
        #expect(all == 20_000)
        let none = host.stack.tcp.ringBytesTaken
        #expect(none == 0)
        let second = arrive(500)
        #expect(second == 32_768)
        // A part of what there is says nothing of how much there will be.
        let part = host.stack.receive(id) { _ in 100 }
        #expect(part == 100)
        let rest = host.stack.receive(id) { $0.byteCount }
        #expect(rest == 400)
        let third = arrive(500)
        #expect(third == 2048)
    }

    @Test("who reads little gets no larger window, and what he cannot take stays with the sender")
    func slowReader() throws {
        var pair = try Self.pair(roundTripMilliseconds: 20, TCPLimits())
        _ = Self.transfer(&pair, 200_000, reading: 500)
        #expect(pair.server.info(of: pair.serverID!)?.rcvSsthresh == 65_536)
    }

    @Test("a short path needs no large window")
    func shortPath() throws {
        var pair = try Self.pair(roundTripMilliseconds: 2, TCPLimits())
        _ = Self.transfer(&pair, 100_000, reading: 3000)
        #expect(pair.server.info(of: pair.serverID!)!.rcvSsthresh < 256 << 10)
    }

    @Test("a limit that the user sets is the limit, from the first window on and when it is set later")
    func userLimits() throws {
        var pair = try Self.pair(roundTripMilliseconds: 50, TCPLimits())
        var settings = TCPSettings()
        settings.receiveLimit = 100_000
        settings.sendLimit = 10_000
        #expect(pair.server.set(settings, of: pair.serverID!) == true)
        #expect(pair.client.set(settings, of: pair.clientID!) == true)
        let (_, queued) = Self.transfer(&pair, 1_000_000)
        #expect(pair.server.info(of: pair.serverID!)!.rcvSsthresh <= 100_000)
        #expect(queued <= 20_000)
    }

    @Test(
        "with memory for a few only, all connections get on, and no window is taken back (SHLD-14)",
        arguments: 0..<6 as Range<UInt64>)
    func pressure(seed: UInt64) throws {
        var limits = TCPLimits()
        limits.ringMemory = 256 << 10
        var pair = Pair(WireConditions(lost: seed > 2 ? 10 : 0), limits: limits, seed: seed)
        let listener = pair.server.listen(port: 7, backlog: 32)
        var edges: [Int: UInt32] = [:]
        var shrunk = 0
        var shifts: [Int: UInt32] = [:]
        pair.filter = { side, bytes in
            guard side == .server else { return true }
            func number(_ at: Int) -> UInt32 { (0..<4).reduce(0) { $0 << 8 | UInt32(bytes[at + $1]) } }
            let port = Int(bytes[22]) << 8 | Int(bytes[23])
            if bytes[33] & 2 != 0 {
                shifts[port] = 7
                return true
            }
            let edge = number(28) &+ (UInt32(bytes[34]) << 8 | UInt32(bytes[35])) << (shifts[port] ?? 0)
            if let before = edges[port], Int32(bitPattern: edge &- before) < 0 { shrunk += 1 }
            edges[port] = edge
            return true
        }
        var clients: [ConnectionID] = []
        for _ in 0..<12 {
            clients.append(pair.client.connect(from: Pair.clientAddress, to: Pair.serverAddress, port: 7)!)
        }
        let total = 100_000
        let chunk = [UInt8](repeating: 7, count: total)
        var sent = [Int](repeating: 0, count: clients.count)
        var servers: [ConnectionID] = []
        var received: [ConnectionID: Int] = [:]
        var (steps, fullest) = (0, 0)
        while received.values.reduce(0, +) < total * clients.count, pair.step(until: SilenceTests.hour) {
            steps += 1
            fullest = max(fullest, pair.server.tcp.ringBytesTaken)
            if steps > 200_000 { break }
            while let server = pair.server.accept(listener) { servers.append(server) }
            while pair.client.nextEvent() != nil {}
            while pair.server.nextEvent() != nil {}
            for (index, client) in clients.enumerated() where sent[index] < total {
                sent[index] += pair.client.send(client, chunk, from: sent[index])
            }
            // One reader at a time, and each less often than bytes come.
            guard !servers.isEmpty else { continue }
            let server = servers[steps % servers.count]
            received[server, default: 0] += pair.server.receiveAll(server).count
        }
        for server in servers { received[server, default: 0] += pair.server.receiveAll(server).count }
        let counts = servers.map { received[$0, default: 0] }
        #expect(counts == [Int](repeating: total, count: clients.count), "seed \(seed), \(steps) steps")
        #expect(fullest >= limits.ringMemory / 4 * 3, "memory was never short")
        #expect(shrunk == 0, "seed \(seed)")
    }
}
