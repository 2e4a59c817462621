// TCP Fast Open: data in the SYN, for a peer that has been here before and has a cookie to show for it (RFC 7413).
//
//     first    SYN, asks for a cookie ─▶   ◀─ SYN-ACK with it
//     later    SYN with it, and data  ─▶   the server's user reads, and may answer   ◀─ SYN-ACK of SYN and data, data
//
// Data in a SYN may arrive twice, once for each copy of the SYN. So nothing of this happens unless the user asks for it: a listener
// by how many such connections may be pending, and a connection by a setting.

/// What a stack needs for both sides: the secret of the cookies that it gives, and those that it was given.
struct FastOpen: ~Copyable {
    private let key: SipHash.Key
    private let hash: ConnectionHash
    /// Peers, as ends without a local port. The one that was used longest ago is first.
    private var peers: TupleTable<FastOpenPeer>

    init(capacity: Int, secret: SipHash.Key) {
        var random = StackRandom(secret: secret)
        key = SipHash.Key(using: &random)
        hash = ConnectionHash(secret: SipHash.Key(using: &random))
        peers = TupleTable(capacity: capacity)
    }

    // MARK: Cookies that we give (§4.1.2)

    /// Cookies change with this, and are good for this and the next.
    private static var period: Int64 { 12 * 3600 * 1_000_000_000 }

    private func cookie(for tuple: FourTuple, period: Int64) -> UInt64 {
        var hash = KeyedHash(key: key)
        hash.absorb(tuple.remote.high)
        hash.absorb(tuple.remote.low)
        hash.absorb(tuple.local.high)
        hash.absorb(tuple.local.low)
        hash.absorb(UInt64(bitPattern: period))
        return hash.finish()
    }

    /// The cookie of a client's address, and of ours.
    func cookie(for tuple: FourTuple, at now: Instant) -> UInt64 {
        cookie(for: tuple, period: now.nanoseconds / Self.period)
    }

    enum Validity { case wrong, old, current }

    func check(_ options: TCPOptions, _ tuple: FourTuple, at now: Instant) -> Validity {
        guard options.fastOpenLength == 8 else { return .wrong }
        var value: UInt64 = 0
        for index in 0..<8 { value = value << 8 | UInt64(options.fastOpenCookie[index]) }
        let period = now.nanoseconds / Self.period
        if value == cookie(for: tuple, period: period) { return .current }
        return value == cookie(for: tuple, period: period - 1) ? .old : .wrong
    }

    // MARK: Cookies that we were given (§4.1.3)

    var peerCount: Int { peers.count }

    private static func key(_ tuple: FourTuple) -> FourTuple {
        var key = tuple
        key.localPort = 0
        return key
    }

    private func place(of tuple: FourTuple) -> UInt32? {
        let key = Self.key(tuple)
        return peers.find(key, hash: UInt32(truncatingIfNeeded: hash.tableHash(key)))
    }

    func peer(of tuple: FourTuple) -> FastOpenPeer? { place(of: tuple).map { peers[$0] } }

    /// Remembers of a peer, instead of the one that was used longest ago if there are too many.
    mutating func remember(_ peer: FastOpenPeer, of tuple: FourTuple) {
        if let place = place(of: tuple) {
            peers[place] = peer
            return peers.move(place, deadline: .distantFuture)
        }
        if peers.isFull, let oldest = peers.oldest() { peers.remove(oldest) }
        let key = Self.key(tuple)
        _ = peers.insert(
            peer, key, hash: UInt32(truncatingIfNeeded: hash.tableHash(key)), deadline: .distantFuture)
    }
}

/// What a client remembers of a server.
struct FastOpenPeer: BitwiseCopyable {
    var cookie = InlineArray<16, UInt8>(repeating: 0)
    /// Bytes of the cookie; 0 if there is none.
    var cookieLength: UInt8 = 0
    /// SYNs with a cookie or a request for one that were lost in a row, while one without went through.
    var failures: UInt8 = 0
    /// What the server takes, options included.
    var maximumSegmentSize: UInt16 = 536
    /// Until then the path, or the server, is not asked again.
    var avoidedUntil = Instant.zero

    /// Nanoseconds without Fast Open after a server that gives no cookie.
    static var refusal: Int64 { 600 * 1_000_000_000 }

    /// And after the `failures`th loss in a row: from a minute to a day and a half (§4.1.3.1).
    static func blackHole(_ failures: UInt8) -> Int64 { 60_000_000_000 << Int64(min(failures, 12) - 1) }
}

extension TCPOptions {
    mutating func setFastOpenCookie(_ cookie: UInt64) {
        fastOpenLength = 8
        for index in 0..<8 { fastOpenCookie[index] = UInt8(truncatingIfNeeded: cookie >> UInt64(56 - 8 * index)) }
    }
}

// MARK: - The server

extension TCP {
    /// A SYN with a Fast Open option. Returns whether there is a connection now; else the handshake is as always, and `halfOpen` says
    /// whether its SYN-ACK brings a cookie (§4.2.2).
    mutating func fastOpenArrives(
        _ segment: Segment, _ packet: RawSpan, _ tuple: FourTuple, _ hash: UInt32, _ halfOpen: inout HalfOpen
    ) -> Bool {
        let number = halfOpen.listener
        let isRequest = segment.options.fastOpenLength == 0
        let validity = connections.fastOpen.check(segment.options, tuple, at: connections.now)
        guard validity != .wrong else {
            if !isRequest { connections.counters.fastOpensRefused &+= 1 }
            halfOpen.flags.insert(.givesCookie)
            return false
        }
        // Bounded, so that cookies that were caught, and those of hosts that reset what they have not asked for, cost no more than so
        // many TCBs (§5.1).
        guard listeners[number].pendingFastOpens < listeners[number].mostFastOpens, !synQueue.isFull else {
            connections.counters.fastOpenOverflows &+= 1
            return false
        }
        guard let slot = openPassively(halfOpen, tuple, hash, sentAt: connections.now, retransmissions: 0) else {
            return false
        }
        halfOpen.flags = .fastOpen
        _ = synQueue.insertFastOpen(halfOpen, tuple, hash: hash, at: connections.now)
        connections.settings.take(again: halfOpen.settings)
        listeners[number].pendingFastOpens += 1
        connections.counters.fastOpensIn &+= 1
        table[slot].opensFast(segment, packet, givesCookie: validity == .old, &connections)
        listeners.append(slot, to: number, &table)
        return true
    }

    /// A Fast Open request is one no more. After a reset it still counts for its minute: else a stranger could have as many as he
    /// likes, by the resets of those in whose name he calls (§5.1).
    mutating func endFastOpen(_ slot: UInt32) {
        let tuple = table[slot].tuple
        guard let place = synQueue.find(tuple, hash: demultiplexer.hash(of: tuple)),
            synQueue[place].flags.contains(.fastOpen), table[slot].state != .closed
        else { return }
        forget(place)
    }
}

extension TCB {
    /// SYN-RECEIVED with the SYN's data, and with a window to answer it at once.
    fileprivate mutating func opensFast(
        _ segment: Segment, _ packet: RawSpan, givesCookie: Bool, _ stack: inout Connections
    ) {
        opening.insert(.fastOpen)
        if givesCookie { opening.insert(.givesCookie) }
        startSending(&stack)
        let offset = Int(segment.payloadOffset)
        let bytes = packet.extracting(offset..<offset + Int(segment.payloadLength)).extracting(first: rcv.wnd)
        if bytes.byteCount > 0, hasRoom(upTo: rcv.nxt + bytes.byteCount, &stack) {
            stack.rings.write(bytes, to: receiveRing, at: rcv.nxt.bits)
            rcv.nxt += bytes.byteCount
            statistics.bytesReceived = UInt64(bytes.byteCount)
            tell(.readable, &stack)
        }
        owe(.control, &stack)
        stack.arm(.retransmit, of: slot, in: Int64(rtt.rto) * 1000)
    }

    /// Whether data may go: once both SYNs are acknowledged, or before that in answer to data in a SYN (§4.2.2).
    @inline(__always)
    var maySendData: Bool {
        state.isSynchronized || (state == .synReceived && opening.contains(.fastOpen) && !flags.contains(.active))
    }
}

// MARK: - The client

extension TCB {
    /// Puts the cookie, or a request for one, into the options of our first SYN. Returns how many bytes of data go with it (§4.2.1).
    mutating func offerFastOpen(_ options: inout TCPOptions, _ stack: inout Connections) -> Int {
        guard stack.settings[settings].fastOpen else { return 0 }
        let peer = stack.fastOpen.peer(of: tuple) ?? FastOpenPeer()
        guard peer.avoidedUntil <= stack.now else { return 0 }
        opening.insert(.fastOpen)
        options.fastOpenLength = peer.cookieLength
        options.fastOpenCookie = peer.cookie
        // The user timeout can wait, if there is no room for both.
        if options.length > TCPOptions.maximumLength { options.userTimeout = 0 }
        guard peer.cookieLength > 0 else { return 0 }
        let room = Int(min(peer.maximumSegmentSize, stack.limits.mtu - headerLength)) - options.length
        let count = min(snd.end - (initialSend + 1), room)
        if count > 0 { stack.counters.fastOpensOut &+= 1 }
        return max(count, 0)
    }

    /// The SYN-ACK has come: what it says of the SYN's data and cookie.
    mutating func fastOpenIsAnswered(_ segment: Segment, afterLostSYN: Bool, _ stack: inout Connections) {
        takeBackSYNData(&stack)
        guard opening.contains(.fastOpen) else { return }
        var peer = stack.fastOpen.peer(of: tuple) ?? FastOpenPeer()
        let length = segment.options.fastOpenLength
        peer.maximumSegmentSize = peerMSS
        if afterLostSYN, snd.una <= initialSend + 1 {
            // A SYN without it went through: something on the way does not like it.
            peer.failures = min(peer.failures + 1, 12)
            peer.avoidedUntil = stack.now.advanced(byNanoseconds: FastOpenPeer.blackHole(peer.failures))
            stack.counters.fastOpenBlackHoles &+= 1
        } else if length != 255, length > 0 {
            (peer.cookie, peer.cookieLength, peer.failures) = (segment.options.fastOpenCookie, length, 0)
        } else if peer.cookieLength == 0 {
            peer.avoidedUntil = stack.now.advanced(byNanoseconds: FastOpenPeer.refusal)
        } else if snd.una > initialSend + 1 {
            peer.failures = 0
        }
        stack.fastOpen.remember(peer, of: tuple)
    }

    /// Data of the SYN that was not acknowledged with it goes again, as if for the first time: at once, and as the window allows (§4.2.1).
    mutating func takeBackSYNData(_ stack: inout Connections) {
        guard recordHead == SentRecords.none, snd.una < snd.nxt, snd.una > initialSend, !flags.contains(.finSent) else {
            return
        }
        snd.nxt = snd.una
        stack.counters.fastOpensRepeated &+= 1
    }
}
