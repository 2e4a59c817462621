// Numbers that a stranger must not guess and that a connection must not forget: initial sequence numbers (RFC 6528),
// ephemeral ports (RFC 6056 §3.3.4), timestamp offsets (RFC 7323 §5.4), and places in the connection table.
//
// All are F(connection, secret), with SipHash as F, but for the places, which nobody sees. One secret serves them all, because
// each use hashes its own name, too. Must not know where the secret comes from: a core reads 128 random bits when it starts.

/// The keyed hashes of a stack.
struct ConnectionHash: BitwiseCopyable, Sendable {
    private let secret: SipHash.Key
    private let table: ProductHash

    private enum Purpose: UInt8 {
        case numbers = 1
        case ports
    }

    /// `secret` is 128 random bits, from a source that nobody can predict.
    init(secret: SipHash.Key) {
        self.secret = secret
        table = ProductHash(secret: secret)
    }

    /// The initial sequence number of a connection that opens at `now`.
    ///
    /// RFC 6528 §3: M + F(…), where M counts every 4 µs. So a connection between the same ends gets a number above those
    /// of the one before, unless that sent faster than 250 kB/s all along, and no number tells of another.
    func initialSequence(_ tuple: FourTuple, at now: Instant) -> SequenceNumber {
        numbers(tuple, at: now).sequence
    }

    /// ``initialSequence(_:at:)`` and ``timestampOffset(_:)`` of one hash, of which each is a half.
    func numbers(_ tuple: FourTuple, at now: Instant) -> (sequence: SequenceNumber, timestampOffset: UInt32) {
        let timer = UInt32(truncatingIfNeeded: now.nanoseconds / 4_000)
        let hash = hash(tuple, .numbers)
        return (
            SequenceNumber(timer &+ UInt32(truncatingIfNeeded: hash)), UInt32(truncatingIfNeeded: hash >> 32)
        )
    }

    /// What to add to the clock of a connection's timestamps, so that they tell neither the host's uptime nor which
    /// connections are of one host. The same for all connections between the same ends, so that it never goes back.
    func timestampOffset(_ tuple: FourTuple) -> UInt32 {
        UInt32(truncatingIfNeeded: hash(tuple, .numbers) >> 32)
    }

    /// The connection's place in a table, before it is cut to the table's size.
    ///
    /// Nobody sees its value, it has only to keep strangers from choosing connections that collide, and it is taken for nearly
    /// every segment.
    @inline(__always)
    func tableHash(_ tuple: FourTuple) -> UInt64 { table(tuple) }

    /// F and G of RFC 6056: where the search for a local port starts, and which counter it uses. Each is a half of one
    /// hash, and neither depends on the local port, which is to be found.
    func portSearch(_ tuple: FourTuple) -> (offset: UInt32, counter: UInt32) {
        let hash = hash(tuple, .ports, localPort: false)
        return (UInt32(truncatingIfNeeded: hash), UInt32(truncatingIfNeeded: hash >> 32))
    }

    /// Two IPv4 addresses are one word. The number of bytes, which SipHash hashes last, keeps the two versions apart.
    private func hash(_ tuple: FourTuple, _ purpose: Purpose, localPort: Bool = true) -> UInt64 {
        var state = SipHash(key: secret)
        let ports = UInt64(localPort ? tuple.localPort : 0) << 16 | UInt64(tuple.remotePort)
        let last = ports << 8 | UInt64(purpose.rawValue)
        if tuple.isIPv4 {
            state.absorb(tuple.local.low << 32 | tuple.remote.low & 0xFFFF_FFFF)
            return state.finish(last, byteCount: 8 + 5)
        }
        state.absorb(tuple.local.high)
        state.absorb(tuple.local.low)
        state.absorb(tuple.remote.high)
        state.absorb(tuple.remote.low)
        return state.finish(last, byteCount: 32 + 5)
    }
}
