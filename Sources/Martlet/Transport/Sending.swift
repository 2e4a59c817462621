// Bytes out. `send` copies small runs behind one another and takes large ones by reference; at the end of the round each
// socket with something to send becomes one operation. `send` suspends while the socket's queue is full.

internal import CMartlet
internal import Glibc

extension KernelTransport {
    /// Gives the stack what it takes at once, if nothing is queued before it: its ring is in this process, and a wait for the end of
    /// the round, for the sake of one system call for all, would gain nothing. Returns how many bytes that is. If it is not all
    /// of them the ring is full, and the rest is queued: whoever waits for room is woken by what leaves the queue.
    @inline(__always)
    func sendNow(_ slot: Int32, _ bytes: UnsafeRawBufferPointer) -> Int {
        guard let (stack, socket) = unsafe ringToSend(slot) else { return 0 }
        let count = unsafe stack.pointee.send(socket, RawSpan(_unsafeBytes: bytes))
        if count > 0 { noteSentNow(slot, count) }
        return count
    }

    /// The stack that takes what a connection sends at once, and the connection there; nil if it goes behind what is queued, or to the
    /// kernel.
    @inline(__always)
    private func ringToSend(_ slot: Int32) -> (UnsafeMutablePointer<StackDriver>, StackDescriptor)? {
        guard let (stack, socket) = unsafe driver.ours(sockets[slot].descriptor), sockets[slot].sendBytes == 0,
            sockets[slot].flags.isDisjoint(with: [.sendPending, .isConnecting]),
            sockets[slot].flags.contains(.hasDescriptor)
        else { return nil }
        return unsafe (stack, socket)
    }

    @inline(__always)
    private func noteSentNow(_ slot: Int32, _ count: Int) {
        sockets[slot].lastActivity = nowNanoseconds
        sockets[slot].lastSendProgress = nowNanoseconds
        unsafe state.pointee.counters.bytesSent &+= UInt64(count)
    }

    /// Throws what a send would throw now.
    func checkSending(_ slot: Int32) throws(NetworkError) {
        let flags = sockets[slot].flags
        if flags.isDisjoint(with: [.hasFailed, .isClosing, .finishWanted]) { return }
        if flags.contains(.hasFailed) { throw error(of: slot) }
        throw .closed
    }

    /// Bytes that may still be queued.
    func room(_ slot: Int32) -> Int {
        guard let policy = unsafe sockets[slot].policy else { return 0 }
        let limit = unsafe policy._withUnsafeGuaranteedRef { $0.sendLimit }
        return Int(max(0, limit - sockets[slot].sendBytes))
    }

    /// Whether another task's send comes first, so that sends of several tasks stay whole.
    func isSenderAhead(_ slot: Int32) -> Bool {
        sockets[slot].senderHead >= 0 || sockets[slot].flags.contains(.senderActive)
    }

    /// Queues as much of `buffer` as there is room for, by copying. Returns how many bytes that is.
    func queue(_ slot: Int32, copying buffer: UnsafeRawBufferPointer) -> Int {
        let wanted = min(buffer.count, room(slot))
        var remaining = unsafe UnsafeRawBufferPointer(rebasing: buffer[..<wanted])
        while remaining.count > 0 {
            guard let segment = tailWithRoom(slot) else { break }
            let tail = unsafe segments.tail(of: segment)
            let count = min(tail.count, remaining.count)
            unsafe tail.baseAddress.unsafelyUnwrapped.copyMemory(
                from: remaining.baseAddress.unsafelyUnwrapped, byteCount: count)
            segments.append(Int32(count), to: segment)
            unsafe remaining = UnsafeRawBufferPointer(rebasing: remaining[count...])
        }
        queued(slot, wanted - remaining.count)
        return wanted - remaining.count
    }

    /// Queues as much of `bytes` from `offset` on as there is room for, by reference. Returns how many bytes that is.
    func queue(_ slot: Int32, referring bytes: Bytes, from offset: Int) -> Int {
        let count = min(bytes.count - offset, room(slot))
        guard count > 0, let (slab, start) = bytes.storage,
            let segment = segments.takeReference(to: slab, start: start + offset, count: count)
        else { return 0 }
        append(segment, slot)
        queued(slot, count)
        return count
    }

    /// Lets `body` write into up to `capacity` free bytes. Returns nil if there is no room for one.
    func queue<E: Error>(_ slot: Int32, capacity: Int, _ body: (inout OutputRawSpan) throws(E) -> Void) throws(E)
        -> Int?
    {
        guard room(slot) >= min(capacity, 1) else { return nil }
        if let (stack, socket) = unsafe ringToSend(slot) {
            let room = unsafe stack.pointee.roomToSend(capacity, socket)
            if unsafe !room.isEmpty { return unsafe try writeNow(slot, stack, socket, room, body) }
        }
        guard let segment = emptyTail(slot, capacity: capacity) else { return nil }
        let tail = unsafe segments.tail(of: segment)
        let usable = unsafe UnsafeMutableRawBufferPointer(rebasing: tail[..<min(tail.count, capacity)])
        var output = unsafe OutputRawSpan(buffer: usable, initializedCount: 0)
        var count = 0
        do {
            try body(&output)
            count = unsafe output.finalize(for: usable)
        } catch {
            // Nothing of a failed write is sent. An empty segment stays in place for the next.
            throw error
        }
        segments.append(Int32(count), to: segment)
        queued(slot, count)
        return count
    }

    /// Lets `body` write into the stack's ring itself. Nothing of the stack is borrowed meanwhile: whatever `body` drops may be closed.
    private func writeNow<E: Error>(
        _ slot: Int32, _ stack: UnsafeMutablePointer<StackDriver>, _ socket: StackDescriptor,
        _ room: UnsafeMutableRawBufferPointer, _ body: (inout OutputRawSpan) throws(E) -> Void
    ) throws(E) -> Int {
        var output = unsafe OutputRawSpan(buffer: room, initializedCount: 0)
        var count = 0
        do throws(E) {
            try body(&output)
            count = unsafe output.finalize(for: room)
        } catch {
            unsafe stack.pointee.commitSend(0, socket)
            throw error
        }
        unsafe stack.pointee.commitSend(count, socket)
        if count > 0 { noteSentNow(slot, count) }
        return count
    }

    private func queued(_ slot: Int32, _ count: Int) {
        guard count > 0 else { return }
        if sockets[slot].sendBytes == 0 { sockets[slot].lastSendProgress = nowNanoseconds }
        sockets[slot].sendBytes += Int32(count)
        sockets[slot].lastActivity = nowNanoseconds
        markDirty(slot)
    }

    func markDirty(_ slot: Int32) {
        guard sockets[slot].flags.isDisjoint(with: [.isDirty, .sendPending]) else { return }
        sockets[slot].flags.insert(.isDirty)
        sockets[slot].nextDirty = firstDirty
        firstDirty = slot
    }

    private func tailWithRoom(_ slot: Int32) -> Int32? {
        let tail = sockets[slot].sendTail
        if tail >= 0, segments.room(in: tail) > 0 { return tail }
        guard let segment = segments.takeBuffer() else { return nil }
        append(segment, slot)
        return segment
    }

    /// A tail segment with `capacity` contiguous free bytes (at most a buffer's).
    private func emptyTail(_ slot: Int32, capacity: Int) -> Int32? {
        let tail = sockets[slot].sendTail
        if tail >= 0, segments.room(in: tail) >= min(Int32(clamping: capacity), SegmentPool.bufferCapacity) {
            return tail
        }
        guard let segment = segments.takeBuffer() else { return nil }
        append(segment, slot)
        return segment
    }

    private func append(_ segment: Int32, _ slot: Int32) {
        let tail = sockets[slot].sendTail
        if tail >= 0 { segments.link(segment, after: tail) } else { sockets[slot].sendHead = segment }
        sockets[slot].sendTail = segment
    }

    // MARK: The end of the round

    /// Makes one operation of what a socket has queued.
    func startSending(_ slot: Int32) {
        let flags = sockets[slot].flags
        let waiting = sockets[slot].sendBytes
        guard waiting > 0, flags.isDisjoint(with: [.sendPending, .hasFailed, .isConnecting]),
            flags.contains(.hasDescriptor)
        else { return }
        var total: Int32 = 0
        // Written where the kernel will read them.
        let pieces = unsafe driver.sendPieces(for: sockets[slot].descriptor)
        var count = 0
        var segment = sockets[slot].sendHead
        while segment >= 0, count < IOUringDriver.piecesPerSend {
            let length = segments.count(of: segment)
            if length > 0 {
                unsafe pieces[count] = segments.piece(of: segment)
                total += length
                count += 1
            }
            segment = segments.next(after: segment)
        }
        let isAwaited = sockets[slot].senderHead >= 0 || sockets[slot].flusher >= 0 || total < waiting
        let silent = !isAwaited && flags.isDisjoint(with: [.finishWanted, .isClosing])
        let attempt = driver.send(
            token(.send, slot), descriptor: sockets[slot].descriptor, pieces: count, silent: silent)
        switch attempt {
        case .pending:
            sockets[slot].flags.insert(.sendPending)
            sockets[slot].outstanding += 1
            sockets[slot].inFlight = total
        case .silent:
            sockets[slot].flags.formUnion([.sendPending, .sendSilent])
            sockets[slot].outstanding += 1
            sockets[slot].inFlight = total
            self.silent.append(slot)
        case .done(let count):
            sent(slot, Int32(count))
            if count < total {
                awaitRoom(slot)
            } else if sockets[slot].sendBytes > 0 {
                markDirty(slot)
            } else if sockets[slot].flags.contains(.isClosing) {
                progressClose(slot)
            }
        case .blocked:
            sockets[slot].flags.insert(.sendPending)
            sockets[slot].outstanding += 1
        case .failed(let errno):
            fail(slot, .errno(-errno))
        }
    }

    /// The kernel's buffer is full: go on when it has room.
    private func awaitRoom(_ slot: Int32) {
        sockets[slot].flags.insert(.sendPending)
        sockets[slot].outstanding += 1
        driver.pollWritable(token(.writable, slot), descriptor: sockets[slot].descriptor)
    }

    func becameWritable(_ slot: Int32, _ result: Int32) {
        sockets[slot].flags.remove(.sendPending)
        if result != -ECANCELED { markDirty(slot) }
        operationEnded(slot)
    }

    func sendCompleted(_ slot: Int32, _ result: Int32) {
        sockets[slot].flags.subtract([.sendPending, .sendSilent])
        let wanted = sockets[slot].inFlight
        sockets[slot].inFlight = 0
        if result > 0 { sent(slot, result) }
        switch -result {
        case ..<0 where result < wanted: awaitRoom(slot)
        case ..<1: if sockets[slot].sendBytes > 0 { markDirty(slot) }
        case EAGAIN: if sockets[slot].flags.isDisjoint(with: [.hasFailed]) { awaitRoom(slot) }
        case ECANCELED, EINTR: if sockets[slot].sendBytes > 0 { markDirty(slot) }
        case let errno: fail(slot, .errno(errno))
        }
        operationEnded(slot)
    }

    /// All completions are in: silent sends that had none have succeeded.
    func settleSilentSends() {
        guard !silent.isEmpty else { return }
        for slot in silent where sockets[slot].flags.contains(.sendSilent) {
            sockets[slot].flags.subtract([.sendPending, .sendSilent])
            let count = sockets[slot].inFlight
            sockets[slot].inFlight = 0
            sent(slot, count)
            if sockets[slot].sendBytes > 0 { markDirty(slot) }
            operationEnded(slot)
        }
        silent.removeAll(keepingCapacity: true)
    }

    /// The kernel has taken `count` bytes of a socket's queue.
    private func sent(_ slot: Int32, _ count: Int32) {
        var remaining = count
        while true {
            let head = sockets[slot].sendHead
            guard head >= 0 else { break }
            let length = segments.count(of: head)
            if length > remaining {
                segments.consume(remaining, of: head)
                break
            }
            remaining -= length
            sockets[slot].sendHead = segments.next(after: head)
            if sockets[slot].sendHead < 0 { sockets[slot].sendTail = -1 }
            segments.release(head)
            if remaining == 0 { break }
        }
        sockets[slot].sendBytes -= count
        sockets[slot].lastSendProgress = nowNanoseconds
        unsafe state.pointee.counters.bytesSent &+= UInt64(count)
        if sockets[slot].senderHead >= 0, let policy = unsafe sockets[slot].policy {
            let limit = unsafe policy._withUnsafeGuaranteedRef { $0.sendLimit }
            if sockets[slot].sendBytes <= limit / 2 { wakeFirstSender(slot) }
        }
        if sockets[slot].sendBytes == 0 { allSent(slot) }
    }

    private func allSent(_ slot: Int32) {
        if sockets[slot].flags.contains(.finishWanted), !sockets[slot].flags.contains(.finishSent) { sendFinish(slot) }
        wakeFlushers(slot)
    }

    /// Drops what is queued, once no operation refers to it.
    func dropSendQueue(_ slot: Int32) {
        var segment = sockets[slot].sendHead
        while segment >= 0 {
            let next = segments.next(after: segment)
            segments.release(segment)
            segment = next
        }
        sockets[slot].sendHead = -1
        sockets[slot].sendTail = -1
        sockets[slot].sendBytes = 0
    }

    // MARK: Those who wait

    /// Queues a sender: behind the others, or in front of them if its message is under way.
    func enqueueSender(_ waiter: Int32, _ slot: Int32, isUnderWay: Bool) {
        let head = sockets[slot].senderHead
        let tail = sockets[slot].senderTail
        unsafe state.pointee.waiters[waiter].pointee.next = -1
        if isUnderWay {
            sockets[slot].flags.remove(.senderActive)
            unsafe state.pointee.waiters[waiter].pointee.next = head
            sockets[slot].senderHead = waiter
            if tail < 0 { sockets[slot].senderTail = waiter }
        } else {
            if tail >= 0 {
                unsafe state.pointee.waiters[tail].pointee.next = waiter
            } else {
                sockets[slot].senderHead = waiter
            }
            sockets[slot].senderTail = waiter
        }
    }

    /// Lets the first sender go on. Until it is done or waits again, nobody else may send.
    func wakeFirstSender(_ slot: Int32) {
        let head = sockets[slot].senderHead
        guard head >= 0, !sockets[slot].flags.contains(.senderActive) else { return }
        sockets[slot].senderHead = unsafe state.pointee.waiters[head].pointee.next
        if sockets[slot].senderHead < 0 { sockets[slot].senderTail = -1 }
        sockets[slot].flags.insert(.senderActive)
        wake(head)
    }

    /// A sender that had waited is done: the next one may try.
    func senderDone(_ slot: Int32) {
        sockets[slot].flags.remove(.senderActive)
        wakeFirstSender(slot)
    }

    func unlinkSender(_ waiter: Int32, _ slot: Int32) {
        var previous: Int32 = -1
        var index = sockets[slot].senderHead
        while index >= 0 {
            let next = unsafe state.pointee.waiters[index].pointee.next
            if index == waiter {
                if previous >= 0 {
                    unsafe state.pointee.waiters[previous].pointee.next = next
                } else {
                    sockets[slot].senderHead = next
                }
                if next < 0 { sockets[slot].senderTail = previous }
                return
            }
            previous = index
            index = next
        }
    }

    func appendFlusher(_ waiter: Int32, _ slot: Int32) {
        unsafe state.pointee.waiters[waiter].pointee.next = sockets[slot].flusher
        sockets[slot].flusher = waiter
    }

    func unlinkFlusher(_ waiter: Int32, _ slot: Int32) {
        var previous: Int32 = -1
        var index = sockets[slot].flusher
        while index >= 0 {
            let next = unsafe state.pointee.waiters[index].pointee.next
            if index == waiter {
                if previous >= 0 {
                    unsafe state.pointee.waiters[previous].pointee.next = next
                } else {
                    sockets[slot].flusher = next
                }
                return
            }
            previous = index
            index = next
        }
    }

    func wakeFlushers(_ slot: Int32) {
        var index = sockets[slot].flusher
        sockets[slot].flusher = -1
        while index >= 0 {
            let next = unsafe state.pointee.waiters[index].pointee.next
            wake(index)
            index = next
        }
    }

    func wakeSenders(_ slot: Int32) {
        var index = sockets[slot].senderHead
        sockets[slot].senderHead = -1
        sockets[slot].senderTail = -1
        while index >= 0 {
            let next = unsafe state.pointee.waiters[index].pointee.next
            wake(index)
            index = next
        }
    }

    func wakeThoseWaitingForBuffers() {
        // Only a segment that has come back since is a reason to try again: buffers and references run out apart.
        guard segments.releases != releasesSeen else { return }
        releasesSeen = segments.releases
        let slots = waitingForBuffer
        waitingForBuffer.removeAll(keepingCapacity: true)
        for slot in slots { wakeFirstSender(slot) }
    }
}
