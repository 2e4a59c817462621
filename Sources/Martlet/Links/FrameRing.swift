// A ring of frames between one producer and one consumer, on one thread or on two.
//
//                     freed                 filled
//                       ▼                     ▼
//     positions │ empty │ frame │ frame │ … │ empty │ empty │
//                consumer takes here ▲        ▲ producer puts here
//
// Each side writes its own index and remembers the other's as it last saw it, so that a side looks at the other's cache line
// only when what it remembers does not suffice (Lee et al., MCRingBuffer, IPDPS 2010).
//
// Between two pools over one arena a position is never empty of memory: who puts a frame there takes the free slot that lies
// there, and who takes a frame leaves a free slot (netmap's swapping of buffers). So each pool keeps as many as it has, no frame
// has to be sent back, and the only lines that cross are those of the frames themselves. Within one pool descriptors are moved.
// Between two arenas the producer copies a frame into the slot that lies in its position, which is of the consumer's pool.

internal import CMartlet
internal import MartletStack
internal import Synchronization

/// What one side of a ring writes. The lines are a pair apart, because the hardware fetches pairs.
struct RingSide: ~Copyable {
    /// How far this side has come, in frames since the ring was made.
    let index = Atomic<UInt>(0)
    /// The other side's index as this side last saw it.
    var seen: UInt = 0
    private let gap0 = InlineArray<14, UInt64>(repeating: 0)
    /// This side sleeps until the other's index has come here; 0 if it is awake. It is never 0 while it sleeps, because no
    /// side waits for what there was at the start.
    let mark = Atomic<UInt>(0)
    /// What wakes this side up; -1 until it sleeps for the first time.
    let eventDescriptor = Atomic<Int32>(-1)
    let isGone = Atomic<Bool>(false)
    private let gap1 = InlineArray<14, UInt64>(repeating: 0)
}

@safe final class FrameRing: @unchecked Sendable {
    // SAFETY: the three are allocated here and freed in the deinit. `producer` and `consumer` are written by their sides alone,
    // but for atomics. A position is the producer's from `freed + capacity` on and the consumer's up to `filled`: each index is
    // published with release after the position was written, and read with acquire before it is.
    private let producer: UnsafeMutablePointer<RingSide>
    private let consumer: UnsafeMutablePointer<RingSide>
    private let positions: UnsafeMutablePointer<FrameDescriptor>
    private let mask: UInt
    let capacity: Int
    /// Frames pass between two pools, and perhaps two threads: slots are swapped, and a sleeper is looked for with a fence.
    let isShared: Bool
    /// Between two arenas: where the consumer's slots lie.
    let slots: FrameSlots?
    /// What has to live as long as the ring: the consumer's arena, and what its sides are woken by.
    private let keeper: AnyObject?

    /// A ring for `capacity` frames, rounded up to a power of two.
    convenience init(capacity: Int, isShared: Bool) {
        self.init(capacity, isShared: isShared, slots: nil, keeping: nil)
    }

    /// A ring into the pool of `burst`, from another arena: `capacity` slots of the pool lie in it, or fewer if the pool has not eight
    /// times as many. Nil if it has hardly any.
    ///
    /// It is made by the consumer. When that leaves, the slots stay in the ring, where the producer may be writing.
    convenience init?(copyingInto burst: borrowing Burst, capacity wanted: Int, keeping keeper: AnyObject) {
        var count = wanted
        while count * 8 > burst.freeFrames, count > 1 { count /= 2 }
        guard count >= 8 else { return nil }
        self.init(count, isShared: true, slots: burst.slots, keeping: keeper)
        for position in 0..<capacity {
            guard unsafe burst.stock(positions + position) else { preconditionFailure("a pool that has shrunk") }
        }
    }

    private init(_ wanted: Int, isShared: Bool, slots: FrameSlots?, keeping keeper: AnyObject?) {
        precondition(wanted > 0 && wanted <= 1 << 20, "a ring has room for 1 ... 2²⁰ frames")
        capacity = wanted == 1 ? 1 : 1 << (Int.bitWidth - (wanted - 1).leadingZeroBitCount)
        mask = UInt(capacity - 1)
        self.isShared = isShared
        self.slots = slots
        self.keeper = keeper
        unsafe producer = Self.allocateSide()
        unsafe consumer = Self.allocateSide()
        let raw = UnsafeMutableRawPointer.allocate(
            byteCount: capacity * MemoryLayout<FrameDescriptor>.stride, alignment: 128)
        unsafe positions = raw.bindMemory(to: FrameDescriptor.self, capacity: capacity)
        unsafe positions.initialize(
            repeating: FrameDescriptor(slot: FrameDescriptor.noSlot, start: 0, length: 0), count: capacity)
    }

    private static func allocateSide() -> UnsafeMutablePointer<RingSide> {
        let raw = UnsafeMutableRawPointer.allocate(byteCount: MemoryLayout<RingSide>.size, alignment: 128)
        let side = unsafe raw.bindMemory(to: RingSide.self, capacity: 1)
        unsafe side.initialize(to: RingSide())
        return unsafe side
    }

    deinit {
        unsafe producer.deinitialize(count: 1)
        unsafe consumer.deinitialize(count: 1)
        unsafe UnsafeMutableRawPointer(producer).deallocate()
        unsafe UnsafeMutableRawPointer(consumer).deallocate()
        unsafe UnsafeMutableRawPointer(positions).deallocate()
    }

    // MARK: The producer's side

    /// Room for frames, at least `wanted` of it if there is.
    @inline(__always)
    private func room(_ wanted: Int, filled: UInt) -> Int {
        var room = unsafe capacity &- Int(bitPattern: filled &- producer.pointee.seen)
        if room < wanted {
            unsafe producer.pointee.seen = consumer.pointee.index.load(ordering: .acquiring)
            room = unsafe capacity &- Int(bitPattern: filled &- producer.pointee.seen)
        }
        return room
    }

    /// Puts frames from the beginning of `burst` into the ring, as many as there is room for. Returns how many.
    func put(_ burst: inout Burst) -> Int {
        let filled = unsafe producer.pointee.index.load(ordering: .relaxed)
        let count = min(burst.count, room(burst.count, filled: filled))
        guard count > 0 else { return 0 }
        let offset = Int(bitPattern: filled & mask)
        let run = min(count, capacity &- offset)
        unsafe put(run, of: &burst, at: positions + offset)
        if run < count { unsafe put(count &- run, of: &burst, at: positions) }
        let published = filled &+ UInt(bitPattern: count)
        unsafe producer.pointee.index.store(published, ordering: .releasing)
        unsafe wake(consumer, at: published)
        return count
    }

    @inline(__always)
    private func put(_ count: Int, of burst: inout Burst, at target: UnsafeMutablePointer<FrameDescriptor>) {
        if let slots {
            unsafe burst.copyFirst(count, into: target, of: slots)
        } else if isShared {
            unsafe burst.swapFirst(count, into: target)
        } else {
            unsafe burst.withDescriptors {
                unsafe target.update(from: $0.baseAddress.unsafelyUnwrapped, count: count)
            }
            unsafe burst.relinquishFirst(count)
        }
    }

    // MARK: The consumer's side

    /// Frames that can be taken, at least `wanted` of them if there are.
    @inline(__always)
    private func available(_ wanted: Int, freed: UInt) -> Int {
        var available = unsafe Int(bitPattern: consumer.pointee.seen &- freed)
        if available < wanted {
            unsafe consumer.pointee.seen = producer.pointee.index.load(ordering: .acquiring)
            available = unsafe Int(bitPattern: consumer.pointee.seen &- freed)
        }
        return available
    }

    /// Appends frames from the ring to `burst`, as many as there is room for. Returns how many.
    func take(into burst: inout Burst) -> Int {
        let freed = unsafe consumer.pointee.index.load(ordering: .relaxed)
        let count = min(burst.room, available(burst.room, freed: freed))
        guard count > 0 else { return 0 }
        let offset = Int(bitPattern: freed & mask)
        let run = min(count, capacity &- offset)
        var taken = unsafe take(run, from: positions + offset, into: &burst)
        if run < count && taken == run { taken &+= unsafe take(count &- run, from: positions, into: &burst) }
        guard taken > 0 else { return 0 }
        let published = freed &+ UInt(bitPattern: taken)
        unsafe consumer.pointee.index.store(published, ordering: .releasing)
        unsafe wake(producer, at: published)
        return taken
    }

    @inline(__always)
    private func take(_ count: Int, from source: UnsafeMutablePointer<FrameDescriptor>, into burst: inout Burst) -> Int
    {
        if isShared { return unsafe burst.appendSwapping(count, from: source) }
        return unsafe burst.appendDescriptors(count) {
            guard let target = $0.baseAddress else { return 0 }
            unsafe target.update(from: source, count: count)
            return count
        }
    }

    // MARK: Sleeping

    /// Wakes the side that sleeps until the other's index has come to its mark. Its own thread publishes the mark and then looks
    /// at the index, this one has published the index and then looks at the mark: with a fence on both sides one of them sees
    /// the other (`Inbox` does the same). On one thread there is nothing to order.
    @inline(__always)
    private func wake(_ side: UnsafeMutablePointer<RingSide>, at index: UInt) {
        if isShared { atomicMemoryFence(ordering: .sequentiallyConsistent) }
        let mark = unsafe side.pointee.mark.load(ordering: .relaxed)
        if mark != 0 && index >= mark { unsafe signal(side) }
    }

    @inline(never)
    private func signal(_ side: UnsafeMutablePointer<RingSide>) {
        guard unsafe side.pointee.mark.exchange(0, ordering: .acquiringAndReleasing) != 0 else { return }
        unsafe martlet_eventfd_signal(side.pointee.eventDescriptor.load(ordering: .acquiring))
    }

    /// The consumer is going to sleep until there are `frames` frames. Returns false if there are, or if it is in vain.
    func prepareConsumer(frames: Int, eventDescriptor: Int32) -> Bool {
        let freed = unsafe consumer.pointee.index.load(ordering: .relaxed)
        return unsafe prepare(
            consumer, other: producer, until: freed &+ UInt(min(max(frames, 1), capacity)), eventDescriptor)
    }

    /// The producer is going to sleep until there is room for `room` frames. Returns false if there is, or if it is in vain.
    func prepareProducer(room: Int, eventDescriptor: Int32) -> Bool {
        let filled = unsafe producer.pointee.index.load(ordering: .relaxed)
        let wanted = filled &+ UInt(min(max(room, 1), capacity))
        guard wanted > UInt(capacity) else { return false }
        return unsafe prepare(producer, other: consumer, until: wanted &- UInt(capacity), eventDescriptor)
    }

    private func prepare(
        _ side: UnsafeMutablePointer<RingSide>, other: UnsafeMutablePointer<RingSide>, until mark: UInt,
        _ eventDescriptor: Int32
    ) -> Bool {
        unsafe side.pointee.eventDescriptor.store(eventDescriptor, ordering: .releasing)
        unsafe side.pointee.mark.store(mark, ordering: .sequentiallyConsistent)
        atomicMemoryFence(ordering: .sequentiallyConsistent)
        let isThere = unsafe other.pointee.index.load(ordering: .acquiring) >= mark
        return unsafe !(isThere || other.pointee.isGone.load(ordering: .acquiring))
    }

    /// A side is awake.
    func wokeConsumer() { unsafe consumer.pointee.mark.store(0, ordering: .relaxed) }
    func wokeProducer() { unsafe producer.pointee.mark.store(0, ordering: .relaxed) }

    // MARK: Marks

    /// The positions that are the consumer's.
    func consumerMarks() -> (head: UInt, tail: UInt) {
        unsafe (consumer.pointee.index.load(ordering: .relaxed), producer.pointee.index.load(ordering: .acquiring))
    }

    /// The positions that are the producer's.
    func producerMarks() -> (head: UInt, tail: UInt) {
        let filled = unsafe producer.pointee.index.load(ordering: .relaxed)
        return unsafe (filled, consumer.pointee.index.load(ordering: .acquiring) &+ UInt(capacity))
    }

    func publishConsumer(_ index: UInt) {
        unsafe consumer.pointee.index.store(index, ordering: .releasing)
        unsafe wake(producer, at: index)
    }

    func publishProducer(_ index: UInt) {
        unsafe producer.pointee.index.store(index, ordering: .releasing)
        unsafe wake(consumer, at: index)
    }

    /// - Precondition: the position is the caller's side's.
    @unsafe
    func withPosition<Result>(_ index: UInt, _ body: (UnsafeMutablePointer<FrameDescriptor>) -> Result) -> Result {
        unsafe body(positions + Int(bitPattern: index & mask))
    }

    // MARK: Ends that go away

    var isConsumerGone: Bool { unsafe consumer.pointee.isGone.load(ordering: .acquiring) }
    var isProducerGone: Bool { unsafe producer.pointee.isGone.load(ordering: .acquiring) }
    var isEmpty: Bool {
        unsafe producer.pointee.index.load(ordering: .acquiring) == consumer.pointee.index.load(ordering: .acquiring)
    }

    /// Says that a side is gone, and wakes the other.
    func leaveAsConsumer() { unsafe leave(consumer, other: producer) }
    func leaveAsProducer() { unsafe leave(producer, other: consumer) }

    private func leave(_ side: UnsafeMutablePointer<RingSide>, other: UnsafeMutablePointer<RingSide>) {
        unsafe side.pointee.isGone.store(true, ordering: .sequentiallyConsistent)
        atomicMemoryFence(ordering: .sequentiallyConsistent)
        unsafe signal(other)
    }

    /// Gives everything that lies in the ring to the pool of `burst`. Both sides are gone, or are the caller's.
    func empty(into burst: borrowing Burst) {
        if isShared {
            for position in 0..<capacity {
                let slot = unsafe positions[position].slot
                guard slot != FrameDescriptor.noSlot else { continue }
                unsafe burst.adoptSlot(slot)
                unsafe positions[position].slot = FrameDescriptor.noSlot
            }
        } else {
            var freed = unsafe consumer.pointee.index.load(ordering: .relaxed)
            let filled = unsafe producer.pointee.index.load(ordering: .relaxed)
            while freed != filled {
                unsafe burst.releaseSlot(positions[Int(bitPattern: freed & mask)].slot)
                freed &+= 1
            }
            unsafe consumer.pointee.index.store(freed, ordering: .releasing)
        }
    }
}

/// A ring that somebody else keeps alive. Calls count no reference: the count's line would go to and fro between the ring's two cores.
@safe struct RingReference: BitwiseCopyable {
    // SAFETY: whoever holds it keeps the ring as well.
    private let ring: Unmanaged<FrameRing>

    init(_ ring: FrameRing) { unsafe self.ring = .passUnretained(ring) }

    func put(_ burst: inout Burst) -> Int { unsafe ring._withUnsafeGuaranteedRef { $0.put(&burst) } }

    func take(into burst: inout Burst) -> Int { unsafe ring._withUnsafeGuaranteedRef { $0.take(into: &burst) } }

    /// The consumer is going to sleep until there is a frame. Returns false if there is one.
    func prepareConsumer(eventDescriptor: Int32) -> Bool {
        unsafe ring._withUnsafeGuaranteedRef { $0.prepareConsumer(frames: 1, eventDescriptor: eventDescriptor) }
    }

    func wokeConsumer() { unsafe ring._withUnsafeGuaranteedRef { $0.wokeConsumer() } }
}
