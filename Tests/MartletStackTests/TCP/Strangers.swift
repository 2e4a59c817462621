// A stack, and strangers at any address who send it what a test likes: floods, forgeries and handshakes.

import MartletSimulation

@testable import MartletStack

struct Strangers: ~Copyable {
    /// A segment that the stack has sent, and to whom.
    struct Sent {
        var tuple: FourTuple
        var segment: Segment
        var text: [UInt8]
    }

    var stack: Stack
    /// The one that a test is about.
    var listener: ListenerID?
    private(set) var now = Instant.zero
    var sent: [Sent] = []
    /// How many have been sent; `sent` keeps them only if it is to.
    private(set) var sentCount = 0
    var keepsSent = true
    private var burst: Burst
    private var answers: Burst
    /// Behind the stack, which may hold frames of it.
    let pool: FramePool

    static let port: UInt16 = 7

    init(_ limits: TCPLimits = TCPLimits(), addresses: [String] = ["192.168.0.1", "2001:db8::1"], seed: UInt64 = 1) {
        // Routes to everywhere: there are no link addresses.
        let interface = InterfaceConfiguration(
            .ip, addresses: addresses.map { InterfaceAddress(IPAddress($0)!, prefixLength: 0) })
        pool = FramePool(count: 256)
        burst = pool.makeBurst()
        answers = pool.makeBurst()
        stack = Stack(
            [interface], limits: StackLimits(network: .few, tcp: limits), pool: pool,
            secret: .init(low: seed, high: 9), now: .zero)
    }

    /// The ends of a connection as the stack sees them: with the `number`th of the strangers.
    static func ends(_ number: UInt32, port: UInt16 = 5000, to local: String = "192.168.0.1") -> FourTuple {
        let isIPv4 = local.contains(".")
        let remote: IPAddress =
            isIPv4
            ? .v4(IPv4Address(bits: 0x0B00_0000 &+ number))
            : .v6(IPv6Address(high: 0x2001_0db8_0001_0000, low: UInt64(number) + 1))
        return FourTuple(
            localAddress: IPAddress(local)!, localPort: Self.port, remoteAddress: remote, remotePort: port)
    }

    /// What a usual SYN offers.
    static var usualOptions: TCPOptions {
        var options = TCPOptions()
        options.maximumSegmentSize = 1460
        options.isSACKPermitted = true
        options.windowScale = 7
        options.hasTimestamps = true
        options.timestampValue = 1000
        return options
    }

    /// Puts a segment from the other end of `ends` into the burst that is to arrive next.
    mutating func add(
        _ flags: TCPFlags, on ends: FourTuple, sequence: UInt32, acknowledgment: UInt32 = 0,
        options: TCPOptions = TCPOptions(), text: [UInt8] = []
    ) {
        if burst.isFull { arrive() }
        guard var frame = burst.takeFrame() else { preconditionFailure("the pool is empty") }
        frame.setLength(text.count)
        var space = frame.mutableBytes
        for (index, byte) in text.enumerated() { space.store(byte, at: index) }
        let header = TCPHeader(
            sourcePort: ends.remotePort, destinationPort: ends.localPort, sequence: SequenceNumber(sequence),
            acknowledgment: SequenceNumber(acknowledgment), flags: flags, window: 65_535)
        let there = FourTuple(
            localAddress: ends.remoteAddress, localPort: ends.remotePort, remoteAddress: ends.localAddress,
            remotePort: ends.localPort)
        let payloadSum = frame.bytes.onesComplementSum()
        SegmentOut.prepend(header, options, there, payloadSum: payloadSum, &frame)
        burst.append(frame)
    }

    /// Lets the burst arrive, and the stack answer.
    mutating func arrive() {
        stack.ingress(&burst, at: now)
        settle()
    }

    /// Lets one segment arrive, and returns what is answered.
    @discardableResult
    mutating func send(
        _ flags: TCPFlags, on ends: FourTuple, sequence: UInt32, acknowledgment: UInt32 = 0,
        options: TCPOptions = TCPOptions(), text: [UInt8] = []
    ) -> [Sent] {
        sent = []
        add(flags, on: ends, sequence: sequence, acknowledgment: acknowledgment, options: options, text: text)
        arrive()
        return sent
    }

    mutating func settle() {
        var isPaid = false
        while !isPaid {
            isPaid = stack.egress(into: &answers, at: now)
            while let frame = answers.popFirst() {
                sentCount += 1
                if keepsSent { note(frame.bytes) }
            }
        }
    }

    private mutating func note(_ bytes: RawSpan) {
        let isIPv4 = bytes.byte(at: 0) >> 4 == 4
        let packet = bytes.extracting(droppingFirst: isIPv4 ? 20 : 40)
        guard let header = TCPHeader(parsing: packet), let segment = Segment(header, packet) else { return }
        func address(_ offset: Int) -> IPAddress {
            isIPv4
                ? .v4(IPv4Address(bits: bytes.uint32(at: offset)))
                : .v6(
                    IPv6Address(
                        high: UInt64(bytes.uint32(at: offset)) << 32 | UInt64(bytes.uint32(at: offset + 4)),
                        low: UInt64(bytes.uint32(at: offset + 8)) << 32 | UInt64(bytes.uint32(at: offset + 12))))
        }
        let text = packet.extracting(droppingFirst: Int(segment.payloadOffset)).array
        let tuple = FourTuple(
            localAddress: address(isIPv4 ? 12 : 8), localPort: header.sourcePort,
            remoteAddress: address(isIPv4 ? 16 : 24), remotePort: header.destinationPort)
        sent.append(Sent(tuple: tuple, segment: segment, text: text))
    }

    mutating func wait(_ duration: Duration) {
        let end = now + duration
        settle()
        while let deadline = stack.nextDeadline, deadline <= end {
            now = max(now, deadline)
            stack.advance(to: now)
            settle()
        }
        now = end
        stack.advance(to: now)
        settle()
    }

    /// A whole handshake: SYN, and the ACK of what comes. Returns our number behind the SYN.
    @discardableResult
    mutating func handshake(
        on ends: FourTuple, sequence: UInt32 = 1000, options: TCPOptions = Strangers.usualOptions, text: [UInt8] = []
    ) -> UInt32 {
        guard let answer = send(.syn, on: ends, sequence: sequence, options: options).first else { return 0 }
        var ack = TCPOptions()
        if options.hasTimestamps {
            ack.hasTimestamps = true
            ack.timestampValue = options.timestampValue + 1
            ack.timestampEcho = answer.segment.options.timestampValue
        }
        let number = answer.segment.sequence.bits &+ 1
        send([.ack], on: ends, sequence: sequence &+ 1, acknowledgment: number, options: ack, text: text)
        return number
    }
}
