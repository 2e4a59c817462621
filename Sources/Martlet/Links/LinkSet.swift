// Several links of a core: a place for them, and the wait for any of them.
//
// After PacketShader's packet I/O engine, whose user-level `select` sleeps only when every queue it looks after is idle.

internal import CMartlet
internal import Glibc
public import MartletStack

/// Links by number, as many as room was made for. They are of any kind, and belong to one core.
@safe public struct LinkSet: ~Copyable {
    // SAFETY: `links` and `polls` have room for `capacity`; the first `count` of `links` are initialised. Indices are checked.
    private let links: UnsafeMutablePointer<AnyLink>
    private let polls: UnsafeMutablePointer<pollfd>
    public let capacity: Int
    public private(set) var count = 0
    /// The link that is looked at first the next time: none has to wait for ever behind a busy one.
    private var turn = 0

    /// A set with room for `capacity` links, which it allocates.
    public init(capacity: Int) {
        precondition(capacity > 0 && capacity <= 65_536, "a set has room for 1 ... 65,536 links")
        self.capacity = capacity
        unsafe links = .allocate(capacity: capacity)
        unsafe polls = .allocate(capacity: capacity)
    }

    deinit {
        unsafe links.deinitialize(count: count)
        unsafe links.deallocate()
        unsafe polls.deallocate()
    }

    /// Adds a link, whose number is the count before.
    ///
    /// - Precondition: there is room.
    @discardableResult
    public mutating func append<Added: Link & ~Copyable>(_ link: consuming Added) -> Int {
        precondition(count < capacity, "a set takes no more links than it was made for")
        unsafe (links + count).initialize(to: AnyLink(link))
        count += 1
        return count - 1
    }

    /// The link with that number.
    public subscript(index: Int) -> AnyLink {
        unsafeAddress {
            precondition(index >= 0 && index < count, "there is no such link")
            return unsafe UnsafePointer(links + index)
        }
        unsafeMutableAddress {
            precondition(index >= 0 && index < count, "there is no such link")
            return unsafe links + index
        }
    }

    /// Receives from the next link in turn that has frames. Returns its number, or nil if none has any.
    public mutating func receive(into burst: inout Burst) -> Int? {
        for offset in 0..<count {
            let sum = turn + offset
            let index = sum < count ? sum : sum - count
            if unsafe links[index].receive(into: &burst) > 0 {
                turn = index + 1 < count ? index + 1 : 0
                return index
            }
        }
        return nil
    }

    /// Puts the calling thread to sleep until a link may have what is wished, or the timeout is over. Returns at once if one has.
    ///
    /// It is for threads of a program's own. On a core of a runtime it would hold up everything else there: several tasks that each
    /// wait for one link, with ``OpenLink/nextBurst(atLeast:within:)``, sleep together in the core's one system call.
    ///
    /// - Parameters:
    ///   - wish: What to wake up for, on any of the links.
    ///   - timeout: nil waits for ever.
    /// - Returns: whether a link may have it, or has come to the end of its life.
    public mutating func sleep(for wish: LinkWish = LinkWish(), atMost timeout: Duration? = nil) -> Bool {
        let limit = timeout.map { martlet_monotonic_ns().saturatingAdding($0.nanoseconds) } ?? .max
        var due = Int64.max
        var isReady = false
        var polled = 0
        for index in 0..<count {
            let sleep = unsafe links[index].prepareToSleep(for: wish)
            isReady = isReady || sleep.isReady
            due = min(due, sleep.deadline)
            guard sleep.descriptor >= 0 else { continue }
            let events = (sleep.forInput ? POLLIN : 0) | (sleep.forOutput ? POLLOUT : 0)
            unsafe (polls + polled).initialize(to: pollfd(fd: sleep.descriptor, events: Int16(events), revents: 0))
            polled += 1
        }
        if !isReady {
            let deadline = min(limit, due)
            let patience = deadline == .max ? -1 : max(0, deadline - martlet_monotonic_ns())
            isReady = unsafe martlet_poll(polls, UInt32(polled), patience) > 0 || due <= martlet_monotonic_ns()
        }
        for index in 0..<count { unsafe links[index].wokeUp() }
        return isReady
    }

    /// Whether every link is gone.
    public var isGone: Bool {
        for index in 0..<count where unsafe links[index].state != .gone { return false }
        return true
    }
}

extension Int64 {
    func saturatingAdding(_ other: Int64) -> Int64 {
        let (sum, overflows) = addingReportingOverflow(other)
        return overflows ? .max : sum
    }
}
