// The other end of a connection, as far as it can be known from what leaves the stack: which numbers it would have to send to be
// believed. A fuzz target lets it say something near that.

struct FuzzPeer {
    /// The port at the stack; 0 until its SYN has told.
    var localPort: UInt16
    let remotePort: UInt16
    /// Where the peer's numbers begin, and what it sends next.
    var initial: UInt32
    var next: UInt32
    /// What the stack has sent: its SYN's number, behind the last byte, and what the peer has acknowledged.
    private(set) var theirInitial: UInt32 = 0
    private(set) var high: UInt32 = 0
    var acknowledged: UInt32 = 0
    /// What the stack expects, and where its window ends.
    private(set) var expected: UInt32 = 0
    private(set) var edge: UInt32 = 0
    private(set) var shift: UInt8 = 0
    /// The timestamp that came last.
    private(set) var timestamp: UInt32 = 0
    /// Packets of the stack, to be quoted: the last with data, else the last.
    private(set) var quotable: [UInt8] = []
    private var synCount = 0
    /// The greatest number behind what the peer has sent within the window. What begins beyond it is not taken, and two such numbers
    /// would go half around.
    private var greatest: UInt32

    init(localPort: UInt16, remotePort: UInt16, initial: UInt32) {
        self.localPort = localPort
        self.remotePort = remotePort
        self.initial = initial
        next = initial
        greatest = initial
    }

    /// The peer has sent a segment.
    mutating func sent(_ flags: UInt8, _ sequence: UInt32, length: Int) {
        let isSYN = flags & 2 != 0
        if isSYN, sequence != initial || synCount == 0 {
            synCount += 1
            initial = sequence
            greatest = sequence
        }
        let end = sequence &+ UInt32(length) &+ (isSYN ? 1 : 0) &+ UInt32(flags & 1)
        let isBeyond = Int32(bitPattern: sequence &- (expected == 0 ? initial &+ 65_536 : edge)) > 0
        if !isBeyond, Int32(bitPattern: end &- greatest) > 0 { greatest = end }
    }

    /// A segment of the stack for this peer, with its IP header.
    mutating func receive(_ packet: [UInt8], at offset: Int) throws(Violation) {
        let flags = packet[offset + 13]
        let sequence = packet.number32(at: offset + 4)
        let payload = offset + Int(packet[offset + 12] >> 4) * 4
        try Violation.unless(payload >= offset + 20 && payload <= packet.count, "a wrong data offset")
        let count = packet.count - payload
        if flags & 4 != 0 { return }
        if flags & 2 != 0, sequence != theirInitial || high == 0 {
            (theirInitial, high, acknowledged) = (sequence, sequence, sequence)
        }
        readOptions(packet[offset + 20..<payload], isSYN: flags & 2 != 0)
        for index in 0..<count {
            try Violation.unless(
                packet[payload + index] == FuzzStream.byte(at: sequence &+ UInt32(index)), "a byte that nobody has sent"
            )
        }
        if flags & 16 != 0 {
            expected = packet.number32(at: offset + 8)
            edge = expected &+ UInt32(packet.number16(at: offset + 14)) << (flags & 2 == 0 ? UInt32(shift) : 0)
            if synCount == 1 {
                try Violation.unless(
                    Int32(bitPattern: expected &- greatest) <= 0,
                    "an ACK of what was never sent, \(expected &- greatest)")
            }
        }
        let end = sequence &+ UInt32(count) &+ (flags & 2 != 0 ? 1 : 0) &+ UInt32(flags & 1)
        if Int32(bitPattern: end &- high) > 0 { high = end }
        if count > 0 || quotable.isEmpty || flags & 2 != 0 { quotable = packet }
    }

    private mutating func readOptions(_ options: ArraySlice<UInt8>, isSYN: Bool) {
        var rest = options
        while let kind = rest.popFirst(), kind != 0 {
            if kind == 1 { continue }
            guard let length = rest.popFirst(), length >= 2, rest.count >= Int(length) - 2 else { return }
            let content = Array(rest.prefix(Int(length) - 2))
            rest = rest.dropFirst(content.count)
            if kind == 3, isSYN { shift = content[0] }
            if kind == 8 { timestamp = content.number32(at: 0) }
        }
    }
}
