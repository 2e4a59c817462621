import Testing

@testable import MartletStack

/// Who gets a call, who may listen, and what the end of a listener does.
@Suite struct ListenersTests {
    private static func settings(backlog: Int = 8) -> ListenerSettings {
        var settings = ListenerSettings()
        settings.backlog = backlog
        return settings
    }

    @Test("who names an address goes before all of its family, and those before all of both, in any order of opening")
    func mostSpecific() throws {
        let addresses = ["192.168.0.1", "192.168.0.2", "2001:db8::1", "2001:db8::2"]
        let named: [IPAddress?] = [
            IPAddress("192.168.0.1"), IPAddress("2001:db8::1"), .v4(.any), .v6(.any), nil,
        ]
        for rotation in 0..<named.count {
            var host = Strangers(addresses: addresses)
            var ids: [Int: ListenerID] = [:]
            for offset in 0..<named.count {
                let index = (offset + rotation) % named.count
                ids[index] = try host.stack.listen(on: named[index], port: Strangers.port, Self.settings())
            }
            // The first is named; the second is one of its family; and without the family's, of both.
            for (number, address) in addresses.enumerated() {
                host.handshake(on: Strangers.ends(UInt32(number), to: address))
            }
            let accepted = (0..<named.count).map { host.stack.accept(ids[$0]!) != nil }
            #expect(accepted == [true, true, true, true, false], "opened from \(rotation) on")
            host.stack.close(ids[2]!)
            host.stack.close(ids[3]!)
            for number in [1, 3] { host.handshake(on: Strangers.ends(UInt32(10 + number), to: addresses[number])) }
            for _ in 0..<2 {
                let one = host.stack.accept(ids[4]!)
                #expect(one != nil)
            }
        }
    }

    @Test("one address and port has one listener; port 0 is one that is free; and a closed one can be had again")
    func inUse() throws {
        var limits = TCPLimits()
        limits.listeners = 3
        var host = Strangers(limits)
        let first = try host.stack.listen(on: .v4(.any), port: 80)
        #expect(throws: ListenError.inUse) { try host.stack.listen(on: .v4(.any), port: 80) }
        _ = try host.stack.listen(on: .v6(.any), port: 80)
        let third = try host.stack.listen(on: nil, port: 0)
        let chosen = host.stack.endpoint(of: third)
        #expect(chosen.map { $0.address == .v6(.any) && $0.port >= 49_152 } == true)
        #expect(throws: ListenError.noListener) { try host.stack.listen(on: nil, port: 81) }
        host.stack.close(first)
        let gone = host.stack.endpoint(of: first)
        #expect(gone == nil)
        let again = try host.stack.listen(on: .v4(.any), port: 80)
        #expect(again != first)
        // The old name names nothing.
        host.stack.close(first)
        let accepted = host.stack.accept(first)
        #expect(accepted == nil && host.stack.tcp.listenerCount == 3)
    }

    @Test("a stack tells once a round who has connections to accept; they come in the order of their handshakes")
    func news() throws {
        var host = Strangers()
        let one = try host.stack.listen(on: .v4(.any), port: Strangers.port)
        let other = try host.stack.listen(on: .v6(.any), port: Strangers.port)
        #expect(host.stack.tcp.nextListener() == nil)
        for number in [3, 1, 2] as [UInt32] { host.handshake(on: Strangers.ends(number)) }
        host.handshake(on: Strangers.ends(9, to: "2001:db8::1"))
        let told = [host.stack.tcp.nextListener(), host.stack.tcp.nextListener(), host.stack.tcp.nextListener()]
        #expect(told == [one, other, nil])
        let order = (0..<3).map { _ in
            host.stack.accept(one).flatMap { host.stack.tcp.numbers(of: $0)?.0.remoteAddress }
        }
        #expect(order == [3, 1, 2].map { Strangers.ends($0).remoteAddress })
        #expect(host.stack.accept(one) == nil)
        // One that has been emptied meanwhile is not told.
        host.handshake(on: Strangers.ends(4))
        _ = host.stack.accept(one)
        #expect(host.stack.tcp.nextListener() == nil)
    }

    @Test("nothing is heard of a connection before it is accepted, and then all of it")
    func eventsWait() throws {
        var host = Strangers()
        let listener = try host.stack.listen(on: nil, port: Strangers.port)
        let ends = Strangers.ends(1)
        let number = host.handshake(on: ends, options: TCPOptions(), text: [1, 2, 3])
        host.send([.fin, .ack], on: ends, sequence: 1004, acknowledgment: number)
        let early = host.stack.nextConnectionEvent()
        #expect(early == nil)
        let accepted = host.stack.accept(listener)
        let id = try #require(accepted)
        let event = host.stack.nextConnectionEvent()
        #expect(event?.0 == id)
        #expect(event?.1 == [.established, .readable, .finished])
        #expect(host.stack.receiveAll(id) == [1, 2, 3])
        #expect(host.stack.state(of: id) == .closeWait)
    }

    @Test("the end of a listener forgets handshakes, resets who was not accepted, and lets the others be")
    func closing() throws {
        var host = Strangers()
        let listener = try host.stack.listen(on: nil, port: Strangers.port, Self.settings())
        let numbers = (0..<3 as Range<UInt32>).map { host.handshake(on: Strangers.ends($0)) }
        let accepted = host.stack.accept(listener)
        let kept = try #require(accepted)
        let half = host.send(.syn, on: Strangers.ends(5), sequence: 1000)
        #expect(host.stack.tcp.halfOpenCount == 1 && half.count == 1)
        host.sent = []
        host.stack.close(listener)
        host.settle()
        #expect(host.sent.allSatisfy { $0.segment.flags == [.rst, .ack] })
        #expect(host.sent.map { $0.segment.sequence.bits } == Array(numbers.dropFirst()))
        // Their user has never known them.
        let events = [host.stack.nextConnectionEvent()?.0, host.stack.nextConnectionEvent()?.0]
        #expect(events == [kept, nil])
        #expect(host.stack.connectionCount == 1 && host.stack.tcp.halfOpenCount == 0)
        #expect(host.stack.state(of: kept) == .established)
        // Who was half-way there, and who comes now, finds nobody.
        let late = host.send(
            [.ack], on: Strangers.ends(5), sequence: 1001, acknowledgment: half[0].segment.sequence.bits &+ 1)
        #expect(late.map { $0.segment.flags } == [[.rst]])
        let new = host.send(.syn, on: Strangers.ends(6), sequence: 1)
        #expect(new.map { $0.segment.flags } == [[.rst, .ack]])
        #expect(host.stack.tcp.settingsCount == 1)
    }

    @Test("connections that nobody has accepted go with their listener, also if their news was passed over before")
    func closingAfterNews() throws {
        var host = Strangers()
        let listener = try host.stack.listen(on: nil, port: Strangers.port)
        for number in 0..<3 as Range<UInt32> {
            host.handshake(on: Strangers.ends(number), options: TCPOptions(), text: [1, 2, 3])
        }
        let early = host.stack.nextConnectionEvent()
        #expect(early == nil && host.stack.connectionCount == 3)
        host.stack.close(listener)
        host.settle()
        let late = host.stack.nextConnectionEvent()
        #expect(late == nil && host.stack.connectionCount == 0)
    }

    @Test("a full accept queue holds connections up and loses no byte: the peer's next segment completes them")
    func fullAcceptQueue() throws {
        var pair = Pair()
        let listener = pair.server.listen(port: 7, backlog: 2)
        var clients: [ConnectionID] = []
        for number in 0..<5 as Range<UInt8> {
            let id = pair.client.connect(from: Pair.clientAddress, to: Pair.serverAddress, port: 7)!
            clients.append(id)
            #expect(pair.client.send(id, [number, number, number]) == 3)
        }
        pair.rest(until: pair.now + .seconds(2))
        #expect(pair.server.connectionCount == 2)
        #expect(pair.server.counters.tcp.listenOverflows > 0)
        // Now one a second is accepted.
        var bytes: Set<[UInt8]> = []
        for _ in 0..<60 where bytes.count < 5 {
            if let id = pair.server.accept(listener) { bytes.insert(pair.server.receiveAll(id)) }
            pair.rest(until: pair.now + .seconds(1))
        }
        #expect(bytes == Set((0..<5 as Range<UInt8>).map { [$0, $0, $0] }))
        for id in clients { #expect(pair.client.state(of: id) == .established) }
    }
}
