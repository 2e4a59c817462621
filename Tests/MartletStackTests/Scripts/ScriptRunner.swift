// Plays a packet script to a stack, in virtual time: what the script injects arrives, what it expects must be what the stack sends
// next, and when.

import MartletSimulation

@testable import MartletStack

/// A script that did not go as it says.
struct ScriptFailure: Error, CustomStringConvertible {
    let description: String
}

struct ScriptRunner: ~Copyable {
    private var stack: Stack
    private let pool = FramePool(count: 256)
    private var now = Instant.zero
    private var local: SegmentBytes.Endpoint
    private var remote: SegmentBytes.Endpoint
    /// What the stack has sent and the script has not yet expected.
    private var sent: [(at: Instant, bytes: [UInt8])] = []
    private var listener: ListenerID?
    private var connection: ConnectionID?
    /// What setsockopt has said so far.
    private var settings = TCPSettings()
    private var listening = ListenerSettings()
    /// A SYN that may carry data waits for the first write, as with TCP_FASTOPEN_CONNECT.
    private var isDeferred = false
    private var written: UInt32 = 1
    private var read: UInt32 = 1

    /// An exact time may be missed by the tick of the timer wheel, and an inexact one by what a script's author rounds.
    private static let tolerance: Int64 = 1_000_000

    init(_ limits: TCPLimits = TCPLimits(), remoteSequence: UInt32 = 0xffff_ff00, isIPv6: Bool = false) {
        let address = IPAddress(isIPv6 ? "2001:db8::1" : "192.168.0.1")!
        local = .init(address: address, port: 8080, initialSequence: 0)
        remote = .init(
            address: IPAddress(isIPv6 ? "2001:db8::2" : "192.0.2.1")!, port: 40_000, initialSequence: remoteSequence)
        // A route to everywhere, without a router: there are no link addresses.
        let interface = InterfaceConfiguration(.ip, addresses: [InterfaceAddress(address, prefixLength: 0)])
        stack = Stack(
            [interface], limits: StackLimits(tcp: limits), pool: pool, secret: .init(low: 1, high: 2), now: .zero)
    }

    /// Plays `text`, and throws at the first line that fails.
    static func play(
        _ text: String, _ limits: TCPLimits = TCPLimits(), remoteSequence: UInt32 = 0xffff_ff00, isIPv6: Bool = false
    ) throws {
        let script = try PacketScript(text)
        var runner = ScriptRunner(limits, remoteSequence: remoteSequence, isIPv6: isIPv6)
        for line in script.lines {
            do { try runner.play(line) } catch let failure as ScriptFailure {
                throw ScriptFailure(description: "line \(line.number), \(line): \(failure)")
            }
        }
        guard runner.sent.isEmpty else {
            throw ScriptFailure(description: "at the end: \(runner.describe(runner.sent[0].bytes)) was not expected")
        }
    }

    private mutating func play(_ line: PacketScript.Line) throws {
        let times: ClosedRange<Instant> =
            switch line.time {
            case .absolute(let range): range
            case .relative(let range): now + range.lowerBound...now + range.upperBound
            case .any: now...now + .seconds(3600)
            }
        switch line.event {
        case .expect(let packet): try expect(packet, times, line.time)
        case .inject(.tcp(let segment)):
            run(until: times.lowerBound)
            var segment = segment
            segment.moveClock(by: clockOffset, ofEcho: true)
            inject(SegmentBytes.packet(segment, on: .init(from: remote, to: local)))
        case .inject(.icmp): throw ScriptFailure(description: "ICMP is not joined to the stack yet")
        case .call(let call):
            run(until: times.lowerBound)
            try make(call)
        case .check(let comparisons):
            run(until: times.lowerBound)
            for comparison in comparisons { try check(comparison) }
        }
    }

    // MARK: Time and packets

    private mutating func run(until end: Instant) {
        collect()
        while !isDeferred, let deadline = stack.nextDeadline, deadline <= end {
            now = max(now, deadline)
            stack.advance(to: now)
            collect()
        }
        now = max(now, end)
        stack.advance(to: now)
        collect()
    }

    private mutating func collect() {
        if isDeferred { return }
        var burst = pool.makeBurst()
        var isPaid = false
        while !isPaid {
            isPaid = stack.egress(into: &burst, at: now)
            while let frame = burst.popFirst() {
                let bytes = frame.bytes
                sent.append((now, (0..<bytes.byteCount).map { bytes.byte(at: $0) }))
            }
        }
    }

    private mutating func inject(_ bytes: [UInt8]) {
        var burst = pool.makeBurst()
        var frame = burst.takeFrame()!
        frame.setLength(bytes.count)
        var space = frame.mutableBytes
        for (index, byte) in bytes.enumerated() { space.store(byte, at: index) }
        burst.append(frame)
        stack.ingress(&burst, at: now)
        if let listener, connection == nil { connection = stack.accept(listener) }
        collect()
    }

    private mutating func expect(
        _ packet: PacketScript.Packet, _ times: ClosedRange<Instant>, _ time: PacketScript.Time
    ) throws {
        guard case .tcp(let expected) = packet else { throw ScriptFailure(description: "only segments are expected") }
        collect()
        // Until there is something, or it is too late.
        let latest = times.upperBound.advanced(byNanoseconds: Self.tolerance)
        while sent.isEmpty, let deadline = stack.nextDeadline, deadline <= latest { run(until: deadline) }
        guard !sent.isEmpty else {
            run(until: latest)
            throw ScriptFailure(description: "nothing was sent")
        }
        let (at, bytes) = sent.removeFirst()
        let found = try SegmentOnWire(bytes)
        if found.absolute.flags.contains(.syn) {
            local.initialSequence = found.absolute.sequence
            local.port = found.sourcePort
        }
        guard var segment = found.relative(to: .init(from: local, to: remote)) else {
            throw ScriptFailure(description: "sent to or from elsewhere: \(found)")
        }
        segment.moveClock(by: 0 &- clockOffset, ofEcho: false)
        let differences = expected.differences(from: segment)
        guard differences.isEmpty else {
            throw ScriptFailure(description: "sent was \(segment): \(differences.joined(separator: "; "))")
        }
        let isRetransmitted = segment.length > 0
        let start = segment.sequence &+ (segment.flags.contains(.syn) ? 1 : 0)
        if isRetransmitted, found.data != SegmentBytes.data(from: start, count: segment.length) {
            throw ScriptFailure(description: "the data of \(segment) is not what was written")
        }
        if time != .any {
            let early = times.lowerBound.nanoseconds - at.nanoseconds
            let late = at.nanoseconds - times.upperBound.nanoseconds
            guard max(early, late) <= Self.tolerance else {
                let seconds = Double(at.nanoseconds) / 1e9
                throw ScriptFailure(description: "sent at \(seconds) s")
            }
        }
        now = max(now, at)
    }

    private func describe(_ bytes: [UInt8]) -> String {
        guard let found = try? SegmentOnWire(bytes) else { return "a packet of \(bytes.count) bytes" }
        return "\(found.relative(to: .init(from: local, to: remote)) ?? found.absolute)"
    }

    // MARK: Calls

    private mutating func make(_ call: PacketScript.UserCall) throws {
        let result = try perform(call.call)
        if let expected = call.result, expected.value != result {
            throw ScriptFailure(description: "returned \(result)")
        }
        collect()
    }

    private mutating func perform(_ call: PacketScript.UserCall.Call) throws -> Int64 {
        switch call {
        case .listen:
            (listening.backlog, listening.connection) = (16, settings)
            listener = try? stack.listen(on: nil, port: local.port, listening)
            return listener == nil ? -1 : 0
        case .connect:
            remote.port = 8080
            connection = stack.connect(from: local.address, to: remote.address, port: remote.port, settings)
            isDeferred = settings.fastOpen && hasCookie
            return connection == nil ? -1 : 0
        case .accept:
            if connection == nil, let listener { connection = stack.accept(listener) }
            return connection == nil ? -1 : 0
        case .write(let count):
            isDeferred = false
            let accepted = stack.send(try id(), SegmentBytes.data(from: written, count: count))
            written &+= UInt32(accepted)
            return Int64(accepted)
        case .read(let count):
            var taken = 0
            var differs = false
            let start = read
            while taken < count {
                let more = stack.receive(try id()) { run in
                    let length = min(run.byteCount, count - taken)
                    let expected = SegmentBytes.data(from: start &+ UInt32(taken), count: length)
                    for index in 0..<length where run.byte(at: index) != expected[index] { differs = true }
                    return length
                }
                if more == 0 { break }
                taken += more
            }
            read &+= UInt32(taken)
            if differs { throw ScriptFailure(description: "read bytes that the peer has not sent in this order") }
            return Int64(taken)
        case .shutdown(.sending): stack.finish(try id())
        case .shutdown: throw ScriptFailure(description: "the stack ends the sending side alone, or both with close()")
        case .close: stack.release(try id())
        case .abort: stack.abort(try id())
        case .setsockopt(let name, let value):
            try set(name, value)
            if let connection { return stack.set(settings, of: connection) ? 0 : -1 }
        }
        return 0
    }

    /// The names of socket(7) and tcp(7). Times are in seconds, but for TCP_USER_TIMEOUT, which is in milliseconds.
    private mutating func set(_ name: String, _ value: PacketScript.Value) throws {
        guard case .number(let number) = value else { throw ScriptFailure(description: "\(name) takes a number") }
        let seconds = UInt16(clamping: number)
        switch name {
        case "TCP_NODELAY": settings.noDelay = number != 0
        case "TCP_CORK": settings.cork = number != 0
        case "TCP_QUICKACK": settings.quickAck = number != 0
        case "SO_KEEPALIVE": settings.keepAlive = number != 0 ? TCPKeepAlive() : nil
        case "TCP_KEEPIDLE": settings.keepAlive?.idleSeconds = seconds
        case "TCP_KEEPINTVL": settings.keepAlive?.intervalSeconds = seconds
        case "TCP_KEEPCNT": settings.keepAlive?.count = UInt8(clamping: number)
        case "TCP_USER_TIMEOUT": settings.userTimeoutSeconds = UInt16(clamping: number / 1000)
        case "TCP_UTO": settings.exchangesUserTimeout = number != 0
        case "SO_LINGER": settings.lingerSeconds = number < 0 ? nil : seconds
        case "SO_RCVBUF": settings.receiveLimit = UInt32(clamping: number)
        case "TCP_SYNCOOKIES": listening.cookies = number == 0 ? .never : number == 1 ? .whenFull : .always
        case "TCP_FASTOPEN": listening.pendingFastOpens = UInt16(clamping: number)
        case "TCP_FASTOPEN_CONNECT": settings.fastOpen = number != 0
        case "SO_SNDBUF": settings.sendLimit = UInt32(clamping: number)
        default: throw ScriptFailure(description: "no option \(name)")
        }
    }

    /// The ends, as the stack sees them.
    private var ends: FourTuple {
        FourTuple(
            localAddress: local.address, localPort: local.port, remoteAddress: remote.address, remotePort: remote.port)
    }

    /// What the stack adds to milliseconds in its timestamps. Scripts do without it.
    private var clockOffset: UInt32 { stack.tcp.demultiplexer.hash.timestampOffset(ends) }

    /// Whether the stack has a Fast Open cookie of the peer.
    private var hasCookie: Bool { (stack.tcp.connections.fastOpen.peer(of: ends)?.cookieLength ?? 0) > 0 }

    /// The Fast Open cookie that the stack gives to the peer of a script, as scripts write it.
    static var fastOpenCookie: String {
        let runner = ScriptRunner()
        let cookie = runner.stack.tcp.connections.fastOpen.cookie(for: runner.ends, at: .zero)
        let digits = String(cookie, radix: 16)
        return String(repeating: "0", count: 16 - digits.count) + digits
    }

    /// TSval of a SYN cookie that is made at the start, of a SYN with SACK and a scale of 7: less than 128 ms behind the clock, with 16 + 7
    /// as its last bits on the wire.
    static var cookieClock: UInt32 {
        let offset = ScriptRunner().clockOffset
        let value = offset & ~63 | 23
        return (offset & 63 < 23 ? value &- 64 : value) &- offset
    }

    private func id() throws -> ConnectionID {
        guard let connection else { throw ScriptFailure(description: "there is no connection") }
        return connection
    }

    private func check(_ comparison: PacketScript.Comparison) throws {
        switch (comparison.field, comparison.value) {
        case ("state", .name(let name)):
            let state = connection.map { stack.state(of: $0).name } ?? "CLOSED"
            guard comparison.comparator.holds(state, name) else {
                throw ScriptFailure(description: "state is \(state)")
            }
        case ("error", .name(let name)):
            let error = connection.flatMap { stack.error(of: $0) }.map { "\($0)" } ?? "none"
            guard comparison.comparator.holds(error, name) else {
                throw ScriptFailure(description: "error is \(error)")
            }
        case ("urgent", .number(let value)):
            let count = Int64(stack.urgentCount(of: try id()) ?? 0)
            guard comparison.comparator.holds(count, value) else {
                throw ScriptFailure(description: "urgent is \(count)")
            }
        case (let field, .number(let value)):
            let id = try id()
            guard let found = stack.tcp.number(field, of: id) ?? stack.info(of: id)?.number(field) else {
                throw ScriptFailure(description: "no field \(field)")
            }
            guard comparison.comparator.holds(found, value) else {
                throw ScriptFailure(description: "\(field) is \(found)")
            }
        default: throw ScriptFailure(description: "no field \(comparison.field) of this kind")
        }
    }
}

extension TCPInfo {
    /// A field by its name in Linux, the prefix `tcpi_` with it or not; nil if there is none of that name.
    func number(_ name: String) -> Int64? {
        let name = name.hasPrefix("tcpi_") ? String(name.dropFirst(5)) : name
        let words = name.split(separator: "_").enumerated().map {
            $0 == 0 ? "\($1)" : $1.prefix(1).uppercased() + $1.dropFirst()
        }
        let field = Mirror(reflecting: self).children.first { $0.label == words.joined() }
        return (field?.value as? any FixedWidthInteger).map { Int64(clamping: $0) }
    }
}

extension TCPState {
    /// As in RFC 9293, with underscores.
    var name: String {
        switch self {
        case .closed: "CLOSED"
        case .listen: "LISTEN"
        case .synSent: "SYN_SENT"
        case .synReceived: "SYN_RECEIVED"
        case .established: "ESTABLISHED"
        case .finWait1: "FIN_WAIT_1"
        case .finWait2: "FIN_WAIT_2"
        case .closeWait: "CLOSE_WAIT"
        case .closing: "CLOSING"
        case .lastAck: "LAST_ACK"
        case .timeWait: "TIME_WAIT"
        }
    }
}

extension PacketScript.Segment {
    /// Moves the timestamp, or the echo of one that is not 0.
    fileprivate mutating func moveClock(by offset: UInt32, ofEcho isEcho: Bool) {
        guard case .exactly(let list) = options else { return }
        options = .exactly(
            list.map { option in
                guard case .timestamps(let value, let echo) = option else { return option }
                if isEcho { return .timestamps(value: value, echoReply: echo == 0 ? 0 : echo &+ offset) }
                return .timestamps(value: value &+ offset, echoReply: echo)
            })
    }
}
