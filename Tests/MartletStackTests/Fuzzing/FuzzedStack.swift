// A stack that a fuzz target drives as its contract says, and that is looked over after every step: egress ends, time goes on, no
// frame is lost, and what leaves is well-formed.

@testable import MartletStack

struct FuzzedStack: ~Copyable {
    var stack: Stack
    private(set) var now: Instant
    /// IP packets that have left since somebody looked, and other frames.
    var packets: [[UInt8]] = []
    var frames: [[UInt8]] = []
    /// No frame was left in the pool: what is owed stays owed.
    private(set) var isStarved = false
    /// All frames are with the stack itself, and somebody found none.
    private var owes = false
    private let isEthernet: Bool
    private let mtu: Int
    private let isPartial: Bool
    /// Behind the stack, which may hold frames of it: fields go in their order.
    let pool: FramePool

    init(
        _ interface: InterfaceConfiguration, limits: StackLimits, frames: Int, secret: UInt64, now: Instant
    ) {
        // Large enough for a merged frame.
        pool = FramePool(count: frames, capacity: 4096)
        stack = Stack([interface], limits: limits, pool: pool, secret: .init(low: secret, high: 7), now: now)
        self.now = now
        isEthernet = interface.kind != .ip
        mtu = interface.mtu
        isPartial = interface.completesChecksums
    }

    // MARK: Steps

    /// Frames arrive, in one burst.
    mutating func ingress(_ arrivals: [(bytes: [UInt8], offload: FrameOffload, segmentSize: Int)]) throws(Violation) {
        var burst = pool.makeBurst()
        for arrival in arrivals.prefix(burst.capacity) {
            guard var frame = burst.takeFrame() else { break }
            let bytes = arrival.bytes.prefix(frame.tailroom)
            frame.setLength(bytes.count)
            var space = frame.mutableBytes
            for (index, byte) in bytes.enumerated() { space.store(byte, at: index) }
            frame.offload = arrival.offload
            frame.segmentSize = arrival.segmentSize
            burst.append(frame)
        }
        stack.ingress(&burst, at: now)
        try Violation.unless(burst.isEmpty, "ingress left frames in its burst")
        try settle()
    }

    /// Lets the stack send all that it owes.
    mutating func settle() throws(Violation) {
        var burst = pool.makeBurst()
        var isPaid = false
        (isStarved, owes) = (false, false)
        var turns = 0
        while !isPaid {
            isPaid = stack.egress(into: &burst, at: now)
            let hadFrames = pool.freeCount > 0
            turns += 1
            try Violation.unless(turns < 1000, "egress never ends")
            if !isPaid, burst.isEmpty {
                try Violation.unless(!hadFrames, "egress gave nothing although there were frames")
                isStarved = true
                break
            }
            while let frame = burst.popFirst() { try leaves(frame) }
            // Who found no frame owes still, and pays once there are some.
            if isPaid, !hadFrames {
                isPaid = pool.freeCount == 0
                owes = isPaid
            }
        }
        try stack.tcp.check(isSettled: !isStarved && !owes)
    }

    /// Time goes on, and what was due happens when it was: up to a number of deadlines, behind which the clock jumps.
    mutating func wait(_ nanoseconds: Int64, deadlines: Int = 300) throws(Violation) {
        let end = now.advanced(byNanoseconds: nanoseconds)
        var count = 0
        var standing = 0
        while let deadline = stack.nextDeadline, deadline <= end, count < deadlines, !isStarved {
            standing = deadline <= now ? standing + 1 : 0
            try Violation.unless(standing < 100, "time stands still")
            // Packets that wait for a neighbor keep all frames until they are given up: a while later the rest is paid.
            now = owes && deadline <= now ? now.advanced(byNanoseconds: 100_000_000) : max(now, deadline)
            stack.advance(to: now)
            try settle()
            count += 1
        }
        now = max(now, end)
        stack.advance(to: now)
        try settle()
    }

    // MARK: What leaves

    private mutating func leaves(_ frame: consuming Frame) throws(Violation) {
        let span = frame.bytes
        var bytes = (0..<span.byteCount).map { span.byte(at: $0) }
        if isEthernet {
            try Violation.unless(bytes.count >= 14, "a frame without a header")
            guard bytes[12...13] == [0x08, 0x00] || bytes[12...13] == [0x86, 0xDD] else { return frames.append(bytes) }
            bytes.removeFirst(14)
        }
        try check(bytes, isCut: frame.segmentSize > 0)
        packets.append(bytes)
    }

    /// A packet that has left: lengths and checksums.
    private func check(_ packet: [UInt8], isCut: Bool) throws(Violation) {
        let isIPv4 = packet[0] >> 4 == 4
        let headerLength = isIPv4 ? 20 : 40
        try Violation.unless(packet.count >= headerLength, "a packet without a header")
        try Violation.unless(isCut || packet.count <= mtu, "\(packet.count) bytes, and an MTU of \(mtu)")
        var transport = packet[6]
        let ends: FuzzEnds
        if isIPv4 {
            try Violation.unless(packet[0] == 0x45, "IPv4 with options")
            try Violation.unless(Int(packet.number16(at: 2)) == packet.count, "a wrong total length")
            try Violation.unless(Array(packet[..<20]).naiveSum == 0xFFFF, "a wrong header checksum")
            transport = packet[9]
            if packet.number16(at: 6) & 0x3FFF != 0 { return }
            ends = FuzzEnds(isIPv4: true, local: Array(packet[12..<16]), remote: Array(packet[16..<20]))
        } else {
            try Violation.unless(Int(packet.number16(at: 4)) == packet.count - 40, "a wrong payload length")
            ends = FuzzEnds(isIPv4: false, local: Array(packet[8..<24]), remote: Array(packet[24..<40]))
        }
        // The link completes the checksums of TCP then.
        if transport == 6, isPartial { return }
        guard [1, 6, 17, 58].contains(transport) else { return }
        try Violation.unless(
            ends.sum(of: Array(packet[headerLength...]), transport) == 0xFFFF, "a wrong checksum, protocol \(transport)"
        )
    }

    // MARK: The end

    /// All connections and sockets are gone: so has to be all that they held, once their last timers have expired.
    mutating func checkEmpty() throws(Violation) {
        packets = []
        frames = []
        // SYN-RECEIVED is given up after R2 of a SYN, and an unresolved neighbor long before.
        try wait(1_000_000_000_000, deadlines: 2000)
        while stack.nextEvent() != nil {}
        try wait(1_000_000_000_000, deadlines: 2000)
        // Who has ended since has an event, and gives its slot back with that.
        while stack.nextEvent() != nil {}
        try Violation.unless(
            stack.connectionCount == 0, "\(stack.connectionCount) connections stay: \(stack.tcp.summary)")
        try Violation.unless(stack.tcp.ringBytesTaken == 0, "\(stack.tcp.ringBytesTaken) bytes of rings stay")
        try Violation.unless(
            stack.network.reassembly.bytesTaken == 0, "reassembly keeps \(stack.network.reassembly.count)")
        try Violation.unless(stack.udp.bytesTaken == 0, "\(stack.udp.bytesTaken) bytes of datagrams stay")
        try Violation.unless(pool.freeCount == pool.count, "\(pool.count - pool.freeCount) frames stay out")
    }
}
