import Testing

@testable import MartletStack

/// RFC 9293 §3.8.5 and RFC 6093: the urgent mark.
@Suite struct UrgentTests {
    @Test(
        "MUST-30, MUST-33, MUST-62: the mark is where the pointer says, and bytes are read in their order (RFC 6093 §6)"
    )
    func received() throws {
        try ScriptRunner.play(
            ScriptTests.accepted + """
                +0 < UP. 1:101(100) ack 1 win 65535 urg 50
                +0 > . 1:1(0) ack 101
                +0 %{ urgent == 50 }%
                +0 read(20) = 20
                +0 %{ urgent == 30 }%
                +0 read(30) = 30
                +0 %{ urgent == 0 }%
                +0 read(1000) = 50
                // A pointer to what has been read already, and one to what has not come yet.
                +0 < U. 101:101(0) ack 1 win 65535 urg 0
                +0 %{ urgent == 0 }%
                +0 < U. 101:101(0) ack 1 win 65535 urg 65535
                +0 %{ urgent == 65535 }%
                +0 < UP. 101:111(10) ack 1 win 65535 urg 5
                +0 > . 1:1(0) ack 111
                +0 %{ urgent == 65535 }%
                +0 read(1000) = 10
                +0 %{ urgent == 65525 }%
                """)
    }

    @Test("MUST-66: a mark counts with a closed window too, and is not taken from outside of an open one")
    func closedWindow() throws {
        try ScriptRunner.play(
            """
            0 setsockopt(SO_RCVBUF, 536) = 0
            +0 listen() = 0
            +0 < S 0:0(0) win 65535
            +0 > S. 0:0(0) ack 1 win 536 <...>
            +.1 < . 1:1(0) ack 1 win 65535
            +0 accept() = 0
            +0 < UP. 1001:1101(100) ack 1 win 65535 urg 9
            +0 > . 1:1(0) ack 1
            +0 %{ urgent == 0 }%
            +0 < P. 1:537(536) ack 1 win 65535
            +0 > . 1:1(0) ack 537 win 0
            +0 < UP. 537:547(10) ack 1 win 65535 urg 10
            +0 > . 1:1(0) ack 537 win 0
            +0 %{ urgent == 546 }%
            """)
    }

    @Test("MUST-32: the user hears when a mark comes and each time it goes ahead, and of none that is old")
    func told() throws {
        var pair = try LifetimeTests.established()
        let (client, server) = (pair.clientID!, pair.serverID!)
        func pass(_ pair: inout Pair) -> Bool {
            LifetimeTests.events(&pair, .server, until: pair.now.advanced(by: .seconds(1))).contains(.urgent)
        }
        #expect(pair.client.sendUrgent(client, [1, 2, 3]) == 3)
        #expect(pass(&pair) == true)
        #expect(pair.server.urgentCount(of: server) == 3)
        #expect(pair.client.send(client, [4, 5]) == 2)
        #expect(pass(&pair) == false)
        #expect(pair.client.sendUrgent(client, [6]) == 1)
        #expect(pass(&pair) == true)
        #expect(pair.server.urgentCount(of: server) == 6)
        #expect(pair.server.receiveAll(server) == [1, 2, 3, 4, 5, 6])
        #expect(pair.server.urgentCount(of: server) == nil)
        #expect(pair.client.send(client, [7]) == 1)
        #expect(pass(&pair) == false)
    }

    @Test("MUST-31: there may be more urgent bytes than a pointer can count", arguments: 0..<4 as Range<UInt64>)
    func long(seed: UInt64) throws {
        var pair = try LifetimeTests.established(seed: seed)
        pair.conditions = WireConditions(lost: Int(seed) * 20, late: Int(seed) * 20)
        let (client, server) = (pair.clientID!, pair.serverID!)
        let data = (0..<300_000).map { UInt8(truncatingIfNeeded: $0 &* 7 >> 2) }
        var sent = 0
        var received: [UInt8] = []
        var mark = 0
        repeat {
            if sent < 200_000 {
                sent += unsafe pair.client.sendUrgent(client, data[sent..<200_000].span.bytes)
            } else if sent < data.count {
                sent += pair.client.send(client, data, from: sent)
            }
            if let ahead = pair.server.urgentCount(of: server) {
                #expect(received.count + ahead >= mark, "seed \(seed): the mark went back")
                mark = received.count + ahead
            }
            received += pair.server.receiveAll(server)
        } while received.count < data.count && pair.step(until: LifetimeTests.patience)
        let isIntact = received == data
        #expect(isIntact, "seed \(seed)")
        #expect(mark == 200_000, "seed \(seed)")
    }

    @Test("segments before the mark have the flag and a pointer to it, those behind it have neither")
    func onTheWire() throws {
        var pair = try LifetimeTests.established()
        let client = pair.clientID!
        var pointers: [(flagged: Bool, pointer: Int, length: Int)] = []
        pair.filter = { side, bytes in
            if side == .client {
                let header = 20 + Int(bytes[32] >> 4) * 4
                pointers.append((bytes[33] & 0x20 != 0, Int(bytes[38]) << 8 | Int(bytes[39]), bytes.count - header))
            }
            return true
        }
        #expect(pair.client.sendUrgent(client, [UInt8](repeating: 1, count: 2000)) == 2000)
        #expect(pair.client.send(client, [UInt8](repeating: 2, count: 2344)) == 2344)
        while pair.step(until: pair.now.advanced(by: .seconds(1))) {}
        #expect(pointers.map(\.length) == [1448, 1448, 1448])
        #expect(pointers.map(\.flagged) == [true, true, false])
        #expect(pointers.map(\.pointer) == [2000, 552, 0])
    }

    @Test("a mark reaches a peer whose window is closed, at once")
    func beyondTheWindow() throws {
        var pair = try SilenceTests.stuffed()
        let (client, server) = (pair.clientID!, pair.serverID!)
        #expect(pair.client.sendUrgent(client, [9]) == 1)
        _ = LifetimeTests.events(&pair, .server, until: pair.now.advanced(byNanoseconds: 50_000_000))
        #expect(pair.server.urgentCount(of: server) == 50_001)
        #expect(pair.server.receiveAll(server).count == 8192)
    }
}

extension Stack {
    mutating func sendUrgent(_ id: ConnectionID, _ bytes: [UInt8]) -> Int { unsafe sendUrgent(id, bytes.span.bytes) }
}
