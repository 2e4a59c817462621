import MartletSimulation
import Testing

@testable import MartletStack

/// RFC 6191, RFC 1337, and what happens when there are too many.
@Suite struct TimeWaitTests {
    private static func timeWait(hasTimestamps: Bool) -> TimeWait {
        var tcb = TCB()
        tcb.snd.nxt = SequenceNumber(5000)
        tcb.rcv.nxt = SequenceNumber(1000)
        tcb.rcv.edge = SequenceNumber(2000)
        tcb.recentTimestamp = 100
        if hasTimestamps { tcb.flags.insert(.timestamps) }
        return TimeWait(tcb)
    }

    @Test("RFC 6191 §2: which SYN takes over, by timestamps and numbers")
    func admits() {
        // The last number that was seen is 999. What the old and the new one use, the SYN's number and timestamp, and what comes of it.
        for (old, new, sequence, timestamp, isAdmitted) in [
            (true, true, 10, 101, true), (true, true, 10, 100, false), (true, true, 1000, 100, true),
            (true, true, 1000, 99, false), (true, true, 5000, 99, false), (true, true, 10, 100 &+ 1 << 30, true),
            (true, false, 10, 0, false), (true, false, 999, 0, false), (true, false, 1000, 0, true),
            (false, true, 10, 1, true), (false, true, 1000, 1, true),
            (false, false, 999, 0, false), (false, false, 1000, 0, true), (false, false, 1 << 31, 0, true),
        ] as [(Bool, Bool, UInt32, UInt32, Bool)] {
            var options = TCPOptions()
            options.hasTimestamps = new
            options.timestampValue = timestamp
            let syn = Segment(sequence: SequenceNumber(sequence), flags: [.syn], options: options)
            #expect(
                Self.timeWait(hasTimestamps: old).admits(syn) == isAdmitted,
                "timestamps \(old) and \(new), number \(sequence), timestamp \(timestamp)")
        }
    }

    /// A stack whose `count` connections to a listener's strangers are in TIME-WAIT, and released.
    private static func host(
        _ numbers: Range<UInt32>, _ limits: TCPLimits = TCPLimits(), options: TCPOptions = TCPOptions()
    ) throws -> Strangers {
        var host = Strangers(limits)
        let listener = try host.stack.listen(on: nil, port: Strangers.port)
        host.listener = listener
        for number in numbers { close(number, &host, listener, options) }
        return host
    }

    /// Opens, and closes: our side first.
    private static func close(
        _ number: UInt32, _ host: inout Strangers, _ listener: ListenerID, _ options: TCPOptions = TCPOptions()
    ) {
        let ends = Strangers.ends(number)
        let next = host.handshake(on: ends, options: options)
        guard let id = host.stack.accept(listener) else { return }
        host.stack.release(id)
        host.settle()
        host.send([.fin, .ack], on: ends, sequence: 1001, acknowledgment: next &+ 1)
        while host.stack.nextEvent() != nil {}
        host.wait(.milliseconds(100))
    }

    @Test("when there are too many, the oldest goes, and is counted")
    func recycled() throws {
        var limits = TCPLimits()
        limits.timeWaits = 3
        limits.connections = 1
        var host = try Self.host(0..<5, limits)
        #expect(host.stack.connectionCount == 0 && host.stack.tcp.timeWaitCount == 3)
        #expect(host.stack.counters.tcp.timeWaitsRecycled == 2)
        // An ACK of what was never sent is challenged in TIME-WAIT; of those that have gone, reset.
        let answers = (0..<5 as Range<UInt32>).map { number in
            host.send([.ack], on: Strangers.ends(number), sequence: 1002, acknowledgment: 77).first?.segment.flags
        }
        #expect(answers == [[.rst], [.rst], [.ack], [.ack], [.ack]])
    }

    @Test("the ACK of the peer's FIN goes though its connection, which was released, has given its TCB back")
    func lastAck() throws {
        for options in [TCPOptions(), Strangers.usualOptions] {
            var host = Strangers()
            let listener = try host.stack.listen(on: nil, port: Strangers.port)
            let ends = Strangers.ends(0)
            let next = host.handshake(on: ends, options: options)
            let accepted = host.stack.accept(listener)
            host.stack.release(try #require(accepted))
            host.settle()
            var stamps = TCPOptions()
            stamps.hasTimestamps = options.hasTimestamps
            stamps.timestampValue = 1500
            let answer = host.send(
                [.fin, .ack], on: ends, sequence: 1001, acknowledgment: next &+ 1, options: stamps)
            #expect(host.stack.connectionCount == 0 && host.stack.tcp.timeWaitCount == 1)
            try #require(answer.count == 1)
            let ack = answer[0].segment
            #expect(ack.flags == [.ack] && ack.sequence.bits == next &+ 1 && ack.acknowledgment.bits == 1002)
            #expect(ack.window > 0 && ack.options.hasTimestamps == options.hasTimestamps)
            if options.hasTimestamps { #expect(ack.options.timestampEcho == 1500) }
        }
    }

    @Test("a peer whose last ACK was lost gets it again, and the time begins anew")
    func finAgain() throws {
        var host = try Self.host(0..<1)
        host.wait(.seconds(50))
        let answer = host.send([.fin, .ack], on: Strangers.ends(0), sequence: 1001, acknowledgment: 77)
        #expect(answer.map { $0.segment.flags } == [[.ack]])
        #expect(answer.first?.segment.acknowledgment.bits == 1002)
        host.wait(.seconds(59))
        #expect(host.stack.tcp.timeWaitCount == 1)
        host.wait(.seconds(2))
        #expect(host.stack.tcp.timeWaitCount == 0)
    }

    @Test("RFC 1337: no reset ends TIME-WAIT")
    func assassination() throws {
        var host = try Self.host(0..<1)
        for sequence in 990..<1100 as Range<UInt32> {
            host.send([.rst], on: Strangers.ends(0), sequence: sequence)
            host.send([.rst, .ack], on: Strangers.ends(0), sequence: sequence, acknowledgment: 1)
        }
        #expect(host.stack.tcp.timeWaitCount == 1)
    }

    @Test(
        "MAY-2: a newer SYN opens a connection whose number is above all of the old one's, held by its user or not",
        arguments: [true, false])
    func takenOver(isReleased: Bool) throws {
        var host = Strangers()
        let listener = try host.stack.listen(on: nil, port: Strangers.port)
        let ends = Strangers.ends(0)
        let first = host.handshake(on: ends, options: TCPOptions())
        let accepted = host.stack.accept(listener)
        let id = try #require(accepted)
        // Faster than the clock of initial numbers.
        let data = [UInt8](repeating: 1, count: 50_000)
        var (sent, acknowledged) = (0, first)
        while acknowledged &- first < 50_000 {
            sent += host.stack.send(id, data, from: sent)
            host.settle()
            let end = host.sent.map { ($0.segment.sequence + $0.text.count).bits }.max {
                Int32(bitPattern: $0 &- $1) < 0
            }
            acknowledged = try #require(end)
            host.send([.ack], on: ends, sequence: 1001, acknowledgment: acknowledged)
        }
        host.stack.finish(id)
        if isReleased { host.stack.release(id) }
        host.settle()
        host.send([.fin, .ack], on: ends, sequence: 1001, acknowledgment: acknowledged &+ 1)
        #expect(host.stack.tcp.timeWaitCount == (isReleased ? 1 : 0))
        let answer = host.send(.syn, on: ends, sequence: 1002)
        #expect(answer.map { $0.segment.flags } == [[.syn, .ack]])
        let number = try #require(answer.first).segment.sequence
        #expect(number > SequenceNumber(acknowledged &+ 1))
        #expect(host.stack.counters.tcp.timeWaitsReused == 1 && host.stack.tcp.timeWaitCount == 0)
        host.send([.ack], on: ends, sequence: 1003, acknowledgment: number.bits &+ 1)
        let next = host.stack.accept(listener)
        #expect(next.map { host.stack.state(of: $0) } == .established)
        #expect(host.stack.state(of: id) == .closed)
    }

    @Test("a SYN that is not newer is challenged, and so is one that nobody listens for")
    func refused() throws {
        var host = try Self.host(0..<1, options: Strangers.usualOptions)
        let old = host.send(.syn, on: Strangers.ends(0), sequence: 900)
        #expect(old.map { $0.segment.flags } == [[.ack]])
        host.wait(.seconds(1))
        host.stack.close(host.listener!)
        var options = Strangers.usualOptions
        options.timestampValue = 5000
        let unheard = host.send(.syn, on: Strangers.ends(0), sequence: 5000, options: options)
        #expect(unheard.map { $0.segment.flags } == [[.ack]])
        #expect(host.stack.tcp.timeWaitCount == 1)
    }

    @Test("connect takes a port in TIME-WAIT again, ten milliseconds later, and with a greater number")
    func reopened() throws {
        var limits = TCPLimits()
        (limits.firstPort, limits.lastPort) = (50_000, 50_000)
        var pair = Pair(limits: limits)
        let listener = pair.server.listen(port: 7, backlog: 8)
        var last = SequenceNumber(0)
        do {
            let client = try pair.client.connect(to: Pair.serverAddress, port: 7)
            pair.rest(until: pair.now + .milliseconds(50))
            let accepted = pair.server.accept(listener)
            let server = try #require(accepted)
            pair.client.finish(client)
            pair.rest(until: pair.now + .milliseconds(50))
            pair.server.release(server)
            pair.rest(until: pair.now + .milliseconds(50))
            let numbers = pair.client.tcp.numbers(of: client)
            last = try #require(numbers).1
            pair.client.advance(to: pair.now)
            pair.client.release(client)
            while pair.client.nextEvent() != nil {}
            while pair.server.nextEvent() != nil {}
            #expect(pair.client.tcp.timeWaitCount == 1)
        }
        pair.rest(until: pair.now + .milliseconds(9))
        pair.client.advance(to: pair.now)
        #expect(throws: ConnectError.noPort) { try pair.client.connect(to: Pair.serverAddress, port: 7) }
        pair.rest(until: pair.now + .milliseconds(1))
        pair.client.advance(to: pair.now)
        let client = try pair.client.connect(to: Pair.serverAddress, port: 7)
        let numbers = pair.client.tcp.numbers(of: client)
        let (_, number) = try #require(numbers)
        #expect(number > last)
        #expect(pair.client.counters.tcp.timeWaitsReused == 1 && pair.client.tcp.timeWaitCount == 0)
        pair.rest(until: pair.now + .milliseconds(50))
        #expect(pair.client.state(of: client) == .established)
        #expect(pair.server.accept(listener) != nil)
    }
}
