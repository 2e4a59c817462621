// The way of frames through an XDP link. Each call publishes once a ring, and asks the kernel to act only where its rings say that
// it sleeps (XDP_USE_NEED_WAKEUP).

internal import CMartlet
internal import Glibc
public import MartletStack

extension XDPLink {
    /// Slots have a power of two of bytes: the kernel's rule.
    private var slotShift: UInt64 { UInt64(truncatingIfNeeded: pool.frameCapacity.trailingZeroBitCount) }

    // MARK: Receiving

    public mutating func receive(into burst: inout Burst) -> Int {
        isCalled()
        let arrived = min(socket.receive.available(for: burst.room), burst.room)
        guard arrived > 0 else {
            if receiving < receiveTarget { refill() }
            if burst.room > 0, options.busyPolling != nil || socket.fill.needsWakeup {
                _ = martlet_xdp_wake_receive(socket.descriptor)
            }
            return 0
        }
        let (shift, mask) = (slotShift, UInt64(pool.frameCapacity &- 1))
        let offload: FrameOffload = options.trustsChecksums ? .checksumVerified : []
        var bytes = 0
        let count = unsafe burst.appendDescriptors(arrived) { places in
            var count = 0
            for _ in 0..<arrived {
                let entry = socket.receive.take()
                let (slot, start) = (entry.address &>> shift, entry.address & mask)
                guard lent.takeBack(slot, from: .receiving), start &+ UInt64(entry.length) <= mask &+ 1 else {
                    counters.received.drops[.malformed] &+= 1
                    continue
                }
                var frame = FrameDescriptor(
                    slot: UInt32(truncatingIfNeeded: slot), start: UInt16(truncatingIfNeeded: start),
                    length: entry.length)
                frame.offload = offload
                unsafe places[count] = frame
                bytes &+= Int(entry.length)
                count &+= 1
            }
            return count
        }
        socket.receive.release()
        receiving &-= count
        counters.received.count(count, bytes: bytes)
        if receiveTarget &- receiving >= refillStep { refill() }
        return count
    }

    /// Frames that are missed before new ones are taken from the pool.
    private var refillStep: Int { min(32, max(1, receiveTarget / 8)) }

    /// Gives the kernel frames to receive into, as far as the pool has some.
    mutating func refill() {
        let count = min(receiveTarget &- receiving, socket.fill.room(for: receiveTarget &- receiving))
        guard count > 0 else { return }
        let shift = slotShift
        var given = 0
        while given < count, let slot = unsafe pool.takeSlot() {
            lent.lend(slot, for: .receiving)
            socket.fill.put(UInt64(slot) &<< shift)
            given &+= 1
        }
        socket.fill.publish()
        receiving &+= given
    }

    // MARK: Transmitting

    public mutating func transmit(_ burst: inout Burst) -> Int {
        isCalled()
        if state != .up, !mayPassAgain() { return dropAll(&burst) }
        if transmitting > 0 { _ = reclaim() }
        // Nobody behind this ring completes what another link has left (FrameOffload.checksumPartial).
        let malformed = burst.removeAll { $0.offload.contains(.checksumPartial) && !$0.completeChecksum() }
        counters.transmitted.drops[.malformed] &+= UInt64(malformed)
        let count = min(burst.count, socket.transmit.room(for: burst.count))
        guard count > 0 else {
            wakeTransmit()
            return malformed
        }
        let shift = slotShift
        let longest = UInt32(truncatingIfNeeded: properties.largestFrame &- Self.shortest)
        var (bytes, put) = (0, 0)
        unsafe burst.withDescriptors { frames in
            for index in 0..<count {
                let frame = unsafe frames[index]
                // Below the shortest, the difference wraps to a number that is larger than any length.
                guard frame.length &- UInt32(Self.shortest) <= longest else {
                    counters.transmitted.drops[frame.length < UInt32(Self.shortest) ? .runt : .oversize] &+= 1
                    unsafe pool.releaseSlot(frame.slot)
                    continue
                }
                lent.lend(frame.slot, for: .transmitting)
                let address = UInt64(frame.slot) &<< shift &+ UInt64(frame.start)
                socket.transmit.put(martlet_xdp_descriptor(address: address, length: frame.length, options: 0))
                bytes &+= Int(frame.length)
                put &+= 1
            }
        }
        unsafe burst.relinquishFirst(count)
        socket.transmit.publish()
        transmitting &+= put
        counters.transmitted.count(put, bytes: bytes)
        wakeTransmit()
        return count &+ malformed
    }

    public mutating func reclaim() -> Int {
        let done = socket.completion.available(for: transmitting)
        guard done > 0 else { return 0 }
        let shift = slotShift
        var count = 0
        for _ in 0..<done {
            let slot = socket.completion.take() &>> shift
            guard lent.takeBack(slot, from: .transmitting) else {
                counters.transmitted.drops[.malformed] &+= 1
                continue
            }
            unsafe pool.releaseSlot(UInt32(truncatingIfNeeded: slot))
            count &+= 1
        }
        socket.completion.release()
        transmitting &-= count
        return count
    }

    /// Bytes of an Ethernet header: what is shorter is no frame.
    private static var shortest: Int { 14 }

    /// Lets the kernel transmit what lies in the ring, if it waits for that.
    ///
    /// Where it copies, it does so within the call. It says EAGAIN when there are more frames than it transmits at once, and EBUSY
    /// also when the driver has dropped one: those behind it are not to wait for the next burst. The loop ends because it goes on
    /// only after a call that has taken some.
    private mutating func wakeTransmit() {
        guard socket.transmit.needsWakeup else { return }
        var left = socket.transmit.size
        while true {
            switch -martlet_xdp_wake_transmit(socket.descriptor) {
            case EAGAIN, EBUSY:
                let now = socket.transmit.occupied()
                if now == 0 || now >= left { return }
                left = now
                if !isZeroCopy { _ = reclaim() }
            case ENETDOWN, ENXIO, ENODEV:
                state = .down
                look()
                return
            default: return  // sent; or there is no memory, and the frames stay in the ring
            }
        }
    }

    /// A link that is down asks the kernel, once in a while, whether it still is.
    private mutating func mayPassAgain() -> Bool {
        downCalls &+= 1
        if downCalls & 63 == 0 { heed() }
        return state == .up
    }

    private mutating func dropAll(_ burst: inout Burst) -> Int {
        let count = burst.count
        counters.transmitted.drops[.linkDown] &+= UInt64(count)
        burst.removeAll()
        return count
    }

    // MARK: Sleeping

    public mutating func prepareToSleep(for wish: LinkWish) -> LinkSleep {
        if transmitting > 0 { _ = reclaim() }
        // What the kernel says of an interface that is gone would wake us for ever.
        guard state != .gone else { return LinkSleep(descriptor: -1, forInput: false) }
        if receiving < receiveTarget { refill() }
        if wish.frames > 0, socket.receive.available(for: 1) > 0 { return .ready }
        if wish.room > 0, socket.transmit.room(for: wish.room) >= wish.room || state != .up { return .ready }
        if socket.fill.needsWakeup { _ = martlet_xdp_wake_receive(socket.descriptor) }
        if transmitting > 0 { wakeTransmit() }
        // Others may transmit while one sleeps: nothing is counted until the link is told that the sleep is over.
        callsUntilBusy = 0
        let isWatched = watch.watchSocket(forRoom: wish.room > 0)
        let deadline = isWatched ? Int64.max : martlet_monotonic_ns() + 1_000_000
        return LinkSleep(descriptor: watch.descriptor, deadline: deadline)
    }

    public mutating func wokeUp() {
        heed()
        watch.forgetRoom()
        callsUntilBusy = Self.callsOfBusy
    }

    /// Calls without a sleep in between after which the link counts as busy, and its socket is not watched any more. A core that sleeps
    /// now and then is spared the two system calls that this and the next sleep cost.
    private static var callsOfBusy: Int { 64 }

    @inline(__always)
    private mutating func isCalled() {
        guard callsUntilBusy > 0 else { return }
        callsUntilBusy &-= 1
        if callsUntilBusy == 0 { watch.unwatchSocket() }
    }
}
