// The waiting halves of the API's calls, on the core's thread: look, park, look again.

internal import CMartlet
internal import Glibc
internal import MartletStack

extension Core {
    /// The scope that watches over the running task's cancellation on this connection, if there is one.
    private func scope(of slot: Int32) -> UnsafeMutablePointer<ScopeRecord>? {
        guard let scope = unsafe transport.sockets[slot].scope, unsafe scope.pointee.task == CurrentTask.identity else {
            return nil
        }
        return unsafe scope
    }

    /// Makes a waiter ready for the calling task, unless the task is cancelled.
    @inline(__always)
    private func prepareToWait(
        _ waiter: Int32, _ actor: (any Actor)?, slot: Int32, deadline: Int64
    ) throws(NetworkError) -> UnsafeMutablePointer<WaiterRecord> {
        let scope = unsafe scope(of: slot)
        if unsafe scope == nil, CurrentTask.isCancelled {
            transport.unlink(waiter)
            unsafe state.pointee.waiters.release(waiter)
            throw .cancelled
        }
        return unsafe prepareToPark(waiter, actor, deadline: deadline, scope: scope)
    }

    /// The task goes on: throws if that is for another reason than that something is ready.
    func endWait(_ record: UnsafeMutablePointer<WaiterRecord>) throws(NetworkError) {
        switch unsafe unpark(record) {
        case .ready: return
        case .cancelled: throw .cancelled
        case .deadline: throw .deadlineExceeded
        }
    }

    /// Parks until something resumes the task, and throws if that was for another reason than that something is ready.
    ///
    /// Inlined, as all on the way from a call to where its task parks: each frame of the task's memory costs a message some 15 ns, and
    /// an idle connection keeps it.
    @inline(__always)
    private func wait(_ waiter: Int32, slot: Int32, deadline: Int64) async throws(NetworkError) {
        let record = unsafe try prepareToWait(waiter, #isolation, slot: slot, deadline: deadline)
        unsafe await parkTask(record)
        unsafe try endWait(record)
    }

    // MARK: Receiving

    /// Makes a waiter ready for the calling task as the connection's receiver.
    func prepareToReceive(
        _ slot: Int32, _ actor: (any Actor)?, deadline: Int64
    ) throws(NetworkError) -> UnsafeMutablePointer<WaiterRecord> {
        precondition(transport.sockets[slot].receiver < 0, "two tasks receive from one connection at once")
        let waiter = takeWaiter(in: .receive, slot: slot)
        transport.sockets[slot].receiver = waiter
        return unsafe try prepareToWait(waiter, actor, slot: slot, deadline: deadline)
    }

    // MARK: Sending

    /// Queues what there is room for now. Returns how many bytes that is.
    func trySend(_ slot: Int32, _ bytes: Bytes) throws(NetworkError) -> Int {
        try transport.checkSending(slot)
        if transport.isSenderAhead(slot) { return 0 }
        let sent = unsafe transport.sendNow(slot, bytes.unsafeBuffer)
        return sent == bytes.count ? sent : sent + queueLater(slot, bytes, from: sent)
    }

    private func queue(_ slot: Int32, _ bytes: Bytes, from offset: Int) -> Int {
        let buffer = unsafe UnsafeRawBufferPointer(rebasing: bytes.unsafeBuffer[offset...])
        let sent = unsafe transport.sendNow(slot, buffer)
        return sent == buffer.count ? sent : sent + queueLater(slot, bytes, from: offset + sent)
    }

    @inline(never)
    private func queueLater(_ slot: Int32, _ bytes: Bytes, from offset: Int) -> Int {
        if bytes.count - offset >= SegmentPool.referenceThreshold {
            return transport.queue(slot, referring: bytes, from: offset)
        }
        return unsafe transport.queue(
            slot, copying: UnsafeRawBufferPointer(rebasing: bytes.unsafeBuffer[offset...]))
    }

    /// Queues the rest as room comes.
    func sendRest(_ slot: Int32, _ bytes: Bytes, from offset: Int, deadline: Int64) async throws(NetworkError) {
        var offset = offset
        try await sendWaiting(slot, isUnderWay: offset > 0, deadline: deadline) {
            offset += queue(slot, bytes, from: offset)
            return offset == bytes.count
        }
    }

    /// Waits for this sender's turn and for room, again and again until `queueMore` says that all is queued.
    private func sendWaiting(
        _ slot: Int32, isUnderWay: Bool, deadline: Int64, _ queueMore: () -> Bool
    ) async throws(NetworkError) {
        var isUnderWay = isUnderWay
        do throws(NetworkError) {
            while true {
                let waiter = takeWaiter(in: .send, slot: slot)
                transport.enqueueSender(waiter, slot, isUnderWay: isUnderWay)
                if transport.sockets[slot].sendBytes == 0 { transport.waitingForBuffer.append(slot) }
                try await wait(waiter, slot: slot, deadline: deadline)
                isUnderWay = true
                try transport.checkSending(slot)
                if queueMore() { break }
            }
        } catch {
            if isUnderWay { transport.senderDone(slot) }
            throw error
        }
        transport.senderDone(slot)
    }

    func sendAll(_ slot: Int32, _ runs: [Bytes], deadline: Int64) async throws(NetworkError) {
        try transport.checkSending(slot)
        var run = 0
        var offset = 0
        func queueMore() -> Bool {
            while run < runs.count {
                offset += queue(slot, runs[run], from: offset)
                if offset < runs[run].count { return false }
                run += 1
                offset = 0
            }
            return true
        }
        let isFirst = !transport.isSenderAhead(slot)
        if isFirst, queueMore() { return }
        try await sendWaiting(slot, isUnderWay: isFirst, deadline: deadline, queueMore)
    }

    func sendInPlace(
        _ slot: Int32, _ capacity: Int, deadline: Int64, _ body: (inout OutputRawSpan) -> Void
    ) async throws(NetworkError) -> Int {
        try transport.checkSending(slot)
        var written: Int?
        if !transport.isSenderAhead(slot) { written = transport.queue(slot, capacity: capacity, body) }
        if let written { return written }
        try await sendWaiting(slot, isUnderWay: false, deadline: deadline) {
            written = transport.queue(slot, capacity: capacity, body)
            return written != nil
        }
        return written ?? 0
    }

    // MARK: Flushing and closing

    /// Waits until the kernel has taken all that was queued.
    private func flushToKernel(_ slot: Int32, deadline: Int64) async throws(NetworkError) {
        while transport.sockets[slot].sendBytes > 0 || transport.sockets[slot].flags.contains(.sendPending) {
            if transport.sockets[slot].flags.contains(.hasFailed) { throw transport.error(of: slot) }
            let waiter = takeWaiter(in: .flush, slot: slot)
            transport.appendFlusher(waiter, slot)
            try await wait(waiter, slot: slot, deadline: deadline)
        }
        if transport.sockets[slot].flags.contains(.hasFailed) { throw transport.error(of: slot) }
    }

    /// Waits until the peer has acknowledged all that the kernel has. The kernel does not announce that: it is asked, soon at
    /// first and then more and more rarely.
    private func awaitAcknowledgement(_ slot: Int32, deadline: Int64) async throws(NetworkError) {
        guard !transport.sockets[slot].flags.contains(.isUnix) else { return }
        var pause: Int64 = 20_000
        while true {
            let state = transport.sockets[slot]
            if state.flags.contains(.hasFailed) { throw transport.error(of: slot) }
            guard state.flags.contains(.hasDescriptor) else { throw .closed }
            switch transport.driver.acknowledgement(state.descriptor) {
            case .complete: return
            case .failed(let errno): throw NetworkError(errno: errno, during: "the connection")
            case .pending: break
            }
            let now = clock.nanoseconds
            if now >= deadline { throw .deadlineExceeded }
            let waiter = takeWaiter(in: .sleep, slot: slot)
            do throws(NetworkError) {
                try await wait(waiter, slot: slot, deadline: min(deadline, now + pause))
            } catch .deadlineExceeded {
                // Time to ask again.
            }
            pause = min(pause * 2, 20_000_000)
        }
    }

    func flush(_ slot: Int32, deadline: Int64) async throws(NetworkError) {
        if transport.sockets[slot].flags.contains(.isClosing) { throw .closed }
        try await flushToKernel(slot, deadline: deadline)
        try await awaitAcknowledgement(slot, deadline: deadline)
    }

    func close(_ slot: Int32, deadline: Int64) async throws(NetworkError) {
        let flags = transport.sockets[slot].flags
        if flags.contains(.hasFailed) { throw transport.error(of: slot) }
        if flags.contains(.isClosing) { throw .closed }
        if transport.hasUnread(slot) {
            transport.close(slot)
            throw .reset
        }
        do throws(NetworkError) {
            try transport.finish(slot)
            try await flushToKernel(slot, deadline: deadline)
            try await awaitAcknowledgement(slot, deadline: deadline)
        } catch {
            transport.close(slot)
            throw error
        }
        transport.close(slot)
    }

    // MARK: Knowing

    func address(_ slot: Int32, local: Bool) -> SocketAddress? {
        let state = transport.sockets[slot]
        guard state.flags.contains(.hasDescriptor) else { return nil }
        return transport.driver.address(state.descriptor, local: local)
    }

    func info(_ slot: Int32) -> TCPInfo? {
        let state = transport.sockets[slot]
        guard state.flags.contains(.hasDescriptor), !state.flags.contains(.isUnix) else { return nil }
        return transport.driver.info(state.descriptor)
    }

    // MARK: Sleeping

    func sleep(until deadline: Int64) async throws(NetworkError) {
        if CurrentTask.isCancelled { throw .cancelled }
        let waiter = takeWaiter(in: .sleep)
        if unsafe await park(waiter, deadline: deadline) == .cancelled { throw .cancelled }
    }
}

// Calls that come from another thread: the same calls, after one hop.
extension CoreIsolation {
    func receive(_ handle: ConnectionHandle, within timeout: Duration?) async throws(NetworkError) -> Bytes? {
        handle.core.mustBeCurrent()
        return try await TCPConnection(handle: handle).receive(within: timeout)
    }

    /// The first run of unread bytes, which stays unread; nil at the peer's FIN.
    func peek(_ handle: ConnectionHandle, within timeout: Duration?) async throws(NetworkError) -> Bytes? {
        var peeked: Bytes?
        let core = handle.core
        core.mustBeCurrent()
        let isOpen = try await TCPConnection(handle: handle).receive(within: timeout) { run in
            peeked = core.transport.peekReceived(handle.slot, run)
            return 0
        }
        return isOpen ? peeked : nil
    }

    func consume(_ handle: ConnectionHandle, _ count: Int) {
        _ = handle.core.transport.withReceived(handle.slot) { _ in count }
    }

    func send(_ handle: ConnectionHandle, _ bytes: Bytes, within timeout: Duration?) async throws(NetworkError) {
        handle.core.mustBeCurrent()
        return try await TCPConnection(handle: handle).send(bytes, within: timeout)
    }

    func send(_ handle: ConnectionHandle, contentsOf runs: [Bytes], within timeout: Duration?)
        async throws(NetworkError)
    {
        handle.core.mustBeCurrent()
        return try await TCPConnection(handle: handle).send(contentsOf: runs, within: timeout)
    }

    func flush(_ handle: ConnectionHandle, within timeout: Duration?) async throws(NetworkError) {
        handle.core.mustBeCurrent()
        return try await TCPConnection(handle: handle).flush(within: timeout)
    }

    func finish(_ handle: ConnectionHandle) async throws(NetworkError) {
        handle.core.mustBeCurrent()
        return try await TCPConnection(handle: handle).finish()
    }

    func close(_ handle: ConnectionHandle, within timeout: Duration?) async throws(NetworkError) {
        handle.core.mustBeCurrent()
        return try await TCPConnection(handle: handle).close(within: timeout)
    }

    func abort(_ handle: ConnectionHandle) async {
        handle.core.mustBeCurrent()
        await TCPConnection(handle: handle).abort()
    }

    func address(_ handle: ConnectionHandle, local: Bool) async -> SocketAddress? {
        handle.core.address(handle.slot, local: local)
    }

    func info(_ handle: ConnectionHandle) async -> TCPInfo? { handle.core.info(handle.slot) }
}
