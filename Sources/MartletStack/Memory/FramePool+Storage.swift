// A pool's memory, as frames, bursts and links see it.
//
//     header ──▶ arena │ slot 0 │ slot 1 │ slot 2 │ …                 the packets
//                free  │ 2 │ 0 │ 7 │ 1 │…                             slots that are free, the next to be taken last
//                                    ▲ freeCount

extension FramePool {
    /// A pointer to a pool's memory, which owns nothing. Bursts count themselves in and out.
    @safe
    @usableFromInline
    struct Storage: BitwiseCopyable {
        // SAFETY: `header` is allocated by the pool, and freed when the pool and the last burst are gone. Slots are taken
        // from the free stack and put back once each, because a Frame is consumed once.
        @usableFromInline let header: UnsafeMutablePointer<Header>

        @safe
        @usableFromInline
        struct Header {
            @usableFromInline let arena: UnsafeMutableRawPointer
            /// Has room for every slot of the arena: where pools share one, any slot may come to any of them.
            @usableFromInline let free: UnsafeMutablePointer<UInt32>
            @usableFromInline var freeCount: Int
            /// Slots that are the pool's, free or out.
            @usableFromInline var count: Int
            @usableFromInline let capacity: Int
            @usableFromInline let headroom: UInt16
            /// Slots of the arena.
            @usableFromInline let slotCount: Int
            /// The pool, and each of its bursts.
            @usableFromInline var users = 1
            /// Debug builds: who has each slot.
            @usableFromInline var takers: UnsafeMutablePointer<Taker>?
            /// Descriptors of bursts that are gone, linked, for those to come.
            @usableFromInline var spare: UnsafeMutablePointer<SpareDescriptors>?
            let memory: ArenaMemory
            /// Who has mapped the arena, and how to say that it is not needed any more; nil if the pool allocated it.
            let owner: UnsafeMutableRawPointer?
            let release: (@convention(c) (UnsafeMutableRawPointer?) -> Void)?
        }

        init(
            arena: UnsafeMutableRawPointer, slots: Range<Int>, of slotCount: Int, capacity: Int, headroom: Int,
            memory: ArenaMemory, owner: UnsafeMutableRawPointer?,
            release: (@convention(c) (UnsafeMutableRawPointer?) -> Void)?
        ) {
            precondition(slotCount > 0 && slotCount <= Int(Int32.max), "a pool has 1 ... 2³¹ frames")
            precondition(
                capacity >= 256 && headroom >= 0 && headroom < capacity && headroom <= Int(UInt16.max),
                "a slot has 256 bytes or more, and its headroom fits in")
            precondition(slots.lowerBound >= 0 && slots.upperBound <= slotCount, "slots beyond the arena")
            let free = UnsafeMutablePointer<UInt32>.allocate(capacity: slotCount)
            for (position, slot) in slots.reversed().enumerated() {
                unsafe (free + position).initialize(to: UInt32(slot))
            }
            unsafe header = .allocate(capacity: 1)
            unsafe header.initialize(
                to: Header(
                    arena: arena, free: free, freeCount: slots.count, count: slots.count, capacity: capacity,
                    headroom: UInt16(headroom), slotCount: slotCount, memory: memory, owner: owner,
                    release: release))
            assert(rememberTakers())
        }

        func poolIsGone() {
            let out = count - freeCount
            precondition(out == 0, "a frame pool goes away while \(out) of its frames are still out: \(framesOut)")
            leave()
        }

        /// A burst begins to use the pool.
        @inlinable
        func join() { unsafe header.pointee.users &+= 1 }

        /// A burst, or the pool itself, is gone. The last one frees the memory.
        @inlinable
        func leave() {
            unsafe header.pointee.users &-= 1
            if unsafe header.pointee.users == 0 { free() }
        }

        /// Descriptors for a burst of `capacity` frames. Those of the usual capacity are kept when their burst is gone, so that one
        /// that is made and dropped again and again allocates once.
        @inlinable
        func takeDescriptors(_ capacity: Int) -> UnsafeMutablePointer<FrameDescriptor> {
            guard capacity == Burst.defaultCapacity, let spare = unsafe header.pointee.spare else {
                return .allocate(capacity: capacity)
            }
            unsafe header.pointee.spare = spare.pointee.next
            return unsafe UnsafeMutableRawPointer(spare).assumingMemoryBound(to: FrameDescriptor.self)
        }

        @inlinable
        func giveDescriptors(_ descriptors: UnsafeMutablePointer<FrameDescriptor>, _ capacity: Int) {
            guard capacity == Burst.defaultCapacity else { return unsafe descriptors.deallocate() }
            // SAFETY: nobody else has these descriptors any more, and each is larger than a pointer.
            let spare = unsafe UnsafeMutableRawPointer(descriptors).assumingMemoryBound(to: SpareDescriptors.self)
            unsafe spare.pointee.next = header.pointee.spare
            unsafe header.pointee.spare = spare
        }

        @usableFromInline
        func free() {
            while let spare = unsafe header.pointee.spare {
                unsafe header.pointee.spare = spare.pointee.next
                unsafe UnsafeMutableRawPointer(spare).deallocate()
            }
            if let release = unsafe header.pointee.release {
                unsafe release(header.pointee.owner)
            } else {
                unsafe header.pointee.arena.deallocate()
            }
            unsafe header.pointee.free.deallocate()
            unsafe header.pointee.takers?.deallocate()
            unsafe header.deinitialize(count: 1)
            unsafe header.deallocate()
        }

        @inlinable var freeCount: Int { unsafe header.pointee.freeCount }
        @inlinable var count: Int { unsafe header.pointee.count }
        @inlinable var frameCapacity: Int { unsafe header.pointee.capacity }
        @inlinable var frameHeadroom: Int { unsafe Int(header.pointee.headroom) }

        @inlinable
        func take() -> FrameDescriptor? {
            let left = unsafe header.pointee.freeCount &- 1
            guard left >= 0 else { return nil }
            unsafe header.pointee.freeCount = left
            return unsafe FrameDescriptor(
                slot: header.pointee.free[left], start: header.pointee.headroom, length: 0)
        }

        /// Takes up to `wanted` frames of `length` bytes, and returns how many. `target` has room for them.
        @inlinable
        func take(_ wanted: Int, length: UInt32, into target: UnsafeMutablePointer<FrameDescriptor>) -> Int {
            let count = unsafe min(wanted, header.pointee.freeCount)
            let left = unsafe header.pointee.freeCount &- count
            let free = unsafe header.pointee.free + left
            let start = unsafe header.pointee.headroom
            for index in 0..<count {
                unsafe target[index] = FrameDescriptor(slot: free[index], start: start, length: length)
            }
            unsafe header.pointee.freeCount = left
            return count
        }

        @inlinable
        func release(_ slot: UInt32) {
            assert(forget(slot))
            let position = unsafe header.pointee.freeCount
            unsafe header.pointee.free[position] = slot
            unsafe header.pointee.freeCount = position &+ 1
        }

        @inlinable
        func release(_ frames: UnsafeMutablePointer<FrameDescriptor>, count: Int) {
            let position = unsafe header.pointee.freeCount
            let free = unsafe header.pointee.free + position
            for index in 0..<count {
                assert(forget(unsafe frames[index].slot))
                unsafe free[index] = frames[index].slot
            }
            unsafe header.pointee.freeCount = position &+ count
        }

        @inlinable
        func address(of descriptor: FrameDescriptor) -> UnsafeMutableRawPointer {
            unsafe slotAddress(descriptor.slot) + Int(descriptor.start)
        }

        @inlinable
        func slotAddress(_ slot: UInt32) -> UnsafeMutableRawPointer {
            unsafe header.pointee.arena + (Int(slot) &* header.pointee.capacity)
        }
    }
}

/// What lies in the place of the first descriptor while nobody uses them.
@safe
@usableFromInline
struct SpareDescriptors {
    @usableFromInline var next: UnsafeMutablePointer<SpareDescriptors>?
}

/// Where in a program a frame was taken. The file is nil for a slot that is free.
@usableFromInline
struct Taker {
    var file: StaticString?
    var line: UInt = 0
}

// What only debug builds do. Each returns true, so that it can stand in an `assert`.
extension FramePool.Storage {
    func rememberTakers() -> Bool {
        let count = unsafe header.pointee.slotCount
        let takers = UnsafeMutablePointer<Taker>.allocate(capacity: count)
        unsafe takers.initialize(repeating: Taker(), count: count)
        unsafe header.pointee.takers = takers
        return true
    }

    @usableFromInline
    func note(_ slot: UInt32, _ file: StaticString, _ line: UInt) -> Bool {
        if let takers = unsafe header.pointee.takers { unsafe takers[Int(slot)] = Taker(file: file, line: line) }
        return true
    }

    @usableFromInline
    func note(_ frames: UnsafeMutablePointer<FrameDescriptor>, count: Int, _ file: StaticString, _ line: UInt) -> Bool {
        for index in 0..<count { _ = unsafe note(frames[index].slot, file, line) }
        return true
    }

    @usableFromInline
    func forget(_ slot: UInt32) -> Bool {
        precondition(freeCount < count, "a frame released twice")
        guard let takers = unsafe header.pointee.takers else { return true }
        unsafe precondition(takers[Int(slot)].file != nil, "frame \(slot) released twice")
        unsafe takers[Int(slot)].file = nil
        return true
    }

    /// The slot goes to another pool over the same arena.
    @usableFromInline
    func lend(_ slot: UInt32) -> Bool {
        if let takers = unsafe header.pointee.takers { unsafe takers[Int(slot)].file = nil }
        return true
    }

    var framesOut: String {
        let out = count - freeCount
        guard out > 0 else { return "" }
        guard let takers = unsafe header.pointee.takers else { return "\(out), whose takers only a debug build knows" }
        var counts: [String: Int] = [:]
        for slot in unsafe 0..<header.pointee.slotCount {
            guard let file = unsafe takers[slot].file else { continue }
            unsafe counts["\(file):\(takers[slot].line)", default: 0] += 1
        }
        let sorted = counts.sorted { ($1.value, $0.key) < ($0.value, $1.key) }
        return sorted.map { "\($0.value) taken at \($0.key)" }.joined(separator: ", ")
    }
}
