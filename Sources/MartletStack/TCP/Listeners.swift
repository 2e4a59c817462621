// Who listens: a table made once, in which a SYN finds its listener by port, and the connections that wait to be accepted.
//
// Hold RFC 9293 §3.9.1.1 (passive OPEN) and listen(2) beside it. Connections wait in a list that goes through their TCBs, so a listener
// takes the same few bytes whatever its backlog.

/// When SYNs are answered with cookies, of which nothing is kept (RFC 4987 §3.6).
public enum SYNCookieUse: UInt8, BitwiseCopyable, Sendable {
    /// SYNs that find the SYN queue full are dropped.
    case never
    /// Once the SYN queue is full.
    case whenFull
    case always
}

/// How a listener treats those who call.
public struct ListenerSettings: BitwiseCopyable, Hashable, Sendable {
    /// How many complete connections may wait to be accepted, and as many handshakes to be completed. What is more is counted
    /// (``TCPCounters/listenOverflows``): SYNs are dropped, and handshakes stay incomplete until there is room.
    public var backlog = 128
    /// When SYNs are answered with cookies.
    public var cookies = SYNCookieUse.whenFull
    /// How many connections may be open by a Fast Open cookie whose handshake is not complete (RFC 7413 §5.1); 0 for none, and
    /// then no cookies are given. Bytes that come with a SYN may come twice.
    public var pendingFastOpens: UInt16 = 0
    /// What its connections start with.
    public var connection = TCPSettings()

    /// A backlog of 128, cookies when it is full, and no Fast Open.
    public init() {}
}

struct Listener: BitwiseCopyable {
    /// Nil for all addresses of both families.
    var address: IPAddress?
    var port: UInt16 = 0
    var generation: UInt32 = 0
    var isOpen = false
    var backlog: UInt32 = 0
    var cookies = SYNCookieUse.never
    /// The number of the settings that its connections get.
    var settings: UInt16 = 0
    /// Handshakes in the SYN queue; and of those that count Fast Open requests, how many there are, and may be.
    var halfOpen: UInt32 = 0
    var pendingFastOpens: UInt16 = 0
    var mostFastOpens: UInt16 = 0
    /// The minute of the last cookie.
    var cookieMinute: UInt32?
    /// The connections to be accepted.
    var first = Listeners.last
    var newest = Listeners.last
    var waiting: UInt32 = 0

    /// Whether a cookie is out that is still good: else no ACK is taken for one.
    func hasCookies(at now: Instant) -> Bool {
        guard let cookieMinute else { return false }
        return SYNCookies.minute(now) &- cookieMinute <= 1
    }
}

struct Listeners: ~Copyable {
    /// In `TCB.nextAccepted`: not waiting to be accepted, and the last of those that are.
    static var absent: UInt32 { .max }
    static var last: UInt32 { .max - 1 }

    private var table: PlainTable<Listener>
    private var index: HashIndex
    private(set) var count = 0
    /// Listeners that connections have come to.
    private var news: SlotQueue

    /// - Precondition: `capacity` is in 1 ... 65,535.
    init(capacity: Int) {
        precondition(capacity >= 1 && capacity <= Int(UInt16.max), "a stack has 1 ... 65,535 listeners")
        table = PlainTable(repeating: Listener(), count: capacity)
        index = HashIndex(capacity: capacity)
        news = SlotQueue(capacity: capacity)
    }

    subscript(number: UInt16) -> Listener {
        _read { yield table[Int(number)] }
        _modify { yield &table[Int(number)] }
    }

    func id(of number: UInt16) -> ListenerID {
        ListenerID(number: number, generation: table[Int(number)].generation)
    }

    /// The listener that an id names, if it is open.
    func number(of id: ListenerID) -> UInt16? {
        let listener = table[Int(id.number)]
        return listener.isOpen && listener.generation == id.generation ? id.number : nil
    }

    /// Nobody but the user chooses ports to listen on, so nothing needs to be secret. All addresses of a port are together.
    private static func hash(_ port: UInt16) -> UInt64 { UInt64(port) &* 0x9E37_79B9 }

    private static func any(of address: IPAddress) -> IPAddress {
        switch address {
        case .v4: .v4(.any)
        case .v6: .v6(.any)
        }
    }

    /// Who listens for segments to `address`: who has named it goes before all of its family, and those before all of both.
    func find(_ address: IPAddress, port: UInt16) -> UInt16? {
        var probe = index.probe(Self.hash(port))
        var family: Int?
        var both: Int?
        while let number = index.next(&probe) {
            guard table[number].port == port else { continue }
            switch table[number].address {
            case address: return UInt16(number)
            case Self.any(of: address): family = number
            case nil: both = number
            default: break
            }
        }
        return (family ?? both).map { UInt16($0) }
    }

    /// Whether somebody listens on just this.
    func contains(_ address: IPAddress?, port: UInt16) -> Bool {
        var probe = index.probe(Self.hash(port))
        while let number = index.next(&probe) {
            if table[number].port == port, table[number].address == address { return true }
        }
        return false
    }

    /// Whether somebody listens on our end of a connection that is to be opened: who called that port from itself would be connected
    /// with itself (RFC 9293 §3.5, simultaneous open), and others could not tell the connection from the listener's.
    func listens(at tuple: FourTuple) -> Bool { find(tuple.localAddress, port: tuple.localPort) != nil }

    /// Opens a listener, whose settings are taken. Nil if all are in use.
    mutating func open(
        _ address: IPAddress?, port: UInt16, _ settings: ListenerSettings, number settingsNumber: UInt16
    ) -> ListenerID? {
        guard count < table.count else { return nil }
        var number = 0
        while table[number].isOpen { number += 1 }
        let generation = table[number].generation &+ 1
        table[number] = Listener()
        table[number].address = address
        table[number].port = port
        table[number].generation = generation
        table[number].isOpen = true
        table[number].backlog = UInt32(clamping: settings.backlog)
        table[number].cookies = settings.cookies
        table[number].settings = settingsNumber
        table[number].mostFastOpens = settings.pendingFastOpens
        index.insert(number, hash: Self.hash(port))
        count += 1
        return id(of: UInt16(number))
    }

    /// - Precondition: it is open, and nothing waits in it.
    mutating func close(_ number: UInt16) {
        precondition(table[Int(number)].isOpen && table[Int(number)].waiting == 0, "a listener is closed empty")
        index.remove(Int(number), hash: Self.hash(table[Int(number)].port))
        table[Int(number)].isOpen = false
        table[Int(number)].generation &+= 1
        count -= 1
    }

    // MARK: Those who wait

    /// A connection joins those who wait to be accepted.
    mutating func append(_ slot: UInt32, to number: UInt16, _ connections: inout ConnectionTable) {
        let number = Int(number)
        connections[slot].nextAccepted = Self.last
        if table[number].waiting == 0 {
            table[number].first = slot
        } else {
            connections[table[number].newest].nextAccepted = slot
        }
        table[number].newest = slot
        table[number].waiting += 1
        news.append(UInt32(number))
    }

    /// The connection that has waited longest, which waits no more.
    mutating func popFirst(of number: UInt16, _ connections: inout ConnectionTable) -> UInt32? {
        let number = Int(number)
        guard table[number].waiting > 0 else { return nil }
        let slot = table[number].first
        table[number].first = connections[slot].nextAccepted
        table[number].waiting -= 1
        connections[slot].nextAccepted = Self.absent
        return slot
    }

    /// A listener that connections have come to since it was last told of, if some still wait.
    mutating func nextWithNews() -> ListenerID? {
        while let number = news.popFirst() {
            if table[Int(number)].isOpen, table[Int(number)].waiting > 0 { return id(of: UInt16(number)) }
        }
        return nil
    }
}
