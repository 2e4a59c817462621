// A peer that is no runtime: a blocking kernel socket, driven from a thread of its own. It resets, stops reading, or sends a
// byte at a time when it is told to. Hold tcp(7) and socket(7) beside it.

internal import Glibc
internal import Martlet
internal import MartletStack

/// Runs `body`, which may block, on a thread of its own.
func onThread<R: Sendable>(_ body: @escaping @Sendable () throws -> R) async throws -> R {
    let end = Promise<R>()
    let work = unsafe Unmanaged.passRetained(
        ThreadWork {
            do { end.keep(try body()) } catch { end.fail(error) }
        })
    var thread = pthread_t()
    let error = unsafe pthread_create(
        &thread, nil,
        { argument in
            unsafe Unmanaged<ThreadWork>.fromOpaque(argument!).takeRetainedValue().body()
            return nil
        }, work.toOpaque())
    if error != 0 {
        unsafe work.release()
        throw ConformanceFailure(description: "pthread_create failed: errno \(error)")
    }
    pthread_detach(thread)
    return try await end.value
}

private final class ThreadWork: Sendable {
    let body: @Sendable () -> Void

    init(_ body: @escaping @Sendable () -> Void) { self.body = body }
}

/// A failed system call of a plain socket.
struct PlainError: Error, Equatable, CustomStringConvertible {
    let errno: Int32
    let call: String

    var isReset: Bool { errno == ECONNRESET || errno == EPIPE }

    var description: String { unsafe "\(call): \(String(cString: strerror(errno)))" }
}

/// A blocking stream socket. No call waits for longer than the suite is patient.
final class PlainSocket: Sendable {
    let descriptor: Int32

    private init(descriptor: Int32) {
        self.descriptor = descriptor
        var patience = timeval(tv_sec: 20, tv_usec: 0)
        let size = socklen_t(MemoryLayout<timeval>.size)
        _ = unsafe setsockopt(descriptor, SOL_SOCKET, SO_RCVTIMEO, &patience, size)
        _ = unsafe setsockopt(descriptor, SOL_SOCKET, SO_SNDTIMEO, &patience, size)
    }

    deinit { _ = Glibc.close(descriptor) }

    /// Connects. `receiveBuffer` and `sendBuffer` are the kernel's, in bytes.
    convenience init(to address: SocketAddress, receiveBuffer: Int? = nil, sendBuffer: Int? = nil) throws {
        try self.init(like: address)
        if let receiveBuffer { set(SO_RCVBUF, receiveBuffer) }
        if let sendBuffer { set(SO_SNDBUF, sendBuffer) }
        let result = unsafe withSocketAddress(address) { unsafe Glibc.connect(descriptor, $0, $1) }
        if result != 0 { throw PlainError(errno: errno, call: "connect") }
    }

    /// Listens.
    convenience init(listeningOn address: SocketAddress, backlog: Int32 = 16) throws {
        try self.init(like: address)
        set(SO_REUSEADDR, 1)
        guard unsafe withSocketAddress(address, { unsafe Glibc.bind(descriptor, $0, $1) }) == 0 else {
            throw PlainError(errno: errno, call: "bind")
        }
        if Glibc.listen(descriptor, backlog) != 0 { throw PlainError(errno: errno, call: "listen") }
    }

    private convenience init(like address: SocketAddress) throws {
        let family =
            switch address {
            case .ipv4: AF_INET
            case .ipv6: AF_INET6
            case .unix: AF_UNIX
            }
        let descriptor = socket(family, Int32(SOCK_STREAM.rawValue) | Int32(SOCK_CLOEXEC.rawValue), 0)
        if descriptor < 0 { throw PlainError(errno: errno, call: "socket") }
        self.init(descriptor: descriptor)
    }

    private func set(_ option: Int32, _ value: Int) {
        var value = Int32(value)
        _ = unsafe setsockopt(descriptor, SOL_SOCKET, option, &value, socklen_t(MemoryLayout<Int32>.size))
    }

    func accept() throws -> PlainSocket {
        let accepted = Glibc.accept(descriptor, nil, nil)
        if accepted < 0 { throw PlainError(errno: errno, call: "accept") }
        return PlainSocket(descriptor: accepted)
    }

    /// The port that a listener got.
    var port: UInt16 {
        var address = sockaddr_in6()
        var length = socklen_t(MemoryLayout<sockaddr_in6>.size)
        _ = unsafe withUnsafeMutablePointer(to: &address) {
            unsafe $0.withMemoryRebound(to: sockaddr.self, capacity: 1) { unsafe getsockname(descriptor, $0, &length) }
        }
        return UInt16(bigEndian: address.sin6_port)
    }

    // MARK: Bytes

    /// Sends all bytes.
    func send(_ bytes: Bytes) throws {
        var sent = 0
        while sent < bytes.count { sent += try sendSome(bytes, from: sent, flags: 0) }
    }

    private func sendSome(_ bytes: Bytes, from offset: Int, flags: Int32) throws -> Int {
        let count = unsafe bytes.withUnsafeBytes {
            unsafe Glibc.send(descriptor, $0.baseAddress! + offset, $0.count - offset, flags | Int32(MSG_NOSIGNAL))
        }
        if count < 0 { throw PlainError(errno: errno, call: "send") }
        return count
    }

    /// Sends the pattern until nobody has taken a byte for a quarter of a second. Returns how many bytes went.
    func sendUntilFull(limit: Int) throws -> Int {
        var sent = 0
        while sent < limit {
            let run = Pattern.bytes(min(65_536, limit - sent), from: sent)
            do {
                sent += try sendSome(run, from: 0, flags: Int32(MSG_DONTWAIT))
            } catch let error as PlainError where error.errno == EAGAIN {
                var wait = pollfd(fd: descriptor, events: Int16(POLLOUT), revents: 0)
                if unsafe poll(&wait, 1, 250) == 0 { return sent }
            }
        }
        return sent
    }

    /// Up to `limit` bytes; none at the peer's FIN.
    func receive(upTo limit: Int = 65_536, flags: Int32 = 0) throws -> Bytes {
        var failure: Int32 = 0
        let bytes = Bytes(capacity: limit) { output in
            unsafe output.withUnsafeMutableBytes { buffer, initialized in
                let count = unsafe recv(descriptor, buffer.baseAddress!, limit, flags)
                if count < 0 { failure = errno } else { initialized += count }
            }
        }
        if failure != 0 { throw PlainError(errno: failure, call: "recv") }
        return bytes
    }

    /// Exactly `count` bytes.
    func receive(exactly count: Int) throws -> [UInt8] {
        var all: [UInt8] = []
        while all.count < count {
            let bytes = try receive(upTo: count - all.count)
            if bytes.isEmpty {
                throw ConformanceFailure(description: "the peer's FIN came after \(all.count) of \(count) bytes")
            }
            all.append(contentsOf: bytes)
        }
        return all
    }

    /// Reads the pattern to the peer's FIN, `step` bytes a call. Returns how many bytes there were.
    func receivePattern(step: Int = 65_536) throws -> Int {
        var reader = PatternReader()
        while true {
            let bytes = try receive(upTo: step)
            if bytes.isEmpty { return reader.count }
            try reader.read(bytes)
        }
    }

    /// Reads until the connection ends. Returns the bytes, and whether a reset ended it.
    func receiveToEnd() throws -> (bytes: [UInt8], wasReset: Bool) {
        var all: [UInt8] = []
        while true {
            do {
                let bytes = try receive()
                if bytes.isEmpty { return (all, false) }
                all.append(contentsOf: bytes)
            } catch let error as PlainError where error.isReset {
                return (all, true)
            }
        }
    }

    // MARK: The end

    /// FIN. Reading goes on.
    func finish() { _ = shutdown(descriptor, Int32(SHUT_WR)) }

    /// The coming ``end()`` sends a RST.
    func reset() {
        var linger = linger(l_onoff: 1, l_linger: 0)
        _ = unsafe setsockopt(descriptor, SOL_SOCKET, SO_LINGER, &linger, socklen_t(MemoryLayout<Glibc.linger>.size))
        end()
    }

    /// Closes the connection. The descriptor stays, without a connection, until the socket goes.
    func end() {
        // Another socket takes the descriptor's place, so that its number cannot be given to somebody else.
        let other = socket(AF_UNIX, Int32(SOCK_STREAM.rawValue) | Int32(SOCK_CLOEXEC.rawValue), 0)
        _ = dup2(other, descriptor)
        _ = Glibc.close(other)
    }
}

/// Calls `body` with the kernel's form of an address.
func withSocketAddress<R>(
    _ address: SocketAddress, _ body: (UnsafePointer<sockaddr>, socklen_t) -> R
) -> R {
    func call<T>(_ value: T, _ size: Int) -> R {
        unsafe withUnsafePointer(to: value) { pointer in
            unsafe pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) { unsafe body($0, socklen_t(size)) }
        }
    }
    switch address {
    case .ipv4(let ip, let port):
        var value = sockaddr_in()
        value.sin_family = sa_family_t(AF_INET)
        value.sin_port = port.bigEndian
        value.sin_addr.s_addr = ip.bits.bigEndian
        return call(value, MemoryLayout<sockaddr_in>.size)
    case .ipv6(let ip, let port, let scope):
        var value = sockaddr_in6()
        value.sin6_family = sa_family_t(AF_INET6)
        value.sin6_port = port.bigEndian
        value.sin6_scope_id = scope
        unsafe withUnsafeMutableBytes(of: &value.sin6_addr) {
            unsafe $0.storeBytes(of: ip.high.bigEndian, as: UInt64.self)
            unsafe $0.storeBytes(of: ip.low.bigEndian, toByteOffset: 8, as: UInt64.self)
        }
        return call(value, MemoryLayout<sockaddr_in6>.size)
    case .unix(let path):
        var value = sockaddr_un()
        value.sun_family = sa_family_t(AF_UNIX)
        unsafe withUnsafeMutableBytes(of: &value.sun_path) {
            unsafe $0.copyBytes(from: Array(path.utf8).prefix($0.count - 1))
        }
        return call(value, MemoryLayout<sockaddr_un>.size)
    }
}
