// Outgoing connections to one address. Names, and the race between a name's addresses, are HappyEyeballs' business.

internal import CMartlet
internal import Glibc
internal import MartletStack

extension KernelTransport {
    /// Starts to connect. The waiter is resumed when it has ended; `finishConnecting` then says how.
    func startConnecting(to address: SocketAddress, policy: Policy) throws(NetworkError) -> Int32 {
        if driver.carries(address) { return try startConnectingByStack(to: address, policy) }
        guard driver.hasKernel else { throw .addressNotAvailable(address) }
        var kernelAddress = try address.kernelAddress()
        let descriptor = unsafe martlet_stream_socket(&kernelAddress, driver.wantsNonblocking)
        guard descriptor >= 0 else {
            throw NetworkError(errno: -descriptor, address: address, during: "socket")
        }
        guard let slot = sockets.take() else {
            _ = martlet_close(descriptor)
            throw .limitReached("connectionsPerCore")
        }
        if address.isUnix { sockets[slot].flags.insert(.isUnix) } else { policy.apply(to: descriptor) }
        open(slot, descriptor: descriptor, policy: policy)
        sockets[slot].flags.insert(.isConnecting)
        let stored = UnsafeMutablePointer<martlet_address>.allocate(capacity: 1)
        unsafe stored.initialize(to: kernelAddress)
        unsafe connectAddresses[slot] = stored
        sockets[slot].outstanding += 1
        unsafe driver.connect(token(.connect, slot), descriptor: descriptor, address: stored)
        return slot
    }

    private func startConnectingByStack(to address: SocketAddress, _ policy: Policy) throws(NetworkError) -> Int32 {
        guard let slot = sockets.take() else { throw .limitReached("connectionsPerCore") }
        do throws(NetworkError) {
            let descriptor = try driver.openConnection(to: address, policy.options)
            open(slot, descriptor: descriptor, policy: policy)
        } catch {
            sockets.release(slot)
            throw error
        }
        sockets[slot].flags.insert(.isConnecting)
        sockets[slot].outstanding += 1
        driver.connect(token(.connect, slot), descriptor: sockets[slot].descriptor)
        return slot
    }

    func connectCompleted(_ slot: Int32, _ result: Int32) {
        sockets[slot].flags.remove(.isConnecting)
        if let address = unsafe connectAddresses.remove(slot) { unsafe address.deallocate() }
        if result == 0 {
            unsafe state.pointee.counters.connected &+= 1
            sockets[slot].lastActivity = nowNanoseconds
            let hasTimers = unsafe sockets[slot].policy?._withUnsafeGuaranteedRef { $0.hasTimers } ?? false
            if hasTimers, sockets[slot].flags.contains(.hasDescriptor) { armTimer(slot) }
        } else if !sockets[slot].flags.contains(.hasFailed) {
            sockets[slot].flags.insert(.hasFailed)
            sockets[slot].failure = .errno(-result)
        }
        // Whoever connects waits as the socket's receiver.
        wakeReceiver(slot)
        operationEnded(slot)
        releaseIfDone(slot)
    }
}

extension Policy {
    /// Sets the socket's options. Accepted sockets inherit their listener's.
    func apply(to descriptor: Int32) {
        if options.noDelay { _ = martlet_set_nodelay(descriptor, true) }
        if let keepAlive = options.keepAlive {
            _ = martlet_set_keepalive(
                descriptor, Int32(clamping: keepAlive.idle.components.seconds),
                Int32(clamping: keepAlive.interval.components.seconds), Int32(clamping: keepAlive.count))
        }
        if options.kernelReceiveBuffer != nil || options.kernelSendBuffer != nil {
            _ = martlet_set_buffers(
                descriptor, Int32(clamping: options.kernelReceiveBuffer ?? 0),
                Int32(clamping: options.kernelSendBuffer ?? 0))
        }
    }
}
