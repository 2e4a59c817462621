// What system calls do for the kernel's sockets: opening, closing and asking those of the stack.

internal import CMartlet
internal import Glibc
internal import MartletStack

extension StackDriver {
    // MARK: Opening

    /// Listens. `forAll` says that all cores of the runtime are to listen on the port, and will claim it together.
    mutating func listen(
        _ address: SocketAddress, _ options: ConnectionOptions, forAll: Bool = false
    ) throws(NetworkError) -> Int32 {
        let (local, port) = try bindable(address)
        releaseLingering()
        var settings = ListenerSettings()
        settings.backlog = max(1, options.backlog)
        settings.connection = TCPSettings(options)
        do throws(ListenError) {
            for _ in 0..<Self.portsTried {
                let id = try stack.listen(on: local, port: port, settings)
                if mayListen(id, isNew: port == 0, forAll: forAll) {
                    listeners.open(id.index, id)
                    if !forAll { listeners[id.index].flags.insert(.hasClaim) }
                    return StackDescriptor(.listener, id.index).number
                }
                stack.close(id)
                if port != 0 { break }
            }
            throw ListenError.inUse
        } catch {
            switch error {
            case .inUse: throw .addressInUse(address)
            case .noListener: throw .limitReached("stackLimits.tcp.listeners")
            case .noSettings: throw .limitReached("stackLimits.tcp.settings")
            }
        }
    }

    /// Ports that are tried where any will do, before it is said that there is none: another core may have those.
    private static var portsTried: Int { 64 }

    /// Whether the other cores leave a listener its port; then it is claimed, unless all claim it together.
    private func mayListen(_ id: ListenerID, isNew: Bool, forAll: Bool) -> Bool {
        guard let exchange = interfaces.exchange, let port = stack.endpoint(of: id)?.port else { return true }
        let ports = exchange.cores.ports
        if forAll { return !isNew || ports.mask(port, isDatagrams: false) == 0 }
        return ports.claim(port, isDatagrams: false, by: exchange.index, isNew: isNew, isExclusive: false)
    }

    /// A listener's port has been claimed for all cores together.
    func noteClaim(_ descriptor: StackDescriptor) { listeners[descriptor.place].flags.insert(.hasClaim) }

    /// Gives back the ports of listeners that are closed, as far as their connections have ended.
    private mutating func releaseLingering() {
        guard let exchange = interfaces.exchange else { return }
        for position in lingeringPorts.indices.reversed() {
            let port = lingeringPorts[position]
            if stack.hasConnections(onPort: port) { continue }
            lingeringPorts.swapAt(position, lingeringPorts.count - 1)
            lingeringPorts.removeLast()
            exchange.cores.ports.release(port, isDatagrams: false, by: exchange.index)
        }
    }

    /// Starts to connect. ``connect(_:_:)`` then says whom to tell.
    mutating func connect(to address: SocketAddress, _ options: ConnectionOptions) throws(NetworkError) -> Int32 {
        guard let endpoint = address.endpoint else { throw .invalidAddress(address.description) }
        do throws(ConnectError) {
            // Who calls "any address" means this host, as in the kernel's.
            let remote = endpoint.address.isAny ? endpoint.address.loopbackOfSameVersion : endpoint.address
            let id = try stack.connect(to: remote, port: endpoint.port, TCPSettings(options))
            connections.open(id.index, id)
            return StackDescriptor(.connection, id.index).number
        } catch {
            switch error {
            case .unreachable: throw .unreachable(address)
            case .invalidAddress: throw .invalidAddress(address.description)
            case .noPort: throw .addressNotAvailable(address)
            case .noConnection: throw .limitReached("stackLimits.tcp.connections")
            case .noSettings: throw .limitReached("stackLimits.tcp.settings")
            }
        }
    }

    /// Opens a datagram socket.
    mutating func bind(_ address: SocketAddress, sharesPort: Bool) throws(NetworkError) -> Int32 {
        let (local, port) = try bindable(address)
        do throws(UDPBindError) {
            for _ in 0..<Self.portsTried {
                let id = try stack.bind(local ?? .v6(.any), port: port, sharesPort: sharesPort)
                if mayBind(id, isNew: port == 0, isExclusive: !sharesPort) {
                    datagrams.open(id.index, id)
                    return StackDescriptor(.datagrams, id.index).number
                }
                stack.close(id)
                if port != 0 { break }
            }
            throw UDPBindError.inUse
        } catch {
            switch error {
            case .inUse: throw .addressInUse(address)
            case .noPort: throw .addressNotAvailable(address)
            case .noSocket: throw .limitReached("stackLimits.udp.sockets")
            case .closed: throw .closed
            case .unreachable: throw .unreachable(address)
            }
        }
    }

    private func mayBind(_ id: SocketID, isNew: Bool, isExclusive: Bool) -> Bool {
        guard let exchange = interfaces.exchange, let port = stack.endpoints(of: id)?.local.port else { return true }
        return exchange.cores.ports.claim(
            port, isDatagrams: true, by: exchange.index, isNew: isNew, isExclusive: isExclusive)
    }

    /// What can be listened on: an address of ours, or nil for all of them.
    private func bindable(_ address: SocketAddress) throws(NetworkError) -> (IPAddress?, UInt16) {
        guard let endpoint = address.endpoint else { throw .invalidAddress(address.description) }
        if endpoint.address == .v6(.any) { return (nil, endpoint.port) }
        let isOurs =
            endpoint.address.isAny || endpoint.address.isMulticast
            || (0..<UInt8(stack.interfaceCount)).contains { interface in
                stack.addresses(of: interface).contains { $0.address.address == endpoint.address }
            }
        guard isOurs else { throw .addressNotAvailable(address) }
        return (endpoint.address, endpoint.port)
    }

    /// Takes a connection of a listener: a descriptor, or -EAGAIN.
    mutating func acceptNow(_ descriptor: StackDescriptor) -> Int32 {
        guard let id = stack.accept(listeners[descriptor.place].id) else { return -EAGAIN }
        connections.open(id.index, id)
        return StackDescriptor(.connection, id.index).number
    }

    // MARK: Closing

    mutating func finish(_ descriptor: StackDescriptor) -> Int32 {
        let id = connections[descriptor.place].id
        let failure = failure(of: id)
        if failure != 0 { return -failure }
        stack.finish(id)
        return 0
    }

    func resetOnClose(_ descriptor: StackDescriptor) {
        guard descriptor.kind == .connection else { return }
        connections[descriptor.place].flags.insert(.resetsOnClose)
    }

    mutating func close(_ descriptor: StackDescriptor) {
        let place = descriptor.place
        switch descriptor.kind {
        case .connection:
            let socket = connections[place]
            if socket.flags.contains(.resetsOnClose) { stack.abort(socket.id) }
            stack.release(socket.id)
            connections.close(place)
        case .listener:
            let (id, hasClaim) = (listeners[place].id, listeners[place].flags.contains(.hasClaim))
            let port = stack.endpoint(of: id)?.port
            stack.close(id)
            listeners.close(place)
            if let exchange = interfaces.exchange, let port, hasClaim {
                if stack.hasConnections(onPort: port) {
                    lingeringPorts.append(port)
                } else {
                    exchange.cores.ports.release(port, isDatagrams: false, by: exchange.index)
                }
            }
        case .datagrams:
            let port = stack.endpoints(of: datagrams[place].id)?.local.port
            stack.close(datagrams[place].id)
            datagrams.close(place)
            if let exchange = interfaces.exchange, let port {
                exchange.cores.ports.release(port, isDatagrams: true, by: exchange.index)
            }
        }
    }

    /// Whether connections that were let go of have bytes or a FIN to deliver still.
    var isDelivering: Bool { stack.isDelivering }

    // MARK: Asking

    func address(_ descriptor: StackDescriptor, local: Bool) -> SocketAddress? {
        switch descriptor.kind {
        case .connection:
            stack.endpoints(of: connections[descriptor.place].id).map { SocketAddress(local ? $0.local : $0.remote) }
        case .listener: stack.endpoint(of: listeners[descriptor.place].id).map { SocketAddress($0) }
        case .datagrams:
            stack.endpoints(of: datagrams[descriptor.place].id).map { SocketAddress(local ? $0.local : $0.remote) }
        }
    }

    func info(_ descriptor: StackDescriptor) -> MartletStack.TCPInfo? {
        stack.info(of: connections[descriptor.place].id)
    }

    /// Whether the peer has acknowledged all that was sent, and the FIN if one was; or an errno that says why it never will.
    func acknowledgement(_ descriptor: StackDescriptor) -> Acknowledgement {
        let id = connections[descriptor.place].id
        let failure = failure(of: id)
        if failure != 0 { return .failed(failure) }
        guard let info = stack.info(of: id) else { return .complete }
        switch info.state {
        case .closed, .timeWait, .finWait2: return .complete
        case .finWait1, .closing, .lastAck: return .pending
        default: return info.unacked == 0 && info.notsentBytes == 0 ? .complete : .pending
        }
    }

    // MARK: Datagrams

    /// Reads one datagram into `capacity` bytes at `base`. Nil if none waits. What does not fit is cut off.
    mutating func receiveDatagram(
        _ descriptor: StackDescriptor, into base: UnsafeMutableRawPointer, capacity: Int
    ) -> (count: Int, peer: SocketAddress)? {
        var result: (count: Int, peer: SocketAddress)?
        _ = stack.receive(datagrams[descriptor.place].id) { bytes, envelope in
            let count = min(bytes.byteCount, capacity)
            unsafe bytes.extracting(first: count).withUnsafeBytes {
                if let start = $0.baseAddress { unsafe base.copyMemory(from: start, byteCount: count) }
            }
            result = (count, SocketAddress(Endpoint(envelope.source, port: envelope.sourcePort)))
        }
        return result
    }

    mutating func sendDatagram(_ descriptor: StackDescriptor, _ bytes: RawSpan, to peer: SocketAddress) -> UDPSent {
        guard let endpoint = peer.endpoint else { return .unreachable }
        return stack.send(datagrams[descriptor.place].id, bytes, to: endpoint.address, port: endpoint.port)
    }
}

/// How far the peer's acknowledgement of what was sent is.
enum Acknowledgement {
    case complete
    case pending
    /// errno
    case failed(Int32)
}

extension TCPSettings {
    init(_ options: ConnectionOptions) {
        self.init()
        noDelay = options.noDelay
        lingerSeconds = Self.seconds(of: options.closeTimeout)
        if let asked = options.keepAlive {
            keepAlive = TCPKeepAlive(
                idleSeconds: UInt16(clamping: max(1, asked.idle.components.seconds)),
                intervalSeconds: UInt16(clamping: max(1, asked.interval.components.seconds)),
                count: UInt8(clamping: asked.count))
        }
        receiveLimit = options.kernelReceiveBuffer.map { UInt32(clamping: $0) }
        sendLimit = options.kernelSendBuffer.map { UInt32(clamping: $0) }
    }

    /// A close timeout in whole seconds, rounded up. At least one: 0 would drop what the stack has taken over.
    private static func seconds(of timeout: Duration) -> UInt16 {
        let (seconds, attoseconds) = timeout.components
        let (whole, overflows) = seconds.addingReportingOverflow(attoseconds > 0 ? 1 : 0)
        return overflows ? .max : UInt16(clamping: max(1, whole))
    }
}

extension SocketAddress {
    /// The address as the stack has it; nil for a Unix-domain one.
    var endpoint: Endpoint? {
        switch self {
        case .ipv4(let address, let port): Endpoint(.v4(address), port: port)
        case .ipv6(let address, let port, _): Endpoint(IPAddress.v6(address).unmapped, port: port)
        case .unix: nil
        }
    }

    init(_ endpoint: Endpoint) {
        switch endpoint.address {
        case .v4(let address): self = .ipv4(address, port: endpoint.port)
        case .v6(let address): self = .ipv6(address, port: endpoint.port)
        }
    }
}

extension IPAddress {
    fileprivate var isAny: Bool { self == .v4(.any) || self == .v6(.any) }

    fileprivate var loopbackOfSameVersion: IPAddress {
        switch self {
        case .v4: .v4(.loopback)
        case .v6: .v6(.loopback)
        }
    }
}
