// UDP: readiness, then up to 32 datagrams a system call (recvmmsg(2), sendmmsg(2)), each into a slab of its own. Datagrams are
// fetched only while the program keeps up; beyond, they wait in the kernel's buffer, which drops what it cannot hold.

internal import CMartlet
internal import Glibc
internal import MartletStack

final class DatagramState {
    let address: SocketAddress
    var received: [Datagram] = []
    var receivedStart = 0
    var waiter: Int32 = -1
    var isReadable = true
    var isArmed = false
    var isClosed = false
    var failure: NetworkError?

    var isEmpty: Bool { receivedStart == received.count }

    init(address: SocketAddress) { self.address = address }

    func popFirst() -> Datagram? {
        guard receivedStart < received.count else { return nil }
        let datagram = received[receivedStart]
        receivedStart += 1
        if receivedStart == received.count {
            received.removeAll(keepingCapacity: true)
            receivedStart = 0
        }
        return datagram
    }
}

extension KernelTransport {
    func openDatagramSocket(_ address: SocketAddress, reusePort: Bool) throws(NetworkError) -> Int32 {
        let descriptor = try driver.openDatagramSocket(address, reusePort: reusePort)
        guard let slot = sockets.take() else {
            driver.closeNow(descriptor)
            throw .limitReached("connectionsPerCore")
        }
        sockets[slot].descriptor = descriptor
        sockets[slot].flags.formUnion([.hasDescriptor, .hasHandle])
        let local = driver.address(descriptor, local: true) ?? address
        datagramSockets[slot] = DatagramState(address: local)
        return slot
    }

    /// The next datagram, or nil: the socket then listens for readiness and wakes its waiter.
    func takeDatagram(_ slot: Int32) throws(NetworkError) -> Datagram? {
        guard let socket = datagramSockets[slot], !socket.isClosed else { throw .closed }
        if let failure = socket.failure { throw failure }
        if socket.isEmpty { try fetchDatagrams(slot) }
        if let datagram = datagramSockets[slot]!.popFirst() { return datagram }
        if !datagramSockets[slot]!.isArmed {
            datagramSockets[slot]!.isArmed = true
            sockets[slot].outstanding += 1
            driver.pollReadable(token(.readable, slot), descriptor: sockets[slot].descriptor)
        }
        return nil
    }

    /// Reads as many datagrams as one call brings.
    private func fetchDatagrams(_ slot: Int32) throws(NetworkError) {
        guard datagramSockets[slot]!.isReadable else { return }
        if let (stack, socket) = unsafe driver.ours(sockets[slot].descriptor) {
            return unsafe fetchDatagrams(slot, from: stack, socket)
        }
        let capacity = Int(MARTLET_DATAGRAM_BATCH)
        let result = unsafe withUnsafeTemporaryAllocation(of: martlet_datagram.self, capacity: capacity) { batch in
            var count = 0
            var indices = [Int32]()
            while count < capacity, let slab = slabs.popFree() ?? takeProvidedSlab() {
                indices.append(slab)
                unsafe (batch.baseAddress! + count).initialize(
                    to: martlet_datagram(
                        buffer: slabs.base(of: slab), capacity: UInt32(slabs.slabCapacity), count: 0,
                        peer: martlet_address()))
                count += 1
            }
            guard count > 0 else { return fetchOutsideThePool(slot) }
            let received = unsafe martlet_receive_datagrams(sockets[slot].descriptor, batch.baseAddress, Int32(count))
            for position in 0..<count {
                let slab = indices[position]
                if position < Int(received), let peer = unsafe SocketAddress(kernelAddress: batch[position].peer) {
                    slabs.setFilled(slab, count: Int(unsafe batch[position].count))
                    datagramSockets[slot]!.received.append(Datagram(bytes: slabs.lend(slab), peer: peer))
                } else {
                    slabs.release(slab)
                }
            }
            return received
        }
        if result > 0 {
            unsafe state.pointee.counters.datagramsReceived &+= UInt64(result)
        } else if result == -EAGAIN {
            datagramSockets[slot]!.isReadable = false
        } else if result < 0, result != -EINTR, result != -ECONNREFUSED {
            throw NetworkError(errno: -result, during: "recvmmsg")
        }
    }

    /// All slabs are out, and with io_uring the free ones are the kernel's: one datagram, into memory of its own.
    private func fetchOutsideThePool(_ slot: Int32) -> Int32 {
        unsafe state.pointee.counters.receiveBuffersExhausted &+= 1
        let slab = Slab(capacity: slabs.slabCapacity)
        var datagram = unsafe martlet_datagram(
            buffer: slab.base, capacity: UInt32(slab.capacity), count: 0, peer: martlet_address())
        let received = unsafe martlet_receive_datagrams(sockets[slot].descriptor, &datagram, 1)
        if received == 1, let peer = unsafe SocketAddress(kernelAddress: datagram.peer) {
            let bytes = unsafe Bytes(copying: UnsafeRawBufferPointer(start: slab.base, count: Int(datagram.count)))
            datagramSockets[slot]!.received.append(Datagram(bytes: bytes, peer: peer))
        }
        return received
    }

    /// With io_uring all free slabs are the kernel's: the pool makes more.
    private func takeProvidedSlab() -> Int32? {
        guard slabs.grow() else { return nil }
        return slabs.popFree()
    }

    func becameReadable(_ slot: Int32, _ completion: Completion) {
        guard datagramSockets[slot] != nil else { return }
        if !completion.more {
            datagramSockets[slot]!.isArmed = false
            sockets[slot].outstanding -= 1
        }
        datagramSockets[slot]!.isReadable = true
        let waiter = datagramSockets[slot]!.waiter
        datagramSockets[slot]!.waiter = -1
        wake(waiter)
        releaseDatagramSocketIfDone(slot)
    }

    /// Sends datagrams, 32 a call. Returns how many the kernel took before its buffer was full.
    func sendDatagrams(_ slot: Int32, _ datagrams: some RandomAccessCollection<Datagram>) throws(NetworkError) -> Int {
        guard let socket = datagramSockets[slot], !socket.isClosed else { throw .closed }
        if let (stack, descriptor) = unsafe driver.ours(sockets[slot].descriptor) {
            return try unsafe send(datagrams, by: stack, descriptor)
        }
        let capacity = Int(MARTLET_DATAGRAM_BATCH)
        var sent = 0
        while sent < datagrams.count {
            let chunk = Array(datagrams.dropFirst(sent).prefix(capacity))
            var addresses: [martlet_address] = []
            for datagram in chunk { addresses.append(try datagram.peer.kernelAddress()) }
            let result = unsafe withUnsafeTemporaryAllocation(of: martlet_datagram.self, capacity: chunk.count) {
                batch in
                for (position, datagram) in chunk.enumerated() {
                    let base = unsafe datagram.bytes.storage.map { unsafe $0.slab.base + $0.start }
                    unsafe (batch.baseAddress! + position).initialize(
                        to: martlet_datagram(
                            buffer: base, capacity: 0, count: UInt32(datagram.bytes.count), peer: addresses[position]))
                }
                return unsafe martlet_send_datagrams(sockets[slot].descriptor, batch.baseAddress, Int32(chunk.count))
            }
            if result == -EAGAIN { break }
            guard result >= 0 else {
                throw NetworkError(errno: -result, address: chunk[0].peer, during: "sendmmsg")
            }
            sent += Int(result)
        }
        unsafe state.pointee.counters.datagramsSent &+= UInt64(sent)
        return sent
    }

    func dropDatagramSocket(_ slot: Int32, _ generation: UInt32) {
        guard sockets.isCurrent(slot, generation), datagramSockets[slot] != nil else { return }
        closeDatagramSocket(slot)
        sockets[slot].flags.remove(.hasHandle)
        releaseDatagramSocketIfDone(slot)
    }

    func closeDatagramSocket(_ slot: Int32) {
        guard let socket = datagramSockets[slot], !socket.isClosed else { return }
        datagramSockets[slot]!.isClosed = true
        if socket.isArmed { driver.cancel(token(.readable, slot), descriptor: sockets[slot].descriptor) }
        driver.close(slot: slot, descriptor: sockets[slot].descriptor)
        sockets[slot].flags.remove(.hasDescriptor)
        let waiter = socket.waiter
        socket.waiter = -1
        wake(waiter)
        releaseDatagramSocketIfDone(slot)
    }

    private func releaseDatagramSocketIfDone(_ slot: Int32) {
        guard datagramSockets[slot]!.isClosed, sockets[slot].outstanding == 0,
            !sockets[slot].flags.contains(.hasHandle)
        else { return }
        datagramSockets[slot] = nil
        sockets.release(slot)
    }

    // MARK: By the stack

    private func fetchDatagrams(
        _ slot: Int32, from stack: UnsafeMutablePointer<StackDriver>, _ descriptor: StackDescriptor
    ) {
        for _ in 0..<Int(MARTLET_DATAGRAM_BATCH) {
            guard let slab = slabs.popFree() ?? takeProvidedSlab() else {
                unsafe state.pointee.counters.receiveBuffersExhausted &+= 1
                return
            }
            let received = unsafe stack.pointee.receiveDatagram(
                descriptor, into: slabs.base(of: slab), capacity: slabs.slabCapacity)
            guard let received else {
                slabs.release(slab)
                datagramSockets[slot]!.isReadable = false
                return
            }
            slabs.setFilled(slab, count: received.count)
            datagramSockets[slot]!.received.append(Datagram(bytes: slabs.lend(slab), peer: received.peer))
            unsafe state.pointee.counters.datagramsReceived &+= 1
        }
    }

    private func send(
        _ datagrams: some RandomAccessCollection<Datagram>, by stack: UnsafeMutablePointer<StackDriver>,
        _ descriptor: StackDescriptor
    ) throws(NetworkError) -> Int {
        var sent = 0
        for datagram in datagrams {
            switch unsafe stack.pointee.sendDatagram(descriptor, datagram.bytes.bytes, to: datagram.peer) {
            case .sent: sent += 1
            case .noRoom: return sent
            case .closed: throw .closed
            case .unreachable: throw .unreachable(datagram.peer)
            case .tooLarge: throw NetworkError(errno: EMSGSIZE, during: "sending a datagram")
            }
            unsafe state.pointee.counters.datagramsSent &+= 1
        }
        return sent
    }
}
