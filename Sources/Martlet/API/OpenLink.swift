// A link as a program sees it: bursts that are awaited, on the link's core.

internal import CMartlet
public import MartletStack

/// A link that is open on a core.
///
///     while let burst = try await left.nextBurst() { right.transmit(burst) }
///
/// Bursts of all links of a core are of one pool, so that a frame that goes from one to the other is not copied. A link is used
/// on its core: in the closure that ``Runtime/withLink(_:_:)`` runs and in child tasks of that. One task receives at a time,
/// and others may transmit meanwhile.
public final class OpenLink: @unchecked Sendable {
    // `@unchecked`: it may be held anywhere, and is touched on the core's thread, which every call checks.
    private let core: Core
    private var link: AnyLink
    private let pool: Burst
    private var isReceiving = false
    private var isAwaitingRoom = false
    /// What the tasks wish that wait.
    private var wish = LinkWish(frames: 0, room: 0)
    /// The waiter of the task that sleeps on the link, and on what; -1 if none does.
    private var sleeper: Int32 = -1
    private var sleeping = LinkSleep(descriptor: -1)
    /// The waiter of the task that waits for the sleeper to wake it; -1 if there is none.
    private var follower: Int32 = -1
    private var followerIsMet = false
    /// The sleeper was woken because there is another wish.
    private var isRoused = false
    /// Bursts that were there without waiting, since the other tasks of the core had their turn.
    private var turns = 0
    private static let turnsAtOnce = 64

    init(_ link: consuming AnyLink, core: Core, pool: consuming Burst) {
        self.link = link
        self.core = core
        self.pool = pool
    }

    /// As in ``Link/name``.
    public var name: String { link.name }
    /// As in ``Link/properties``.
    public var properties: LinkProperties { link.properties }
    /// As in ``Link/state``.
    public var state: LinkState { link.state }
    /// As in ``Link/counters``.
    public var counters: LinkCounters {
        get { link.counters }
        set { link.counters = newValue }
    }

    /// An empty burst for frames of the core's pool.
    public func makeBurst() -> Burst { pool.makeBurst() }

    /// The frames that have arrived, 64 at most, or nil when the link is gone and all that came before has been received.
    ///
    /// It suspends only if there are none. An interface that is down is waited for.
    ///
    /// - Parameters:
    ///   - frames: Wait until there are so many. Links that cannot count them wait for the first.
    ///   - timeout: How long to wait. What has come by then is returned, if it is fewer than `frames`.
    /// - Throws: ``LinkError/deadlineExceeded`` if nothing has come, ``LinkError/cancelled``. No frame is lost by either.
    public nonisolated(nonsending) func nextBurst(
        atLeast frames: Int = 1, within timeout: Duration? = nil
    ) async throws(LinkError) -> Burst? {
        precondition(core.isHome(#isolation), "a link is used on its core")
        if turns == Self.turnsAtOnce { try await letOthersRun() }
        if frames <= 1 {
            var burst = pool.makeBurst()
            if link.receive(into: &burst) > 0 {
                turns &+= 1
                return burst
            }
        }
        return try await awaitBurst(frames, core.deadline(within: timeout))
    }

    private func letOthersRun() async throws(LinkError) {
        turns = 0
        await Task.yield()
        if CurrentTask.isCancelled { throw .cancelled }
    }

    private func awaitBurst(_ frames: Int, _ deadline: Int64) async throws(LinkError) -> Burst? {
        precondition(!isReceiving, "two tasks receive from one link at once")
        isReceiving = true
        defer { isReceiving = false }
        turns = 0
        var wanted = max(1, min(frames, Burst.defaultCapacity))
        while true {
            let state = link.state
            var rest = Rest.woken
            switch state {
            case .up: rest = await self.rest(LinkWish(frames: wanted), deadline)
            case .down: rest = await sleepWhileDown(deadline)
            case .gone: break
            }
            if rest == .cancelled { throw .cancelled }
            var burst = pool.makeBurst()
            if link.receive(into: &burst) > 0 { return burst }
            if state == .gone { return nil }
            if core.clock.nanoseconds >= deadline { throw .deadlineExceeded }
            if rest == .met {
                // Something is there and cannot be had: the core has no free frames. They come back in a while.
                let pause = min(deadline, core.clock.nanoseconds + 1_000_000)
                if await core.sleep(on: LinkSleep(descriptor: -1), deadline: pause) == .cancelled { throw .cancelled }
            }
            if wanted > 1, core.clock.nanoseconds >= deadline { wanted = 1 }
        }
    }

    /// Nothing announces that an interface has come up, so one that is down is looked at.
    private func sleepWhileDown(_ deadline: Int64) async -> Rest {
        let pause = min(deadline, core.clock.nanoseconds + 100_000_000)
        let outcome = await core.sleep(on: LinkSleep(descriptor: -1), deadline: pause)
        _ = link.refresh()
        return outcome == .cancelled ? .cancelled : .woken
    }

    /// Waits until the link has room for so many frames to be transmitted.
    ///
    ///     while !burst.isEmpty {
    ///         try await link.room()
    ///         link.transmit(whatFits: &burst)
    ///     }
    ///
    /// It suspends only if there is none. One task waits for room at a time, and another may receive meanwhile. A link that is down
    /// has room: what it is given it drops, and counts.
    ///
    /// - Parameters:
    ///   - frames: How many, no more than the link's ring takes. A link that cannot count them waits for room for one.
    ///   - timeout: How long to wait.
    /// - Throws: ``LinkError/gone(link:)``, ``LinkError/deadlineExceeded``, ``LinkError/cancelled``.
    public nonisolated(nonsending) func room(
        for frames: Int = 1, within timeout: Duration? = nil
    ) async throws(LinkError) {
        precondition(core.isHome(#isolation), "a link is used on its core")
        precondition(frames > 0, "room for one frame at least")
        if link.state != .gone, sleeper < 0, isMet(LinkWish(frames: 0, room: frames)) { return }
        try await awaitRoom(frames, core.deadline(within: timeout))
    }

    private func awaitRoom(_ frames: Int, _ deadline: Int64) async throws(LinkError) {
        precondition(!isAwaitingRoom, "two tasks wait for room on one link at once")
        isAwaitingRoom = true
        defer { isAwaitingRoom = false }
        while true {
            if link.state == .gone { throw .gone(link: link.name) }
            switch await rest(LinkWish(frames: 0, room: frames), deadline) {
            case .met: return
            case .woken: if core.clock.nanoseconds >= deadline { throw .deadlineExceeded }
            case .cancelled: throw .cancelled
            }
        }
    }

    // MARK: One sleep for two tasks

    /// How a wait ended.
    private enum Rest {
        /// What was wished is there.
        case met
        /// It may be, or the time is up: the caller looks for itself.
        case woken
        case cancelled
    }

    /// Waits until a wish may be met: for frames, or for room.
    ///
    /// A link is slept on by one task, since what it wakes up for is said once. So of two tasks the first one sleeps, and the second
    /// one follows: it has the first say both wishes to the link, and is woken by it.
    private func rest(_ own: LinkWish, _ deadline: Int64) async -> Rest {
        if own.frames > 0 { wish.frames = own.frames } else { wish.room = own.room }
        defer { if own.frames > 0 { wish.frames = 0 } else { wish.room = 0 } }
        return sleeper >= 0 ? await follow(deadline) : await lead(own, deadline)
    }

    private func follow(_ deadline: Int64) async -> Rest {
        if CurrentTask.isCancelled { return .cancelled }
        let waiter = core.takeWaiter(in: .link)
        (follower, followerIsMet, isRoused) = (waiter, false, true)
        core.rouse(sleeper, from: sleeping)
        let outcome = await core.follow(waiter, deadline: deadline)
        if follower == waiter { follower = -1 }
        return outcome == .cancelled ? .cancelled : followerIsMet ? .met : .woken
    }

    private func lead(_ own: LinkWish, _ deadline: Int64) async -> Rest {
        // Whoever follows takes the lead, or looks whether the link is gone.
        defer { wakeFollower(of: own, isMet: false) }
        while true {
            let sleep = link.prepareToSleep(for: wish)
            if sleep.isReady {
                link.wokeUp()
                // Whose wish it is: the other's is told, and not said to the link again.
                if !serveFollower(own) { return .met }
                continue
            }
            isRoused = false
            let outcome = await core.sleep(on: sleep, deadline: deadline) {
                (sleeper, sleeping) = ($0, sleep)
            }
            sleeper = -1
            link.wokeUp()
            switch outcome {
            case .cancelled: return .cancelled
            case .deadline: return .woken
            case .ready: if !isRoused { return .woken }
            }
        }
    }

    /// Wakes the follower if its wish is met. Returns whether it did.
    private func serveFollower(_ own: LinkWish) -> Bool {
        guard follower >= 0 else { return false }
        let other = own.frames > 0 ? LinkWish(frames: 0, room: wish.room) : LinkWish(frames: wish.frames, room: 0)
        guard isMet(other) else { return false }
        wakeFollower(of: own, isMet: true)
        return true
    }

    private func wakeFollower(of own: LinkWish, isMet: Bool) {
        guard follower >= 0 else { return }
        if own.frames > 0 { wish.room = 0 } else { wish.frames = 0 }
        followerIsMet = isMet
        core.transport.end(follower, .ready)
        follower = -1
    }

    /// Whether the link has what is wished now. Nobody sleeps on it meanwhile.
    private func isMet(_ wish: LinkWish) -> Bool {
        let sleep = link.prepareToSleep(for: wish)
        link.wokeUp()
        return sleep.isReady
    }

    // MARK: Transmitting

    /// Transmits a burst. What there is no room for is dropped, and counted in ``counters``.
    ///
    /// - Returns: how many frames the link has taken.
    @discardableResult
    public func transmit(_ burst: consuming Burst) -> Int {
        precondition(core.isCurrent, "a link is used on its core")
        return link.transmitOrDrop(&burst)
    }

    /// Transmits what there is room for. The rest stays in the burst.
    ///
    /// - Returns: how many frames the link has taken.
    @discardableResult
    public func transmit(whatFits burst: inout Burst) -> Int {
        precondition(core.isCurrent, "a link is used on its core")
        return link.transmit(&burst)
    }

    /// Closes the link: its handle may live on, and is one of a link that is gone.
    func close() {
        precondition(!isReceiving && !isAwaitingRoom, "a link is closed while a task waits on it")
        link = AnyLink(NullLink(closed: link.name))
    }
}
