// A link that makes mistakes on purpose: what a real link does rarely, on any link, as often as is asked for and the same way
// for the same seed.
//
//     inner ──▶ lose ─▶ corrupt ─▶ duplicate ─▶ hold until it is due ──▶ burst        and the other way for what is transmitted

internal import CMartlet
public import MartletStack

/// What goes wrong in one direction of a ``FaultLink``. All of it is independent; chances are 0 ... 1.
public struct LinkFaults: Sendable {
    /// The chance that a frame is lost.
    public var loss = 0.0
    /// The chance that one bit of a frame is turned over.
    public var corruption = 0.0
    /// The chance that a frame comes twice.
    public var duplication = 0.0
    /// How long every frame is held.
    public var delay = Duration.zero
    /// Up to how much longer, evenly distributed. Frames that overtake each other by it do so.
    public var jitter = Duration.zero
    /// The chance that a frame is held for `reorderingDelay` longer, so that those behind it pass.
    public var reordering = 0.0
    public var reorderingDelay = Duration.milliseconds(1)

    public init() {}
}

/// A link that loses, delays, reorders, duplicates and corrupts what passes another one.
///
/// What it loses is counted as ``LinkDrop/fault``. When more frames are held than there is room for, it takes no more until
/// some are due: it does not lose them.
public struct FaultLink<Inner: Link & ~Copyable>: Link, ~Copyable {
    private var inner: Inner
    /// What happens to frames that are received, and to those that are transmitted.
    public var receiveFaults: LinkFaults
    public var transmitFaults: LinkFaults
    private var incoming: HeldFrames
    private var outgoing: HeldFrames
    private var dice: FaultDice
    private var scratch: Burst
    /// Frames that are due and that the inner link had no room for yet.
    private var leaving: Burst
    private let clock: @Sendable () -> Int64

    /// - Parameters:
    ///   - pool: the pool of the frames that pass.
    ///   - seed: the same seed makes the same mistakes of the same frames.
    ///   - heldFrames: frames that can be held in each direction.
    ///   - clock: nanoseconds that do not go back: `CLOCK_MONOTONIC` if nil.
    public init(
        _ inner: consuming Inner, receive: LinkFaults = LinkFaults(), transmit: LinkFaults = LinkFaults(), seed: UInt64,
        pool: borrowing FramePool, heldFrames: Int = 4096, clock: (@Sendable () -> Int64)? = nil
    ) {
        self.inner = inner
        receiveFaults = receive
        transmitFaults = transmit
        incoming = HeldFrames(capacity: heldFrames, pool: pool)
        outgoing = HeldFrames(capacity: heldFrames, pool: pool)
        dice = FaultDice(state: seed)
        scratch = pool.makeBurst()
        leaving = pool.makeBurst()
        self.clock = clock ?? { martlet_monotonic_ns() }
    }

    public var name: String { inner.name }
    public var properties: LinkProperties { inner.properties }
    public var state: LinkState { inner.state }
    public var counters: LinkCounters {
        get { inner.counters }
        set { inner.counters = newValue }
    }

    public mutating func receive(into burst: inout Burst) -> Int {
        let now = clock()
        sendDue(now)
        // Twice as much room as frames: each may be duplicated.
        while incoming.room >= 2 * scratch.capacity, inner.receive(into: &scratch) > 0 {
            let lost = incoming.add(&scratch, receiveFaults, &dice, now)
            inner.counters.received.drops[.fault] &+= UInt64(lost)
        }
        return incoming.moveDue(now, to: &burst)
    }

    public mutating func transmit(_ burst: inout Burst) -> Int {
        let now = clock()
        var taken = 0
        while outgoing.room >= 2 * scratch.capacity, scratch.moveFrames(from: &burst) > 0 {
            taken += scratch.count
            let lost = outgoing.add(&scratch, transmitFaults, &dice, now)
            inner.counters.transmitted.drops[.fault] &+= UInt64(lost)
        }
        sendDue(now)
        return taken
    }

    private mutating func sendDue(_ now: Int64) {
        repeat {
            if !leaving.isEmpty, inner.transmit(&leaving) == 0 { return }
        } while outgoing.moveDue(now, to: &leaving) > 0 || !leaving.isEmpty
    }

    public mutating func reclaim() -> Int {
        sendDue(clock())
        return inner.reclaim()
    }

    public mutating func prepareToSleep(for wish: LinkWish) -> LinkSleep {
        var wish = wish
        // What is due and has found no room goes before anything else.
        if !leaving.isEmpty { wish.room = max(1, wish.room) }
        var sleep = inner.prepareToSleep(for: wish)
        sleep.deadline = min(sleep.deadline, incoming.nextDue, outgoing.nextDue)
        return sleep
    }

    public mutating func wokeUp() { inner.wokeUp() }
    public mutating func refresh() -> Bool { inner.refresh() }
}

/// Frames that wait until they are due: a heap by due time, and among equals by order of arrival (Knuth, TAOCP 3, §5.2.3).
@safe private struct HeldFrames: ~Copyable {
    private struct Held: BitwiseCopyable {
        var frame = FrameDescriptor()
        var due: Int64 = 0
        var number: UInt64 = 0

        func isBefore(_ other: Held) -> Bool { due != other.due ? due < other.due : number < other.number }
    }

    // SAFETY: allocated here for `capacity`, of which the first `count` are initialised, each a frame that this owns.
    private let heap: UnsafeMutablePointer<Held>
    private let capacity: Int
    private var count = 0
    private var number: UInt64 = 0
    private let pool: Burst

    init(capacity: Int, pool: borrowing FramePool) {
        precondition(capacity >= 2 * Burst.defaultCapacity, "a fault link holds 128 frames or more")
        self.capacity = capacity
        unsafe heap = .allocate(capacity: capacity)
        self.pool = pool.makeBurst(capacity: 1)
    }

    deinit {
        for index in 0..<count { unsafe pool.releaseSlot(heap[index].frame.slot) }
        unsafe heap.deallocate()
    }

    var room: Int { capacity - count }
    /// When the first frame is due; `.max` if none is held.
    var nextDue: Int64 { count > 0 ? unsafe heap[0].due : .max }

    /// Takes all frames of `burst`, but for those that are lost. Returns how many these are.
    mutating func add(_ burst: inout Burst, _ faults: LinkFaults, _ dice: inout FaultDice, _ now: Int64) -> Int {
        var lost = 0
        let delay = faults.delay.nanoseconds
        let jitter = faults.jitter.nanoseconds
        while var frame = burst.popFirst() {
            if dice.happens(faults.loss) {
                lost += 1
                continue
            }
            if dice.happens(faults.corruption), frame.length > 0 {
                let bit = Int(dice.number(below: UInt64(frame.length * 8)))
                var bytes = frame.mutableBytes
                bytes.invertBit(bit)
            }
            if dice.happens(faults.duplication), let copy = burst.copy(of: frame) {
                push(copy, now + delay + Int64(dice.number(below: UInt64(jitter + 1))))
            }
            var due = now + delay + Int64(dice.number(below: UInt64(jitter + 1)))
            if dice.happens(faults.reordering) { due += faults.reorderingDelay.nanoseconds }
            push(frame, due)
        }
        return lost
    }

    private mutating func push(_ frame: consuming Frame, _ due: Int64) {
        number += 1
        let held = Held(frame: frame.relinquish(), due: due, number: number)
        var place = count
        count += 1
        while place > 0, unsafe held.isBefore(heap[(place - 1) / 2]) {
            unsafe (heap + place).initialize(to: heap[(place - 1) / 2])
            place = (place - 1) / 2
        }
        unsafe (heap + place).initialize(to: held)
    }

    private mutating func popFirst() -> FrameDescriptor {
        let first = unsafe heap[0].frame
        count -= 1
        let last = unsafe heap[count]
        var place = 0
        while 2 * place + 1 < count {
            var child = 2 * place + 1
            if child + 1 < count, unsafe heap[child + 1].isBefore(heap[child]) { child += 1 }
            guard unsafe heap[child].isBefore(last) else { break }
            unsafe heap[place] = heap[child]
            place = child
        }
        if count > 0 { unsafe heap[place] = last }
        return first
    }

    /// Moves frames that are due to the end of `burst`. Returns how many.
    mutating func moveDue(_ now: Int64, to burst: inout Burst) -> Int {
        unsafe burst.appendDescriptors(burst.room) { places in
            var moved = 0
            while moved < places.count, count > 0, unsafe heap[0].due <= now {
                unsafe places.initializeElement(at: moved, to: popFirst())
                moved += 1
            }
            return moved
        }
    }
}

/// Chances that come again with their seed (Steele, Lea, Flood, OOPSLA 2014: SplitMix).
private struct FaultDice {
    var state: UInt64

    private mutating func next() -> UInt64 {
        state &+= 0x9E37_79B9_7F4A_7C15
        var mixed = state
        mixed = (mixed ^ mixed >> 30) &* 0xBF58_476D_1CE4_E5B9
        mixed = (mixed ^ mixed >> 27) &* 0x94D0_49BB_1331_11EB
        return mixed ^ mixed >> 31
    }

    /// Takes one number, whatever the chance: a fault that is turned on leaves the others where they were.
    mutating func happens(_ chance: Double) -> Bool { Double(next() >> 11) * 0x1p-53 < chance }

    /// - Precondition: `bound` is not 0.
    mutating func number(below bound: UInt64) -> UInt64 { next().multipliedFullWidth(by: bound).high }
}
