// Numbers that a stranger must not guess and that a connection must not forget: initial sequence numbers (RFC 6528),
// ephemeral ports (RFC 6056 §3.3.4), timestamp offsets (RFC 7323 §5.4), and places in the connection table.
//
// All are F(connection, secret), with SipHash as F. One secret serves them all, because each use hashes its own name,
// too. Must not know where the secret comes from: a core reads 128 random bits when it starts.

/// The two ends of a connection, as this host sees them.
struct FourTuple: BitwiseCopyable, Hashable, Sendable {
    var localAddress: IPAddress
    var localPort: UInt16
    var remoteAddress: IPAddress
    var remotePort: UInt16

    /// Whether the remote address can be that of one host: it is no group, not everybody, and not nobody. What the interface
    /// calls broadcast is for the IP layer to know.
    var isRemoteOneHost: Bool {
        switch remoteAddress {
        case .v4(let address): !address.isMulticast && address != .any && address != .broadcast
        case .v6(let address): !address.isMulticast && address != .any
        }
    }
}

/// The keyed hashes of a stack.
struct ConnectionHash: BitwiseCopyable, Sendable {
    private let secret: SipHash.Key

    private enum Purpose: UInt8 {
        case sequence = 1
        case portOffset, portCounter, timestamp, table
    }

    /// `secret` is 128 random bits, from a source that nobody can predict.
    init(secret: SipHash.Key) {
        self.secret = secret
    }

    /// The initial sequence number of a connection that opens at `now`.
    ///
    /// RFC 6528 §3: M + F(…), where M counts every 4 µs. So a connection between the same ends gets a number above those
    /// of the one before, unless that sent faster than 250 kB/s all along, and no number tells of another.
    func initialSequence(_ tuple: FourTuple, at now: Instant) -> SequenceNumber {
        let timer = UInt32(truncatingIfNeeded: now.nanoseconds / 4_000)
        return SequenceNumber(timer &+ UInt32(truncatingIfNeeded: hash(tuple, .sequence)))
    }

    /// What to add to the clock of a connection's timestamps, so that they tell neither the host's uptime nor which
    /// connections are of one host. The same for all connections between the same ends, so that it never goes back.
    func timestampOffset(_ tuple: FourTuple) -> UInt32 {
        UInt32(truncatingIfNeeded: hash(tuple, .timestamp))
    }

    /// The connection's place in a table, before it is cut to the table's size.
    ///
    /// SipHash-1-3: nobody sees its value, it has only to keep strangers from choosing connections that collide, and
    /// it is taken for every segment.
    func tableHash(_ tuple: FourTuple) -> UInt64 {
        var state = SipHash(key: secret, rounds: .few)
        return Self.absorb(tuple, .table, ports: true, into: &state)
    }

    /// F of RFC 6056: where the search for a local port starts. Neither depends on the local port, which is to be found.
    func portOffset(_ tuple: FourTuple) -> UInt64 { hash(tuple, .portOffset, localPort: false) }

    /// G of RFC 6056: which counter that search uses.
    func portCounter(_ tuple: FourTuple) -> UInt64 { hash(tuple, .portCounter, localPort: false) }

    private func hash(_ tuple: FourTuple, _ purpose: Purpose, localPort: Bool = true) -> UInt64 {
        var state = SipHash(key: secret, rounds: .many)
        return Self.absorb(tuple, purpose, ports: localPort, into: &state)
    }

    /// The number of bytes, which SipHash hashes last, keeps addresses of the two versions apart.
    private static func absorb(_ tuple: FourTuple, _ purpose: Purpose, ports localPort: Bool, into state: inout SipHash)
        -> UInt64
    {
        let count = absorb(tuple.localAddress, into: &state) + absorb(tuple.remoteAddress, into: &state)
        let ports = UInt64(localPort ? tuple.localPort : 0) << 16 | UInt64(tuple.remotePort)
        return state.finish(ports << 8 | UInt64(purpose.rawValue), byteCount: count + 5)
    }

    private static func absorb(_ address: IPAddress, into state: inout SipHash) -> Int {
        switch address {
        case .v4(let address):
            state.absorb(UInt64(address.bits))
            return 8
        case .v6(let address):
            state.absorb(address.high)
            state.absorb(address.low)
            return 16
        }
    }
}
