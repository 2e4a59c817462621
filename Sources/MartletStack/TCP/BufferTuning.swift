// How much may wait: the receive window, and the bytes that a user may send ahead.
//
// Hold RFC 9293 §3.8.6 beside it, and for the measuring "Dynamic Right-Sizing" (Fisk and Feng, 2001). A connection starts with
// little. What its user reads in a round trip shows what the path carries; four times that may wait: twice for what slow start
// adds until the peer has heard of a larger window, and twice for what comes while a hole is repaired. The handshake's round
// trip is the measure, so a window that only fills a queue on the way stops growing.

/// Where a measurement of what the user reads began: its place in the stream, and when.
struct ReadMeasure: BitwiseCopyable {
    var start = SequenceNumber(0)
    /// In units of 1,024 ns; wraps after 73 minutes, which then cuts one measurement short.
    var startedAt: UInt32 = 0
}

extension Connections {
    /// Whether the memory of all rings runs short.
    @inline(__always)
    var isPressed: Bool { rings.bytesTaken >= rings.byteCount / 4 * 3 }
}

extension Connections {
    /// A ring for a connection that has none: at once as large as it was needed last, for each that it outgrows is copied.
    @inline(__always)
    mutating func firstRing(atLeast count: Int, order: UInt8) -> ByteRing? {
        if order > 0, !isPressed, let roomy = rings.take(atLeast: max(count, RingMemory.blockSize << Int(order))) {
            return roomy
        }
        return rings.take(atLeast: count)
    }

    /// A ring for a connection whose ring, if it has one, has become too small. Who has outgrown one is likely to outgrow the next,
    /// and each time all that waits is copied, so there is room to grow as long as there is memory.
    mutating func ring(atLeast count: Int, inPlaceOf ring: ByteRing) -> ByteRing? {
        if !ring.isNone, !isPressed, let roomy = rings.take(atLeast: max(count, 4 * ring.capacity)) { return roomy }
        return rings.take(atLeast: count)
    }
}

extension TCB {
    /// Bytes that may wait while memory is short.
    private static var leastLimit: UInt32 { 16 << 10 }

    // MARK: Receiving

    /// The most that may ever wait to be read.
    @inline(__always)
    func mostToReceive(_ stack: borrowing Connections) -> UInt32 {
        min(
            stack.settings[settings].receiveLimit ?? stack.limits.receiveLimit,
            65_535 << UInt32(state == .closed ? 14 : receiveShift))
    }

    /// What the window is announced from: less than has been announced before does not take that back.
    @inline(__always)
    func windowLimit(_ stack: borrowing Connections) -> Int {
        Int(stack.isPressed ? min(receiveLimit, Self.leastLimit) : receiveLimit)
    }

    /// The window field for what is announced. Its unit may be larger than what is left of a unit: rounded down, it would take
    /// back what was announced before (SHLD-14), so it is rounded up, and the edge goes along. Not further than half
    /// the limit, though, or single bytes could push it on and on.
    mutating func windowField() -> UInt16 {
        let window = max(0, rcv.wnd)
        let unit = 1 << Int(receiveShift)
        var rounded = (window + unit - 1) & -unit
        if rounded > window {
            if rcv.nxt + rounded > rcv.read + Int(receiveLimit / 2 * 3) {
                rounded -= unit
            } else {
                rcv.edge = rcv.nxt + rounded
            }
        }
        return UInt16(clamping: rounded >> Int(receiveShift))
    }

    @inline(__always)
    mutating func startReadMeasure(_ stack: borrowing Connections) {
        readMeasure = ReadMeasure(start: rcv.read, startedAt: Self.measureTick(stack.now))
    }

    @inline(__always)
    private static func measureTick(_ now: Instant) -> UInt32 { UInt32(truncatingIfNeeded: now.nanoseconds >> 10) }

    /// The user has read: once a round trip, lets more wait if that much was read in it.
    mutating func tuneWindow(_ stack: inout Connections) {
        let roundTrip = rtt.isMeasured ? rtt.srtt : 100_000
        guard Self.measureTick(stack.now) &- readMeasure.startedAt >= roundTrip else { return }
        let wanted = UInt32(clamping: 4 * (rcv.read - readMeasure.start))
        startReadMeasure(stack)
        guard wanted > receiveLimit else { return }
        // One connection does not get all of the memory; a limit that is above this already stays.
        let most = min(mostToReceive(stack), UInt32(clamping: stack.rings.byteCount / 4))
        guard !stack.isPressed else {
            stack.counters.windowsHeldBack &+= 1
            return
        }
        receiveLimit = max(receiveLimit, min(wanted, most))
    }

    // MARK: Sending

    /// Bytes that may wait to be acknowledged: two windows of the congestion control, one in flight and one to follow it.
    @inline(__always)
    func sendLimit(_ stack: borrowing Connections) -> Int {
        let most = stack.settings[settings].sendLimit ?? stack.limits.sendLimit
        let window = congestion.cwnd > UInt32.max / 2 ? UInt32.max : 2 * congestion.cwnd
        let wanted = stack.isPressed ? Self.leastLimit : max(stack.limits.initialSendLimit, window)
        return Int(min(most, wanted))
    }
}
