// The end of a connection: a FIN, a RST, or a failure, and then the return of the slot. Closing never needs the task: what
// `send` has accepted is delivered by the core, within the close timeout, after the program has forgotten the connection.
//
//     open ──close──▶ closing: queue empties ──▶ descriptor closed ──▶ nothing outstanding, no handle ──▶ slot free
//       └────abort, failure, timeout──────────────────▲

internal import CMartlet
internal import Glibc
internal import MartletStack

extension KernelTransport {
    /// FIN after what is queued. Reading goes on.
    func finish(_ slot: Int32) throws(NetworkError) {
        let flags = sockets[slot].flags
        if flags.contains(.finishWanted), flags.isDisjoint(with: [.hasFailed, .isClosing]) { return }
        try checkSending(slot)
        sockets[slot].flags.insert(.finishWanted)
        if sockets[slot].sendBytes == 0 { sendFinish(slot) } else { markDirty(slot) }
    }

    func sendFinish(_ slot: Int32) {
        sockets[slot].flags.insert(.finishSent)
        let result = driver.finish(sockets[slot].descriptor)
        if result < 0, result != -ENOTCONN { fail(slot, .errno(-result)) }
    }

    /// Ends the connection: what is queued is delivered, then FIN. Unread bytes make it a RST (RFC 1122 §4.2.2.13).
    func close(_ slot: Int32) {
        guard sockets[slot].flags.isDisjoint(with: .isClosing) else { return }
        sockets[slot].flags.insert(.isClosing)
        if let policy = unsafe sockets[slot].policy {
            let timeout = unsafe policy._withUnsafeGuaranteedRef { $0.closeTimeout }
            let (deadline, overflows) = nowNanoseconds.addingReportingOverflow(timeout)
            sockets[slot].closeDeadline = min(lastCloseDeadline, overflows ? .max : deadline)
        }
        if sockets[slot].sendBytes > 0 { armTimer(slot) }
        wakeAll(slot)
        progressClose(slot)
    }

    /// Ends the connection with a RST. What is queued is dropped.
    func abort(_ slot: Int32, _ failure: Failure = .aborted) {
        if !sockets[slot].flags.contains(.hasFailed) {
            sockets[slot].flags.insert(.hasFailed)
            sockets[slot].failure = failure
        }
        // What came before the peer's reset or a timeout can still be read; after this side's own abort nothing is.
        let isOwn = sockets[slot].failure == .aborted || sockets[slot].failure == .cancelled
        if isOwn { dropUnread(slot) } else { rescueUnread(slot) }
        closeDescriptor(slot, reset: true)
        wakeAll(slot)
        releaseIfDone(slot)
    }

    /// The connection has failed: the waiting operations throw, and so do the next ones.
    func fail(_ slot: Int32, _ failure: Failure) {
        guard !sockets[slot].flags.contains(.hasFailed) else { return }
        if case .errno(let errno) = failure, errno == ECONNRESET || errno == EPIPE {
            unsafe state.pointee.counters.resetsReceived &+= 1
        }
        abort(slot, failure)
    }

    /// Bytes have come that nobody will read.
    func resetWhileClosing(_ slot: Int32) {
        guard sockets[slot].flags.contains(.hasDescriptor) else { return }
        abort(slot)
    }

    /// Goes on with closing as far as possible now.
    func progressClose(_ slot: Int32) {
        if sockets[slot].flags.contains(.hasDescriptor) {
            if sockets[slot].sendBytes > 0 {
                markDirty(slot)
                return
            }
            closeDescriptor(slot, reset: hasUnread(slot))
            dropUnread(slot)
        }
        releaseIfDone(slot)
    }

    /// Gives back what nobody will read any more, however long the program keeps the handle.
    private func dropUnread(_ slot: Int32) {
        var slab = sockets[slot].unreadHead
        while slab >= 0 {
            let next = slabs.next(after: slab)
            slabs.release(slab)
            slab = next
        }
        sockets[slot].unreadHead = -1
        sockets[slot].unreadTail = -1
        sockets[slot].unreadBytes = 0
    }

    private func closeDescriptor(_ slot: Int32, reset: Bool) {
        guard sockets[slot].flags.contains(.hasDescriptor) else { return }
        let descriptor = sockets[slot].descriptor
        if reset, !sockets[slot].flags.contains(.isConnecting) {
            driver.resetOnClose(descriptor)
            if !sockets[slot].flags.contains(.isUnix) { unsafe state.pointee.counters.resetsSent &+= 1 }
        }
        // close(2) does not end what is pending: each operation is cancelled, and its completion awaited.
        if sockets[slot].flags.contains(.receiveArmed) { driver.cancel(token(.receive, slot), descriptor: descriptor) }
        if sockets[slot].flags.contains(.sendPending), !sockets[slot].flags.contains(.sendSilent) {
            driver.cancel(token(.send, slot), descriptor: descriptor)
            driver.cancel(token(.writable, slot), descriptor: descriptor)
        }
        if sockets[slot].flags.contains(.isConnecting) { driver.cancel(token(.connect, slot), descriptor: descriptor) }
        driver.close(slot: slot, descriptor: descriptor)
        sockets[slot].flags.remove(.hasDescriptor)
        unsafe state.pointee.timers.cancel(CoreState.timer(ofSocket: slot))
        unsafe state.pointee.counters.closed &+= 1
        connectionClosed(listener: sockets[slot].listener)
    }

    /// Returns the slot when the descriptor is closed, the driver holds nothing, and the handle is gone.
    func releaseIfDone(_ slot: Int32) {
        guard sockets[slot].flags.isDisjoint(with: [.hasDescriptor, .hasHandle]), sockets[slot].outstanding == 0,
            sockets[slot].flags.contains(.inUse), listeners[slot] == nil, datagramSockets[slot] == nil
        else { return }
        dropSendQueue(slot)
        dropUnread(slot)
        unlinkFromLists(slot)
        unsafe sockets[slot].policy?.release()
        unsafe sockets[slot].policy = nil
        if let address = unsafe connectAddresses.remove(slot) { unsafe address.deallocate() }
        sockets.release(slot)
        if !pausedListeners.isEmpty { resumeListeners() }
    }

    /// A slot that is free must be in no list.
    private func unlinkFromLists(_ slot: Int32) {
        if sockets[slot].flags.contains(.isDirty) {
            var link = firstDirty
            if link == slot {
                firstDirty = sockets[slot].nextDirty
            } else {
                while link >= 0, sockets[link].nextDirty != slot { link = sockets[link].nextDirty }
                if link >= 0 { sockets[link].nextDirty = sockets[slot].nextDirty }
            }
        }
        if sockets[slot].flags.contains(.isStarved) {
            var previous: Int32 = -1
            var link = firstStarved
            while link >= 0, link != slot { (previous, link) = (link, sockets[link].nextStarved) }
            if link >= 0 {
                let next = sockets[slot].nextStarved
                if previous >= 0 { sockets[previous].nextStarved = next } else { firstStarved = next }
                if next < 0 { lastStarved = previous }
            }
        }
    }

    func wakeAll(_ slot: Int32) {
        wakeReceiver(slot)
        wakeSenders(slot)
        wakeFlushers(slot)
    }

    /// The last handle of a connection is gone.
    func dropHandle(_ slot: Int32, _ generation: UInt32) {
        guard sockets.isCurrent(slot, generation) else { return }
        sockets[slot].flags.remove(.hasHandle)
        unsafe sockets[slot].scope = nil
        close(slot)
        releaseIfDone(slot)
    }

    /// Whether a connection that the program has closed still has data to deliver.
    var isLingering: Bool { sockets.slots.contains { sockets[$0].flags.isSuperset(of: [.isClosing, .hasDescriptor]) } }

    /// The core is to end: what is closing must have closed by then.
    func closeAll(until deadline: Int64) {
        lastCloseDeadline = deadline
        for slot in sockets.slots where sockets[slot].flags.isSuperset(of: [.isClosing, .hasDescriptor]) {
            sockets[slot].closeDeadline = min(deadline, sockets[slot].closeDeadline)
            armTimer(slot)
        }
    }

    // MARK: Time

    /// Arms the connection's timer for the first thing that may happen to it.
    func armTimer(_ slot: Int32) {
        let deadline = nextTimer(slot)
        if deadline != .max {
            unsafe state.pointee.timers.arm(CoreState.timer(ofSocket: slot), at: Instant(nanoseconds: deadline))
        }
    }

    private func nextTimer(_ slot: Int32) -> Int64 {
        let state = sockets[slot]
        if state.flags.contains(.isClosing) { return state.closeDeadline }
        guard let policy = unsafe state.policy?.takeUnretainedValue(), policy.hasTimers else { return .max }
        func after(_ instant: Int64, _ timeout: Int64) -> Int64 {
            let (sum, overflows) = instant.addingReportingOverflow(timeout)
            return overflows ? .max : sum
        }
        var deadline = after(state.lastActivity, policy.idleTimeout)
        if state.flags.contains(.awaitsFirstByte) {
            deadline = min(deadline, after(state.openedAt, policy.firstByteTimeout))
        }
        if policy.writeTimeout != .max {
            // The queue may fill at any time: while it is empty, look again in as long as the timeout.
            let base = state.sendBytes > 0 ? state.lastSendProgress : nowNanoseconds
            deadline = min(deadline, after(base, policy.writeTimeout))
        }
        return deadline
    }

    /// The timer of a connection has expired: find out which of its timeouts that was, if any, or look again later.
    func timerExpired(slot: Int32) {
        if listeners[slot] != nil {
            endBackOff()
            return
        }
        let state = sockets[slot]
        guard state.flags.contains(.inUse), state.flags.contains(.hasDescriptor) else { return }
        if state.flags.contains(.isClosing) {
            if nowNanoseconds >= state.closeDeadline { abort(slot, .write) } else { armTimer(slot) }
            return
        }
        guard let policy = unsafe state.policy?.takeUnretainedValue() else { return }
        if state.flags.contains(.awaitsFirstByte), isPast(state.openedAt, policy.firstByteTimeout) {
            timeOut(slot, .idle)
        } else if isPast(state.lastActivity, policy.idleTimeout) {
            timeOut(slot, .idle)
        } else if state.sendBytes > 0, isPast(state.lastSendProgress, policy.writeTimeout), !hasPeerTakenMore(slot) {
            timeOut(slot, .write)
        } else {
            armTimer(slot)
        }
    }

    /// Whether the peer has acknowledged something since this was last asked. What the kernel takes from us does not tell: it
    /// takes nothing for long while a slow peer empties a large buffer, and io_uring reports a long send at its end.
    private func hasPeerTakenMore(_ slot: Int32) -> Bool {
        guard let info = driver.info(sockets[slot].descriptor), info.bytesAcked != sockets[slot].acknowledged else {
            return false
        }
        sockets[slot].acknowledged = info.bytesAcked
        sockets[slot].lastSendProgress = nowNanoseconds
        return true
    }

    private func isPast(_ instant: Int64, _ timeout: Int64) -> Bool {
        timeout != .max && nowNanoseconds - instant >= timeout
    }

    private func timeOut(_ slot: Int32, _ failure: Failure) {
        if failure == .idle { unsafe state.pointee.counters.idleTimeouts &+= 1 }
        fail(slot, failure)
    }
}
