// When to ask for routers: RFC 4861 §6.3.7 as RFC 7559 §2 changes it.
//
// The old rule gave up after three solicitations; a host whose link or router came up later then waited for the next
// advertisement that nobody asked for. So it goes on, ever more seldom, until a router has answered.

/// The schedule of Router Solicitations on one interface.
struct RouterSolicitation: BitwiseCopyable {
    /// MAX_RTR_SOLICITATION_DELAY.
    static var maxDelay: Duration { .seconds(1) }
    /// IRT: the first wait.
    static var initialTime: Duration { .seconds(4) }
    /// MRT: the longest wait.
    static var maximumTime: Duration { .seconds(3600) }

    /// When the next one is to be sent; `distantFuture` once a router has answered.
    private(set) var deadline: Instant
    /// RT of RFC 8415 §15, in nanoseconds; 0 before the first one.
    private var wait: Int64 = 0

    /// A schedule that begins now: the interface came up.
    init(now: Instant, using random: inout some RandomNumberGenerator) {
        let delay = Int64.random(in: 0...Self.maxDelay.saturatedNanoseconds, using: &random)
        deadline = now.advanced(byNanoseconds: delay)
    }

    /// Whether a Router Solicitation is to be sent now. It counts as sent then.
    mutating func isDue(at now: Instant, using random: inout some RandomNumberGenerator) -> Bool {
        guard now >= deadline else { return false }
        let first = Self.initialTime.saturatedNanoseconds
        let longest = Self.maximumTime.saturatedNanoseconds
        // RFC 8415 §15: twice the last wait, and a tenth of that one more or less at random.
        let last = wait == 0 ? first : wait
        wait += last + Self.jitter(of: last, using: &random)
        if wait > longest { wait = longest + Self.jitter(of: longest, using: &random) }
        deadline = now.advanced(byNanoseconds: wait)
        return true
    }

    /// A router has answered with a lifetime that is not zero: nothing more is to be sent (RFC 7559 §2.1).
    mutating func receiveRouterAdvertisement(lifetime: Duration) {
        if lifetime > .zero { deadline = .distantFuture }
    }

    private static func jitter(of wait: Int64, using random: inout some RandomNumberGenerator) -> Int64 {
        Int64.random(in: -wait / 10...wait / 10, using: &random)
    }
}
