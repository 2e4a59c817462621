// What a user may set on a connection, and where it is kept.
//
// Most connections of a program have the same few settings. So the settings lie in one small table for the whole stack, each
// different set once, with a count of those who use it, and a TCB holds the number of its set. What a segment asks for
// is a flag of the TCB as well. Hold socket(7) and tcp(7) beside it for the names.

/// Keep-alive of a connection (RFC 9293 §3.8.4).
public struct TCPKeepAlive: BitwiseCopyable, Hashable, Sendable {
    /// Seconds without a segment from the peer before it is asked: two hours unless told otherwise (MUST-28).
    public var idleSeconds: UInt16 = 7200
    /// Seconds between one question and the next.
    public var intervalSeconds: UInt16 = 75
    /// Questions without an answer before the connection ends.
    public var count: UInt8 = 9

    /// Keep-alive after two hours of silence, as Linux has it.
    public init() {}

    /// Keep-alive with these times, in seconds, and this many questions.
    public init(idleSeconds: UInt16, intervalSeconds: UInt16 = 75, count: UInt8 = 9) {
        (self.idleSeconds, self.intervalSeconds, self.count) = (idleSeconds, intervalSeconds, count)
    }
}

/// What a user may set on a connection: when it is opened, for all that a listener accepts, and later.
public struct TCPSettings: BitwiseCopyable, Hashable, Sendable {
    /// Small segments go at once, and wait for no ACK (TCP_NODELAY, MUST-17).
    public var noDelay = false
    /// Segments that are not full wait until this is off again, or for 200 ms (TCP_CORK).
    public var cork = false
    /// Every segment with data is acknowledged at once (TCP_QUICKACK, but it stays).
    public var quickAck = false
    /// Nil: a connection may be idle for ever (MUST-25).
    public var keepAlive: TCPKeepAlive?
    /// Seconds that bytes may wait for an acknowledgement before the connection ends (RFC 9293 §3.8.3, MUST-21); 0 for
    /// what the stack's limits say.
    public var userTimeoutSeconds: UInt16 = 0
    /// Tells the peer of the user timeout and, if there is none of one's own, adapts to the peer's (RFC 5482).
    public var exchangesUserTimeout = false
    /// What happens to bytes that are not acknowledged when the user lets go. Nil: they are delivered as long as the peer
    /// takes them. 0: they are dropped, and the connection is reset. Else it is reset after so many seconds.
    public var lingerSeconds: UInt16?
    /// The most bytes that may ever wait to be read, and to be acknowledged; nil for what the stack's limits say. What is
    /// more than the window's scale allows, which is chosen when the connection is opened, means that.
    public var receiveLimit: UInt32?
    /// The most bytes that may ever wait to be acknowledged; nil for what the stack's limits say.
    public var sendLimit: UInt32?
    /// Nil for what the stack's limits say.
    public var congestion: CongestionAlgorithm?
    /// The differentiated services codepoint of each packet, 0 ... 63 (RFC 2474, MUST-48); bits beyond do not count. It may change
    /// while the connection is open.
    public var diffServ: UInt8 = 0
    /// Hops that each packet may take, 1 ... 255 (MUST-49). Nil: 64, or for IPv6 what a router advertises.
    public var timeToLive: UInt8?
    /// The way of each packet to an IPv4 peer (MUST-51). It is chosen when the connection is opened, and a change later has no
    /// effect. A listener that has one does not answer by the way that a SYN came (MUST-52).
    public var sourceRoute: SourceRoute?
    /// For a connection that we open: what is sent in the same round may go with the SYN, and so may arrive twice, if the server
    /// has given a cookie before; else it is asked for one (RFC 7413, TCP_FASTOPEN_CONNECT).
    public var fastOpen = false

    /// What Linux does unless it is told otherwise.
    public init() {}
}

/// The different settings that the connections of a stack have. Number 0 is the default, and always there.
struct SettingsTable: ~Copyable {
    struct Entry: BitwiseCopyable {
        var settings = TCPSettings()
        var users: UInt32 = 0
    }

    private var entries: PlainTable<Entry>
    /// Entries behind this one have never been used.
    private var used = 1

    /// - Precondition: `capacity` is in 1 ... 65,535.
    init(capacity: Int) {
        precondition(capacity >= 1 && capacity <= Int(UInt16.max), "a table of settings has 1 ... 65,535 entries")
        entries = PlainTable(repeating: Entry(), count: capacity)
        entries[0].users = 1
    }

    subscript(number: UInt16) -> TCPSettings { entries[Int(number)].settings }

    /// How many different settings are in use.
    var count: Int {
        var count = 0
        for index in 0..<used where entries[index].users > 0 { count += 1 }
        return count
    }

    /// The number of an entry with these settings, with one user more. Nil if all entries are in use for others.
    ///
    /// O(entries in use).
    mutating func take(_ settings: TCPSettings) -> UInt16? {
        var free: Int?
        for index in 0..<used {
            if entries[index].users == 0 {
                free = free ?? index
            } else if entries[index].settings == settings {
                take(again: UInt16(index))
                return UInt16(index)
            }
        }
        guard let index = free ?? (used < entries.count ? used : nil) else { return nil }
        if index == used { used += 1 }
        entries[index] = Entry(settings: settings, users: 1)
        return UInt16(index)
    }

    /// One user more of the same.
    mutating func take(again number: UInt16) {
        if number != 0 { entries[Int(number)].users += 1 }
    }

    /// - Precondition: `number` has a user.
    mutating func release(_ number: UInt16) {
        if number == 0 { return }
        precondition(entries[Int(number)].users > 0, "settings given back twice")
        entries[Int(number)].users -= 1
    }
}

// MARK: - A connection's settings

extension TCB {
    /// Takes over settings, whose number it holds already: at the start, and when the user changes them.
    mutating func apply(_ new: TCPSettings, _ stack: inout Connections) {
        set(.noDelay, new.noDelay)
        set(.corked, new.cork)
        set(.quickAck, new.quickAck)
        set(.userTimeoutOwed, new.exchangesUserTimeout)
        set(.ownHeader, new.wantsOwnHeader)
        if !new.exchangesUserTimeout || new.userTimeoutSeconds > 0 { userTimeout = new.userTimeoutSeconds }
        receiveLimit = min(mostToReceive(stack), state == .closed ? stack.limits.initialReceiveLimit : receiveLimit)
        guard state.isSynchronized else { return }
        armKeepAlive(&stack)
        let algorithm = new.congestion ?? stack.limits.congestion
        if algorithm != congestion.algorithm {
            congestion.change(
                to: algorithm, mss: UInt32(mss), smoothedRTT: rtt.srtt, at: stack.now, random: UInt64(initialSend.bits))
            heedMarks()
        }
        // What waited for company goes now.
        if snd.nxt < snd.end { owe(.data, &stack) }
    }

    private mutating func set(_ flag: TCBFlags, _ isOn: Bool) {
        if isOn { flags.insert(flag) } else { flags.remove(flag) }
    }
}
