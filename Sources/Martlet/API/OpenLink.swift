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
            let sleep = link.prepareToSleep(for: LinkWish(frames: wanted))
            let outcome = sleep.isReady || state == .gone ? .ready : await rest(on: sleep, state, deadline)
            link.wokeUp()
            if outcome == .cancelled { throw .cancelled }
            var burst = pool.makeBurst()
            if link.receive(into: &burst) > 0 { return burst }
            if state == .gone { return nil }
            if martlet_monotonic_ns() >= deadline { throw .deadlineExceeded }
            if sleep.isReady {
                // Something is there and cannot be had: the core has no free frames. They come back in a while.
                let pause = min(deadline, martlet_monotonic_ns() + 1_000_000)
                if await core.sleep(on: LinkSleep(descriptor: -1), deadline: pause) == .cancelled { throw .cancelled }
            }
            if wanted > 1, martlet_monotonic_ns() >= deadline { wanted = 1 }
        }
    }

    /// Sleeps until the link has something. Nothing announces that an interface has come up, so one that is down is looked at.
    private func rest(on sleep: LinkSleep, _ state: LinkState, _ deadline: Int64) async -> Outcome {
        guard state == .down else { return await core.sleep(on: sleep, deadline: deadline) }
        let pause = min(deadline, martlet_monotonic_ns() + 100_000_000)
        let outcome = await core.sleep(on: LinkSleep(descriptor: -1), deadline: pause)
        _ = link.refresh()
        return outcome
    }

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
        precondition(!isReceiving, "a link is closed while a task receives from it")
        link = AnyLink(NullLink(closed: link.name))
    }
}
