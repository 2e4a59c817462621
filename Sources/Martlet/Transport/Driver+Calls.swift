// The calls that wait for nothing: opening a socket, closing it, asking about it. Each is a system call, or one of the stack's.

internal import CMartlet
internal import Glibc
internal import MartletStack

extension Driver {
    /// Whether an address is reached by the core's own stack.
    func carries(_ address: SocketAddress) -> Bool { unsafe stack != nil && !address.isUnix }

    // MARK: Opening

    /// Opens a connection of the stack's.
    func openConnection(to address: SocketAddress, _ options: ConnectionOptions) throws(NetworkError) -> Int32 {
        try unsafe stack.unsafelyUnwrapped.pointee.connect(to: address, options)
    }

    /// Completes when a connection that the stack is opening is there, or has failed.
    func connect(_ token: Token, descriptor: Int32) {
        guard let (stack, socket) = unsafe ours(descriptor) else { return }
        unsafe stack.pointee.connect(token, socket)
    }

    func openDatagramSocket(_ address: SocketAddress, reusePort: Bool) throws(NetworkError) -> Int32 {
        if carries(address) { return try unsafe stack.unsafelyUnwrapped.pointee.bind(address, sharesPort: reusePort) }
        guard hasKernel else { throw .addressNotAvailable(address) }
        var kernelAddress = try address.kernelAddress()
        let descriptor = unsafe martlet_datagram_socket(&kernelAddress, reusePort)
        guard descriptor >= 0 else { throw NetworkError(errno: -descriptor, address: address, during: "bind") }
        return descriptor
    }

    /// Takes a connection that is complete already: its descriptor, or -errno.
    func acceptNow(_ descriptor: Int32) -> Int32 {
        if let (stack, socket) = unsafe ours(descriptor) { return unsafe stack.pointee.acceptNow(socket) }
        _ = martlet_set_nonblocking(descriptor)
        return martlet_accept(descriptor, wantsNonblocking)
    }

    // MARK: Closing

    /// FIN. 0, or -errno.
    func finish(_ descriptor: Int32) -> Int32 {
        if let (stack, socket) = unsafe ours(descriptor) { return unsafe stack.pointee.finish(socket) }
        return martlet_shutdown_write(descriptor)
    }

    /// Closes what no operation is pending on, at once: also when nothing is submitted any more.
    func closeNow(_ descriptor: Int32) {
        if let (stack, socket) = unsafe ours(descriptor) { return unsafe stack.pointee.close(socket) }
        _ = martlet_close(descriptor)
    }

    /// Makes the coming close a reset.
    func resetOnClose(_ descriptor: Int32) {
        if let (stack, socket) = unsafe ours(descriptor) { return unsafe stack.pointee.resetOnClose(socket) }
        _ = martlet_reset_on_close(descriptor)
    }

    /// Frees a listener's port at once, although the kernel may hold an accept on it for a while.
    func shutDownListener(_ descriptor: Int32) {
        if unsafe ours(descriptor) == nil { _ = martlet_shutdown_both(descriptor) }
    }

    // MARK: Asking

    func address(_ descriptor: Int32, local: Bool) -> SocketAddress? {
        if let (stack, socket) = unsafe ours(descriptor) { return unsafe stack.pointee.address(socket, local: local) }
        var address = martlet_address()
        let result =
            unsafe local ? martlet_socket_local(descriptor, &address) : martlet_socket_peer(descriptor, &address)
        return result == 0 ? SocketAddress(kernelAddress: address) : nil
    }

    func info(_ descriptor: Int32) -> TCPInfo? {
        if let (stack, socket) = unsafe ours(descriptor) {
            return unsafe stack.pointee.info(socket).map { TCPInfo($0) }
        }
        var info = martlet_tcp_info()
        guard unsafe martlet_socket_tcp_info(descriptor, &info) == 0 else { return nil }
        return TCPInfo(info)
    }

    /// How far the peer's acknowledgement of what was sent is.
    func acknowledgement(_ descriptor: Int32) -> Acknowledgement {
        if let (stack, socket) = unsafe ours(descriptor) { return unsafe stack.pointee.acknowledgement(socket) }
        var info = martlet_tcp_info()
        let result = unsafe martlet_socket_tcp_info(descriptor, &info)
        if result < 0 { return .failed(-result) }
        if TCPInfo.State(rawValue: info.state) == .closed {
            let error = martlet_socket_error(descriptor)
            return error != 0 ? .failed(error) : .complete
        }
        return martlet_unacknowledged(descriptor) == 0 ? .complete : .pending
    }

    // MARK: The round of the stack

    func beginRound(at now: Instant) { unsafe stack?.pointee.beginRound(at: now) }
    func endRound(at now: Instant) { unsafe stack?.pointee.endRound(at: now) }
    func isBusy(at now: Instant) -> Bool { unsafe stack?.pointee.isBusy(at: now) ?? false }

    /// Whether the stack has something to deliver for connections that are closed here.
    var isDelivering: Bool { unsafe stack?.pointee.isDelivering ?? false }

    /// Instant in nanoseconds at which the stack wants to go on, `.max` for never; nil if a link is ready and there is no sleep.
    func prepareToSleep() -> Int64? {
        guard let stack = unsafe stack else { return .max }
        let watched = unsafe stack.pointee.interfaces.prepareToSleep { place, sleep in
            watchLink(Token(.interface, slot: Int32(place), generation: 0), sleep)
        }
        guard let watched else { return nil }
        return min(watched, unsafe stack.pointee.stack.nextDeadline?.nanoseconds ?? .max)
    }

    func wokeUp() { unsafe stack?.pointee.interfaces.wokeUp() }

    func interfaceIsReady(_ token: Token) { unsafe stack?.pointee.interfaces.isReady(Int(token.slot)) }
}
