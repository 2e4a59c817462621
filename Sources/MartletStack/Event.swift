// What a stack has to tell whoever drives it. Events are marks and no queue of messages: each names somebody who has news, with
// all of the news since the last time, so that their number has a bound and none is lost.

/// Somebody has news.
@frozen
public enum StackEvent: BitwiseCopyable, Sendable {
    /// A connection, and what has happened to it.
    case connection(ConnectionID, ConnectionEvents)
    /// A listener has connections that wait for ``Stack/accept(_:)``: take all of them, it is not told again for these.
    case listener(ListenerID)
    /// A UDP socket, and what has happened to it.
    case socket(SocketID, SocketEvents)
    /// An address of an interface.
    case interface(InterfaceEvent)
}

/// An address has come or gone.
public struct InterfaceEvent: BitwiseCopyable, Hashable, Sendable {
    /// What has happened to the address.
    public enum Change: UInt8, BitwiseCopyable, Sendable {
        /// It may be used from now on.
        case gained
        /// It may not be used any more: its lease or lifetime is over, or it was removed.
        case lost
        /// Somebody else on the link has it (RFC 5227, RFC 4862 §5.4): it is not ours, or not any more.
        case conflict
    }

    /// The interface's place among those that the stack was made with.
    public internal(set) var interface: UInt8
    /// The address and its network.
    public internal(set) var address: InterfaceAddress
    /// Where it came from.
    public internal(set) var origin: AddressOrigin
    /// What has happened to the address.
    public internal(set) var change: Change

    /// Events that wait to be fetched. Beyond, the oldest is dropped and counted: ``Stack/addresses(of:)`` says what holds.
    public static var capacity: Int { 64 }
}

/// Interface events that wait: a ring in memory that is taken once.
struct InterfaceNews: ~Copyable {
    private var events: [InterfaceEvent] = []
    private var first = 0
    private var count = 0
    private(set) var lost: UInt64 = 0

    init() { events.reserveCapacity(InterfaceEvent.capacity) }

    mutating func append(_ event: InterfaceEvent) {
        if count == InterfaceEvent.capacity {
            _ = popFirst()
            lost &+= 1
        }
        let place = (first + count) % InterfaceEvent.capacity
        if place == events.count { events.append(event) } else { events[place] = event }
        count += 1
    }

    mutating func popFirst() -> InterfaceEvent? {
        guard count > 0 else { return nil }
        defer {
            first = (first + 1) % InterfaceEvent.capacity
            count -= 1
        }
        return events[first]
    }
}
