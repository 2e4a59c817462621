// Bytes in. A socket receives from when a task first asks for bytes until the peer's FIN, with two brakes that act in bytes:
// a connection with too much unread is paused, and when buffers are short only those are served whose bytes a task awaits.
//
// Bytes of our own stack's wait in its ring, and are read from there: only those that must outlive the ring, or that the program is
// to keep, are put into buffers.

internal import CMartlet
internal import Glibc

/// What a task finds when it asks for bytes.
@usableFromInline
enum Received {
    case bytes(Bytes)
    case finished
    case failed(NetworkError)
    /// Nothing yet: the socket receives, and wakes its receiver.
    case nothing
    /// The task runs elsewhere than on the connection's core.
    case elsewhere
}

extension KernelTransport {
    /// The next run of unread bytes.
    func takeReceived(_ slot: Int32) -> Received {
        var head = sockets[slot].unreadHead
        if head < 0 {
            guard fetch(slot) else { return nothingReceived(slot) }
            head = sockets[slot].unreadHead
        }
        let count = Int32(slabs.unreadCount(of: head))
        unlinkUnread(slot, head)
        sockets[slot].unreadBytes -= count
        let bytes = slabs.lend(head)
        consumed(slot)
        return .bytes(bytes)
    }

    /// The same for bytes that `body` takes where they lie. Returns nil if there were some.
    func takeReceived(_ slot: Int32, _ body: (RawSpan) -> Int) -> Received? {
        withReceived(slot, body) ? nil : nothingReceived(slot)
    }

    private func unlinkUnread(_ slot: Int32, _ head: Int32) {
        let next = slabs.next(after: head)
        sockets[slot].unreadHead = next
        if next < 0 { sockets[slot].unreadTail = -1 }
    }

    /// Lets `body` see the first run of unread bytes where it lies; it says how many it has consumed.
    func withReceived<E: Error>(_ slot: Int32, _ body: (RawSpan) throws(E) -> Int) throws(E) -> Bool {
        let head = sockets[slot].unreadHead
        guard head >= 0 else { return try withRing(slot, body) }
        let unread = unsafe slabs.unread(of: head)
        let count = unsafe try body(RawSpan(_unsafeBytes: unread))
        precondition(count >= 0 && count <= unread.count, "consumed \(count) of \(unread.count) bytes")
        slabs.consume(count, of: head)
        sockets[slot].unreadBytes -= Int32(count)
        if count == unread.count {
            unlinkUnread(slot, head)
            slabs.release(head)
        }
        consumed(slot)
        return true
    }

    /// The first run of unread bytes, which stays where it is, as a value that goes to another thread: `run` is where it lies.
    func peekReceived(_ slot: Int32, _ run: RawSpan) -> Bytes {
        let head = sockets[slot].unreadHead
        if head >= 0 { return slabs.peek(head) }
        // No more than a buffer, in which these bytes may lie by the time that some of them are consumed.
        return Bytes(copying: run.extracting(first: slabs.slabCapacity))
    }

    // MARK: Out of the stack's ring

    /// The stack that has the ring of a connection, and the connection there; nil for the kernel's, and for one whose ring is gone.
    @inline(__always)
    private func ring(of slot: Int32) -> (UnsafeMutablePointer<StackDriver>, StackDescriptor)? {
        guard sockets[slot].flags.contains(.hasDescriptor),
            let (stack, socket) = unsafe driver.ours(sockets[slot].descriptor), socket.kind == .connection
        else { return nil }
        return unsafe (stack, socket)
    }

    /// Whether there are bytes that the program has not read.
    func hasUnread(_ slot: Int32) -> Bool {
        if sockets[slot].unreadBytes > 0 { return true }
        guard let (stack, socket) = unsafe ring(of: slot) else { return false }
        return unsafe !stack.pointee.unread(socket).isEmpty
    }

    /// Lets `body` see bytes in the ring. Nothing of the stack is borrowed meanwhile: whatever `body` drops may be closed.
    private func withRing<E: Error>(_ slot: Int32, _ body: (RawSpan) throws(E) -> Int) throws(E) -> Bool {
        guard let (stack, socket) = unsafe ring(of: slot) else { return false }
        let unread = unsafe stack.pointee.unread(socket)
        if unsafe unread.isEmpty { return false }
        let count = unsafe try body(RawSpan(_unsafeBytes: unread))
        precondition(count >= 0 && count <= unread.count, "consumed \(count) of \(unread.count) bytes")
        unsafe stack.pointee.consume(count, socket)
        noteReceived(slot, count)
        return true
    }

    /// Fills a buffer from the ring, behind those that are unread. Returns false if the ring is empty or there is no buffer, for which
    /// the connection waits then.
    private func fetch(_ slot: Int32) -> Bool {
        guard let (stack, socket) = unsafe ring(of: slot) else { return false }
        guard let slab = slabs.popFree() else {
            if unsafe !stack.pointee.unread(socket).isEmpty { starve(slot) }
            return false
        }
        let count = unsafe stack.pointee.receive(into: slabs.base(of: slab), capacity: slabs.slabCapacity, socket)
        guard count > 0 else {
            slabs.release(slab)
            return false
        }
        slabs.setFilled(slab, count: count)
        appendUnread(slot, slab, Int32(count))
        noteReceived(slot, count)
        return true
    }

    private func noteReceived(_ slot: Int32, _ count: Int) {
        unsafe state.pointee.counters.bytesReceived &+= UInt64(count)
        guard !sockets[slot].flags.contains(.receiveArmed) || sockets[slot].flags.contains(.awaitsFirstByte) else {
            return
        }
        // They came before anybody asked, and nobody has noted it yet.
        sockets[slot].flags.remove(.awaitsFirstByte)
        sockets[slot].lastActivity = nowNanoseconds
    }

    /// Takes all out of a ring that is about to go: what came before a failure can still be read.
    func rescueUnread(_ slot: Int32) { while fetch(slot) {} }

    /// Bytes wait in the stack's ring.
    private func becameReadable(_ slot: Int32) {
        if sockets[slot].flags.contains(.isClosing) { return resetWhileClosing(slot) }
        sockets[slot].lastActivity = nowNanoseconds
        sockets[slot].flags.remove(.awaitsFirstByte)
        wakeReceiver(slot)
    }

    // MARK: Arming

    func nothingReceived(_ slot: Int32) -> Received {
        let flags = sockets[slot].flags
        if !flags.isDisjoint(with: [.peerFinished, .hasFailed, .isClosing]) {
            if flags.contains(.hasFailed) { return .failed(error(of: slot)) }
            if flags.contains(.isClosing) { return .failed(.closed) }
            return .finished
        }
        if !flags.contains(.receiveArmed) { armReceive(slot) }
        return .nothing
    }

    /// The program has taken bytes: receiving may go on.
    private func consumed(_ slot: Int32) {
        guard !sockets[slot].flags.contains(.receiveArmed), let policy = unsafe sockets[slot].policy else { return }
        let limit = unsafe policy._withUnsafeGuaranteedRef { $0.receiveLimit }
        if sockets[slot].unreadBytes <= limit / 2, !slabs.isUnderPressure { armReceive(slot) }
    }

    func armReceive(_ slot: Int32) {
        guard
            sockets[slot].flags.isDisjoint(with: [
                .receiveArmed, .peerFinished, .hasFailed, .isClosing, .isStarved, .isConnecting,
            ]), sockets[slot].flags.contains(.hasDescriptor)
        else { return }
        sockets[slot].flags.insert(.receiveArmed)
        sockets[slot].outstanding += 1
        driver.receive(token(.receive, slot), descriptor: sockets[slot].descriptor)
    }

    private func pauseReceive(_ slot: Int32) {
        guard sockets[slot].flags.contains(.receiveArmed), !sockets[slot].flags.contains(.receiveCancelled) else {
            return
        }
        sockets[slot].flags.insert(.receiveCancelled)
        unsafe state.pointee.counters.receivePauses &+= 1
        driver.cancel(token(.receive, slot), descriptor: sockets[slot].descriptor)
    }

    func receiveCompleted(_ slot: Int32, _ completion: Completion) {
        if !completion.more { sockets[slot].flags.subtract([.receiveArmed, .receiveCancelled]) }
        if completion.slab >= 0 {
            received(slot, slab: completion.slab, count: completion.result)
        } else if completion.more {
            return becameReadable(slot)
        } else {
            switch -completion.result {
            case 0: peerFinished(slot)
            case ECANCELED, EINTR, EAGAIN: break
            case ENOBUFS: starve(slot)
            case let errno: fail(slot, .errno(errno))
            }
        }
        guard !completion.more else { return }
        if sockets[slot].receiver >= 0 { armReceive(slot) }
        operationEnded(slot)
    }

    private func received(_ slot: Int32, slab: Int32, count: Int32) {
        guard sockets[slot].flags.isDisjoint(with: [.isClosing, .hasFailed]) else {
            // Nobody will read this: RFC 1122 §4.2.2.13 wants the peer to hear it.
            slabs.release(slab)
            if sockets[slot].flags.contains(.isClosing) { resetWhileClosing(slot) }
            return
        }
        slabs.setFilled(slab, count: Int(count))
        appendUnread(slot, slab, count)
        sockets[slot].lastActivity = nowNanoseconds
        noteReceived(slot, Int(count))
        let receiver = sockets[slot].receiver
        if receiver >= 0 {
            sockets[slot].receiver = -1
            wake(receiver)
        } else if let policy = unsafe sockets[slot].policy {
            let limit = unsafe policy._withUnsafeGuaranteedRef { $0.receiveLimit }
            if sockets[slot].unreadBytes >= limit || slabs.isUnderPressure { pauseReceive(slot) }
        }
    }

    private func appendUnread(_ slot: Int32, _ slab: Int32, _ count: Int32) {
        // Bytes that wait are put together: what nobody reads must not hold a slab for every few of its bytes.
        let tail = sockets[slot].unreadTail
        if tail < 0 {
            sockets[slot].unreadHead = slab
            sockets[slot].unreadTail = slab
        } else if !slabs.merge(slab, into: tail) {
            slabs.link(slab, after: tail)
            sockets[slot].unreadTail = slab
        }
        sockets[slot].unreadBytes += count
    }

    private func peerFinished(_ slot: Int32) {
        sockets[slot].flags.insert(.peerFinished)
        sockets[slot].lastActivity = nowNanoseconds
        wakeReceiver(slot)
    }

    func wakeReceiver(_ slot: Int32) {
        let receiver = sockets[slot].receiver
        sockets[slot].receiver = -1
        wake(receiver)
    }

    // MARK: Short of buffers

    private func starve(_ slot: Int32) {
        slabs.provideMore()
        unsafe state.pointee.counters.receiveBuffersExhausted &+= 1
        guard !sockets[slot].flags.contains(.isStarved) else { return }
        sockets[slot].flags.insert(.isStarved)
        sockets[slot].nextStarved = -1
        if lastStarved >= 0 { sockets[lastStarved].nextStarved = slot } else { firstStarved = slot }
        lastStarved = slot
    }

    /// Lets sockets that found no buffer receive again, as many as there are buffers now.
    func feedStarved() {
        // A program that keeps all the buffers must not stop the receiving: nobody would say when it lets one go.
        if slabs.available == 0, slabs.grow() || slabs.replaceLent() || slabs.exceedMaximum() {
            driver.provide(from: &slabs)
        }
        var turns = slabs.available
        while turns > 0, firstStarved >= 0 {
            let slot = firstStarved
            firstStarved = sockets[slot].nextStarved
            if firstStarved < 0 { lastStarved = -1 }
            sockets[slot].flags.remove(.isStarved)
            guard sockets[slot].flags.contains(.inUse) else { continue }
            if sockets[slot].receiver >= 0 || mayReceiveAhead(slot) {
                armReceive(slot)
                turns -= 1
                // Whoever found no buffer for bytes of a ring looks again: nothing else will tell of them.
                if unsafe driver.ours(sockets[slot].descriptor) != nil { wakeReceiver(slot) }
            }
        }
    }

    /// Whether a connection may receive although nobody waits for its bytes now.
    private func mayReceiveAhead(_ slot: Int32) -> Bool {
        guard let policy = unsafe sockets[slot].policy, !slabs.isUnderPressure else { return false }
        return unsafe sockets[slot].unreadBytes < policy._withUnsafeGuaranteedRef { $0.receiveLimit }
    }
}
