// The choice between the two drivers, and the only place that switches on it.

internal import CMartlet
internal import Glibc
internal import MartletStack

enum Driver {
    case ioUring(IOUringDriver)
    case epoll(EpollDriver)

    /// Opens the driver on the calling thread. Says which it is, and why, for the log.
    static func open(
        _ choice: DriverChoice, sqpoll: Bool, limits: Limits, eventDescriptor: Int32
    ) throws(NetworkError) -> (driver: Driver, description: String) {
        var reason = "asked for"
        if choice != .epoll {
            do throws(NetworkError) {
                let driver = try IOUringDriver(limits: limits, sqpoll: sqpoll, eventDescriptor: eventDescriptor)
                return (.ioUring(driver), "io_uring (\(driver.rung))")
            } catch {
                if choice == .ioUring { throw error }
                reason = "io_uring is refused here: \(error)"
            }
        }
        return (.epoll(try EpollDriver(limits: limits, eventDescriptor: eventDescriptor)), "epoll (\(reason))")
    }

    /// Sockets block under io_uring, where a worker would otherwise see EAGAIN, and do not under epoll.
    var wantsNonblocking: Bool { if case .epoll = self { true } else { false } }

    func receive(_ token: Token, descriptor: Int32) {
        switch self {
        case .ioUring(let driver): driver.receive(token, descriptor: descriptor)
        case .epoll(let driver): driver.receive(token, descriptor: descriptor)
        }
    }

    func accept(_ token: Token, descriptor: Int32, multishot: Bool) {
        switch self {
        case .ioUring(let driver): driver.accept(token, descriptor: descriptor, multishot: multishot)
        case .epoll(let driver): driver.accept(token, descriptor: descriptor)
        }
    }

    func connect(_ token: Token, descriptor: Int32, address: UnsafeMutablePointer<martlet_address>) {
        switch self {
        case .ioUring(let driver): unsafe driver.connect(token, descriptor: descriptor, address: address)
        case .epoll(let driver): unsafe driver.connect(token, descriptor: descriptor, address: address)
        }
    }

    func pollReadable(_ token: Token, descriptor: Int32) {
        switch self {
        case .ioUring(let driver): driver.pollReadable(token, descriptor: descriptor)
        case .epoll(let driver): driver.pollReadable(token, descriptor: descriptor)
        }
    }

    func pollWritable(_ token: Token, descriptor: Int32) {
        switch self {
        case .ioUring(let driver): driver.pollWritable(token, descriptor: descriptor)
        case .epoll(let driver): driver.pollWritable(token, descriptor: descriptor)
        }
    }

    /// Ends an operation. Its last completion still comes.
    func cancel(_ target: Token) {
        switch self {
        case .ioUring(let driver): driver.cancel(target)
        case .epoll(let driver): driver.cancel(target)
        }
    }

    func close(slot: Int32, descriptor: Int32) {
        switch self {
        case .ioUring(let driver): driver.close(descriptor: descriptor)
        case .epoll(let driver): driver.close(slot: slot, descriptor: descriptor)
        }
    }

    func send(
        _ token: Token, descriptor: Int32, pieces: UnsafePointer<iovec>, count: Int, silent: Bool
    ) -> SendAttempt {
        switch self {
        case .ioUring(let driver):
            unsafe driver.send(token, descriptor: descriptor, pieces: pieces, count: count, silent: silent)
        case .epoll(let driver): unsafe driver.send(token, descriptor: descriptor, pieces: pieces, count: count)
        }
    }

    /// Gives free slabs to the kernel, where the driver fills them itself.
    func provide(from slabs: inout SlabPool) {
        if case .ioUring(let driver) = self { driver.provide(from: &slabs) }
    }

    /// Hands over all operations and waits, `timeout` nanoseconds at most: 0 does not wait, -1 waits for ever.
    func submit(timeout: Int64) {
        switch self {
        case .ioUring(let driver): driver.submit(timeout: timeout)
        case .epoll(let driver): driver.submit(timeout: timeout)
        }
    }

    func next(slabs: inout SlabPool) -> Completion? {
        switch self {
        case .ioUring(let driver): driver.next(slabs: &slabs)
        case .epoll(let driver): driver.next(slabs: &slabs)
        }
    }

    var hasCompletion: Bool {
        switch self {
        case .ioUring(let driver): driver.hasCompletion
        case .epoll(let driver): driver.hasCompletion
        }
    }

    var overflows: UInt64 { if case .ioUring(let driver) = self { driver.overflows } else { 0 } }
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
