// The choice between the drivers, and the only place that switches on it: io_uring or epoll for what is the kernel's, and the
// core's own stack beside it where the runtime has one. A socket's descriptor says whose it is.

internal import CMartlet
internal import Glibc
internal import MartletStack

/// The drivers of a core, at fixed addresses: calling them counts no reference.
@safe struct Driver: BitwiseCopyable {
    private var ring: UnsafeMutablePointer<IOUringDriver>?
    private var epoll: UnsafeMutablePointer<EpollDriver>?
    private(set) var stack: UnsafeMutablePointer<StackDriver>?

    /// No driver yet.
    init() {}

    /// Opens the driver on the calling thread. Says which it is, and why, for the log.
    static func open(
        _ choice: DriverChoice, sqpoll: Bool, limits: Limits, eventDescriptor: Int32
    ) throws(NetworkError) -> (driver: Driver, description: String) {
        var driver = Driver()
        var reason = "asked for"
        if choice != .epoll {
            do throws(NetworkError) {
                let ring = try IOUringDriver(limits: limits, sqpoll: sqpoll, eventDescriptor: eventDescriptor)
                let rung = ring.rung
                unsafe driver.ring = .allocate(capacity: 1)
                unsafe driver.ring?.initialize(to: ring)
                return (driver, "io_uring (\(rung))")
            } catch {
                if choice == .ioUring { throw error }
                reason = "io_uring is refused here: \(error)"
            }
        }
        let epoll = try EpollDriver(limits: limits, eventDescriptor: eventDescriptor)
        unsafe driver.epoll = .allocate(capacity: 1)
        unsafe driver.epoll?.initialize(to: epoll)
        return (driver, "epoll (\(reason))")
    }

    /// Takes the core's own stack into use.
    mutating func adopt(_ stack: consuming StackDriver) {
        let place = UnsafeMutablePointer<StackDriver>.allocate(capacity: 1)
        unsafe place.initialize(to: stack)
        unsafe self.stack = place
    }

    /// The stack and what it calls a socket, if the socket is one of its own.
    @inline(__always)
    func ours(_ descriptor: Int32) -> (UnsafeMutablePointer<StackDriver>, StackDescriptor)? {
        guard let stack = unsafe stack, let descriptor = StackDescriptor(descriptor) else { return nil }
        return unsafe (stack, descriptor)
    }

    /// Whether the kernel's sockets can be used: a simulated machine has no kernel.
    var hasKernel: Bool { unsafe ring != nil || epoll != nil }

    func destroy() {
        unsafe stack?.deinitialize(count: 1)
        unsafe stack?.deallocate()
        unsafe ring?.deinitialize(count: 1)
        unsafe ring?.deallocate()
        unsafe epoll?.deinitialize(count: 1)
        unsafe epoll?.deallocate()
    }

    /// Sockets block under io_uring, where a worker would otherwise see EAGAIN, and do not under epoll.
    var wantsNonblocking: Bool { unsafe epoll != nil }

    func receive(_ token: Token, descriptor: Int32) {
        if let (stack, socket) = unsafe ours(descriptor) { return unsafe stack.pointee.receive(token, socket) }
        unsafe ring?.pointee.receive(token, descriptor: descriptor)
        unsafe epoll?.pointee.receive(token, descriptor: descriptor)
    }

    func accept(_ token: Token, descriptor: Int32, multishot: Bool) {
        if let (stack, socket) = unsafe ours(descriptor) { return unsafe stack.pointee.accept(token, socket) }
        unsafe ring?.pointee.accept(token, descriptor: descriptor, multishot: multishot)
        unsafe epoll?.pointee.accept(token, descriptor: descriptor)
    }

    func connect(_ token: Token, descriptor: Int32, address: UnsafeMutablePointer<martlet_address>) {
        unsafe ring?.pointee.connect(token, descriptor: descriptor, address: address)
        unsafe epoll?.pointee.connect(token, descriptor: descriptor, address: address)
    }

    func pollReadable(_ token: Token, descriptor: Int32) {
        if let (stack, socket) = unsafe ours(descriptor) { return unsafe stack.pointee.pollReadable(token, socket) }
        unsafe ring?.pointee.pollReadable(token, descriptor: descriptor)
        unsafe epoll?.pointee.pollReadable(token, descriptor: descriptor)
    }

    func pollWritable(_ token: Token, descriptor: Int32) {
        if let (stack, socket) = unsafe ours(descriptor) { return unsafe stack.pointee.pollWritable(token, socket) }
        unsafe ring?.pointee.pollWritable(token, descriptor: descriptor)
        unsafe epoll?.pointee.pollWritable(token, descriptor: descriptor)
    }

    /// Completes once when a link's descriptor is ready.
    func watchLink(_ token: Token, _ sleep: LinkSleep) {
        unsafe ring?.pointee.watchLink(token, sleep)
        unsafe epoll?.pointee.watchLink(token, sleep)
    }

    /// Ends ``watchLink(_:_:)`` before it has completed.
    func unwatchLink(_ token: Token, descriptor: Int32) {
        unsafe ring?.pointee.cancel(token)
        unsafe epoll?.pointee.unwatchLink(descriptor: descriptor)
    }

    /// Ends an operation. Its last completion still comes.
    func cancel(_ target: Token, descriptor: Int32) {
        if let (stack, socket) = unsafe ours(descriptor) { return unsafe stack.pointee.cancel(target, socket) }
        unsafe ring?.pointee.cancel(target)
        unsafe epoll?.pointee.cancel(target)
    }

    func close(slot: Int32, descriptor: Int32) {
        if let (stack, socket) = unsafe ours(descriptor) { return unsafe stack.pointee.close(socket) }
        unsafe ring?.pointee.close(descriptor: descriptor)
        unsafe epoll?.pointee.close(slot: slot, descriptor: descriptor)
    }

    /// Where the next send's pieces are to be written, ``IOUringDriver/piecesPerSend`` at most.
    func sendPieces(for descriptor: Int32) -> UnsafeMutablePointer<iovec> {
        if let (stack, _) = unsafe ours(descriptor) { return unsafe stack.pointee.pieces }
        if let ring = unsafe ring { return unsafe ring.pointee.sendPieces() }
        return unsafe epoll.unsafelyUnwrapped.pointee.pieces
    }

    /// Sends what `sendPieces` holds, in order.
    func send(_ token: Token, descriptor: Int32, pieces count: Int, silent: Bool) -> SendAttempt {
        if let (stack, socket) = unsafe ours(descriptor) {
            return unsafe stack.pointee.send(token, socket, pieces: count)
        }
        if let ring = unsafe ring {
            return unsafe ring.pointee.send(token, descriptor: descriptor, pieces: count, silent: silent)
        }
        return unsafe epoll.unsafelyUnwrapped.pointee.send(token, descriptor: descriptor, pieces: count)
    }

    /// Gives free slabs to the kernel, where the driver fills them itself.
    func provide(from slabs: inout SlabPool) { unsafe ring?.pointee.provide(from: &slabs) }

    /// Hands over all operations and waits, `timeout` nanoseconds at most: 0 does not wait, -1 waits for ever.
    func submit(timeout: Int64) {
        unsafe ring?.pointee.submit(timeout: timeout)
        unsafe epoll?.pointee.submit(timeout: timeout)
    }

    func next(slabs: inout SlabPool) -> Completion? {
        if let stack = unsafe stack, let completion = unsafe stack.pointee.next(slabs: &slabs) { return completion }
        if let ring = unsafe ring { return unsafe ring.pointee.next(slabs: &slabs) }
        return unsafe epoll?.pointee.next(slabs: &slabs)
    }

    var hasCompletion: Bool {
        if let ring = unsafe ring { return unsafe ring.pointee.hasCompletion }
        return unsafe epoll.unsafelyUnwrapped.pointee.hasCompletion
    }

    var overflows: UInt64 { unsafe ring?.pointee.overflows ?? 0 }
}

extension Duration {
    /// Nanoseconds, clamped.
    var nanoseconds: Int64 {
        let (seconds, attoseconds) = components
        let (scaled, overflow) = seconds.multipliedReportingOverflow(by: 1_000_000_000)
        if overflow { return seconds < 0 ? .min : .max }
        let (sum, overflowing) = scaled.addingReportingOverflow(attoseconds / 1_000_000_000)
        return overflowing ? .max : sum
    }
}
