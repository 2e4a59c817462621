// A link that writes down what passes another one, for Wireshark and tshark.

internal import CMartlet
public import MartletStack

/// A link that captures what passes another one into a ``CaptureFile``, with what was dropped and why.
///
/// While it does not capture, it costs one comparison a burst.
public struct CaptureLink<Inner: Link & ~Copyable>: Link, ~Copyable {
    private var inner: Inner
    private let file: CaptureFile
    private let interface: UInt32
    /// Whether frames are written down.
    public var isCapturing: Bool

    /// - Parameter file: the file, which several links may write to. It belongs to the core of these links.
    public init(_ inner: consuming Inner, to file: CaptureFile, isCapturing: Bool = true) {
        interface = file.addInterface(inner.name, medium: inner.properties.medium)
        self.inner = inner
        self.file = file
        self.isCapturing = isCapturing
    }

    deinit { file.writeStatistics(interface, inner.counters) }

    public var name: String { inner.name }
    public var properties: LinkProperties { inner.properties }
    public var state: LinkState { inner.state }
    public var counters: LinkCounters {
        get { inner.counters }
        set { inner.counters = newValue }
    }

    public mutating func receive(into burst: inout Burst) -> Int {
        let count = inner.receive(into: &burst)
        if isCapturing, count > 0 { file.write(&burst, last: count, interface) }
        return count
    }

    public mutating func transmit(_ burst: inout Burst) -> Int {
        guard isCapturing else { return inner.transmit(&burst) }
        var sum = 0
        while !burst.isEmpty {
            // They are written first, because afterwards they are somebody else's. What was not taken is taken back, so they
            // go in as many as fit into what the file has at hand.
            let (offered, taken) = transmitSome(&burst)
            sum += taken
            if taken < offered { break }
        }
        return sum
    }

    private mutating func transmitSome(_ burst: inout Burst) -> (offered: Int, taken: Int) {
        let offered = file.makeRoom(for: &burst)
        guard offered > 0 else {
            let count = burst.count
            let taken = inner.transmit(&burst)
            file.miss(taken)
            return (count, taken)
        }
        let taken = burst.withFirst(offered) { some in
            file.write(&some, interface)
            return inner.transmit(&some)
        }
        if taken < offered { file.takeBack(offered - taken) }
        return (offered, taken)
    }

    public mutating func transmitOrDrop(_ burst: inout Burst) -> Int {
        let taken = transmit(&burst)
        if isCapturing, !burst.isEmpty { file.write(&burst, interface, dropped: .ringFull) }
        return taken + inner.transmitOrDrop(&burst)
    }

    public mutating func reclaim() -> Int { inner.reclaim() }
    public mutating func prepareToSleep(for wish: LinkWish) -> LinkSleep {
        var sleep = inner.prepareToSleep(for: wish)
        if let due = file.flushIfDue(now: martlet_monotonic_ns()) { sleep.deadline = min(sleep.deadline, due) }
        return sleep
    }
    public mutating func wokeUp() { inner.wokeUp() }
    public mutating func refresh() -> Bool { inner.refresh() }
}
