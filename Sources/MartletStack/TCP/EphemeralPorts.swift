// Which local port an outgoing connection gets: RFC 6056 §3.3.4, the double-hash algorithm.
//
// To one remote end the ports follow one another, so that none is used again soon; to another end they start elsewhere.

/// The ports of a stack, `first ... last`, and the counters of those who ask for them.
struct EphemeralPorts: BitwiseCopyable, Sendable {
    /// RFC 6056's table[]. More of them keep more remote ends from seeing each other's connections counted.
    private var counters = InlineArray<64, UInt16>(repeating: 0)
    /// The search of the last who asked: the next asks for the same remote end, mostly.
    private var latest: (tuple: FourTuple, offset: UInt32, counter: UInt32)?
    let first: UInt16
    let last: UInt16

    /// RFC 6056 §3.2: 1024 ... 65535 at most. The default is what IANA sets apart.
    ///
    /// - Precondition: `first` is not above `last`.
    init(first: UInt16 = 49_152, last: UInt16 = 65_535) {
        precondition(first <= last, "a range of ports is not empty")
        self.first = first
        self.last = last
    }

    /// The next port for a connection to `tuple`'s remote end, whose local port is not looked at; `nil` if none is free.
    ///
    /// Asks `isFree` once for each port at most.
    mutating func next(
        for tuple: FourTuple, hash: ConnectionHash, where isFree: (UInt16) -> Bool
    ) -> UInt16? {
        let count = UInt64(last - first) + 1
        let search = search(for: tuple, hash)
        let offset = UInt64(search.offset) % count
        let index = Int(search.counter & 63)
        for _ in 0..<count {
            let port = first + UInt16((offset + UInt64(counters[index])) % count)
            // Kept below the count, where it would wrap at 2¹⁶ and skip ports.
            counters[index] = UInt16((UInt64(counters[index]) + 1) % count)
            if isFree(port) { return port }
        }
        return nil
    }

    private mutating func search(for tuple: FourTuple, _ hash: ConnectionHash) -> (offset: UInt32, counter: UInt32) {
        if let latest, latest.tuple == tuple { return (latest.offset, latest.counter) }
        let search = hash.portSearch(tuple)
        latest = (tuple, search.offset, search.counter)
        return search
    }
}
