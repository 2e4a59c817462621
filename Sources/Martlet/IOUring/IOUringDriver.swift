// The io_uring driver: operations become submission entries, and one system call a round submits them and waits.
// Hold io_uring_enter(2) and io_uring_prep_recv_multishot(3) beside it.
//
// - Receive is multishot into a ring of provided buffers: one entry for a connection's life.
// - A send whose end nobody waits for is silent: it is tried once inside the system call, and posts a completion only when it
//   did not send everything. The system call then sleeps until something really happens, instead of returning for each send.
// - close(2) does not end what is pending: the transport cancels first and keeps the slot until nothing is outstanding.

internal import CMartlet
internal import Glibc
internal import MartletStack

@safe struct IOUringDriver: ~Copyable {
    private let uring: UnsafeMutablePointer<martlet_uring>
    private let eventDescriptor: Int32
    private let messages: UnsafeMutablePointer<msghdr>
    private let pieces: UnsafeMutablePointer<iovec>
    private let messageCapacity: Int
    private var messageCount = 0
    private var isWakeArmed = false
    private(set) var overflows: UInt64 = 0

    static let piecesPerSend = 16

    /// Sets up the ring on the calling thread.
    init(limits: Limits, sqpoll: Bool, eventDescriptor: Int32) throws(NetworkError) {
        let ring = UnsafeMutablePointer<martlet_uring>.allocate(capacity: 1)
        var result = unsafe martlet_uring_open(
            ring, UInt32(limits.submissionEntries), UInt32(limits.completionEntries), sqpoll)
        if result == 0 {
            result = unsafe martlet_uring_register_buffers(ring, Self.ringSize(for: limits.maximumReceiveBuffers))
            if result < 0 { unsafe martlet_uring_close(ring) }
        }
        guard result == 0 else {
            unsafe ring.deallocate()
            throw NetworkError(errno: -result, during: "io_uring_setup")
        }
        unsafe uring = ring
        self.eventDescriptor = eventDescriptor
        messageCapacity = limits.submissionEntries
        unsafe messages = .allocate(capacity: messageCapacity)
        unsafe pieces = .allocate(capacity: messageCapacity * Self.piecesPerSend)
        unsafe messages.initialize(repeating: msghdr(), count: messageCapacity)
        unsafe pieces.initialize(repeating: iovec(), count: messageCapacity * Self.piecesPerSend)
    }

    /// A power of two, 32,768 at most (io_uring_register_buf_ring(3)).
    private static func ringSize(for buffers: Int) -> UInt32 {
        let wanted = UInt32(clamping: max(1, min(buffers, 32_768)))
        return wanted.nonzeroBitCount == 1 ? wanted : 1 << (32 - UInt32(wanted.leadingZeroBitCount))
    }

    deinit {
        unsafe martlet_uring_close(uring)
        unsafe uring.deallocate()
        unsafe messages.deallocate()
        unsafe pieces.deallocate()
    }

    /// What the set-up ladder ended on, in words.
    var rung: String {
        switch Int(unsafe uring.pointee.rung) {
        case MARTLET_URING_DEFER_TASKRUN: "DEFER_TASKRUN"
        case MARTLET_URING_COOP_TASKRUN: "COOP_TASKRUN"
        default: "SQPOLL"
        }
    }

    private var isPolledByKernel: Bool { unsafe uring.pointee.rung == Int32(MARTLET_URING_SQPOLL) }

    // MARK: Operations

    mutating func receive(_ token: Token, descriptor: Int32) {
        unsafe martlet_uring_receive(uring, descriptor, token.word)
    }

    mutating func accept(_ token: Token, descriptor: Int32, multishot: Bool) {
        unsafe martlet_uring_accept(uring, descriptor, multishot, token.word)
    }

    mutating func cancel(_ target: Token) {
        unsafe martlet_uring_cancel(uring, target.word, Token(.discard, slot: -1, generation: 0).word)
    }

    mutating func close(descriptor: Int32) {
        unsafe martlet_uring_close_fd(uring, descriptor, Token(.discard, slot: -1, generation: 0).word)
    }

    mutating func pollReadable(_ token: Token, descriptor: Int32) {
        unsafe martlet_uring_poll_readable(uring, descriptor, token.word)
    }

    mutating func pollWritable(_ token: Token, descriptor: Int32) {
        unsafe martlet_uring_poll_writable(uring, descriptor, token.word)
    }

    mutating func watchLink(_ token: Token, _ sleep: LinkSleep) {
        unsafe martlet_uring_poll_once(uring, sleep.descriptor, sleep.forInput, sleep.forOutput, token.word)
    }

    /// `address` must live until the operation completes.
    mutating func connect(_ token: Token, descriptor: Int32, address: UnsafeMutablePointer<martlet_address>) {
        unsafe address.withMemoryRebound(to: martlet_address.self, capacity: 1) { address in
            unsafe withUnsafePointer(to: &address.pointee.storage) { storage in
                unsafe storage.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                    unsafe martlet_uring_connect(uring, descriptor, $0, address.pointee.length, token.word)
                }
            }
        }
    }

    /// Where the next send's pieces go, which the kernel reads in the next system call.
    mutating func sendPieces() -> UnsafeMutablePointer<iovec> {
        while messageCount == messageCapacity {
            unsafe uring.pointee.submitted_early = true
            submit(waitFor: 0, timeout: 0)
        }
        return unsafe pieces + messageCount * Self.piecesPerSend
    }

    /// Sends the first `count` of ``sendPieces()``, in order.
    mutating func send(_ token: Token, descriptor: Int32, pieces count: Int, silent: Bool) -> SendAttempt {
        let silent = silent && !isPolledByKernel
        unsafe martlet_uring_send(
            uring, descriptor, pieces + messageCount * Self.piecesPerSend, Int32(count), messages + messageCount,
            silent, token.word)
        messageCount += 1
        return silent ? .silent : .pending
    }

    // MARK: Buffers

    mutating func provide(from slabs: inout SlabPool) {
        var count: Int32 = 0
        while let index = slabs.popFreeToProvide() {
            unsafe martlet_uring_provide(
                uring, slabs.base(of: index), UInt32(slabs.slabCapacity), UInt16(truncatingIfNeeded: index), count)
            count += 1
        }
        if count > 0 { unsafe martlet_uring_provide_done(uring, count) }
    }

    // MARK: The system call of the round

    /// Submits all operations and waits for one completion, `timeout` nanoseconds at most: 0 does not wait, -1 waits for ever.
    mutating func submit(timeout: Int64) {
        if !isWakeArmed {
            isWakeArmed = true
            unsafe martlet_uring_poll_readable(uring, eventDescriptor, Token(.wake, slot: -1, generation: 0).word)
        }
        if unsafe timeout == 0 || uring.pointee.submitted_early {
            // Silent sends that went in early have nobody to announce them: look at once.
            unsafe uring.pointee.submitted_early = false
            submit(waitFor: 0, timeout: 0)
        } else {
            submit(waitFor: 1, timeout: timeout)
        }
    }

    private mutating func submit(waitFor count: UInt32, timeout: Int64) {
        let result = unsafe martlet_uring_enter(uring, count, timeout)
        // What the entries point at may be used again when the kernel has read them: its own thread does that later.
        if unsafe martlet_uring_unsubmitted(uring) == 0 { messageCount = 0 }
        switch -result {
        case 0, ETIME, EINTR: break
        case EBUSY, EAGAIN: overflows += 1  // completions must be reaped first; the entries stay queued
        default: fatalError("io_uring_enter failed: \(NetworkError(errno: -result, during: "io_uring_enter"))")
        }
    }

    var hasCompletion: Bool { unsafe martlet_uring_peek(uring) != nil }

    /// The next thing that happened, or nil when all of it was told.
    mutating func next(slabs: inout SlabPool) -> Completion? {
        guard let cqe = unsafe martlet_uring_peek(uring) else {
            if unsafe martlet_uring_overflown(uring) {
                overflows += 1
                submit(waitFor: 0, timeout: 0)
                guard unsafe martlet_uring_peek(uring) != nil else { return nil }
                return next(slabs: &slabs)
            }
            return nil
        }
        var completion = Completion(
            token: Token(word: unsafe cqe.pointee.user_data), result: unsafe cqe.pointee.res,
            slab: unsafe martlet_cqe_buffer(cqe), more: unsafe martlet_cqe_more(cqe))
        unsafe martlet_uring_advance(uring)
        if completion.slab >= 0 {
            slabs.takeBack()
            if completion.result <= 0 {
                slabs.release(completion.slab)
                completion.slab = -1
            }
        }
        if completion.token.operation == .wake {
            martlet_eventfd_drain(eventDescriptor)
            if !completion.more { isWakeArmed = false }
        }
        return completion
    }
}
