// Fragments become datagrams again: RFC 791 §3.2, RFC 8200 §4.5 and RFC 5722, with the bounds of RFC 1858 and RFC 3128.
//
// RFC 815 keeps the holes of a datagram. Here no byte may come twice (an overlap discards the whole datagram, RFC 5722, and for
// IPv4 too, as Linux does since 4.19, because overlaps serve attacks only), so a datagram is whole when the last fragment is
// there and as many bytes have come as it says there are. What is kept of fragments are their ranges, in order:
//
//     0        1480      2960      4440 = end, from the fragment without MF
//     ├────────┤         ├─────────┤        1480 bytes are missing
//
// A datagram's bytes lie in one run of memory, which grows with the last byte seen, so that the whole is one span. Somebody who
// sends last bytes only can make it grow: so a source has a quarter of the memory at most, and the oldest datagram makes
// room for the newest. Must not know headers: what it needs of them are arguments.

/// A bounded table of incomplete datagrams. Allocates in `init` only.
struct Reassembly: ~Copyable {
    struct Datagram: BitwiseCopyable {
        var key = FragmentKey(source: .v4(.any), destination: .v4(.any), identification: 0, transportProtocol: 0)
        var hash: UInt64 = 0
        var memory = ByteRing.none
        var received = 0
        /// Where it ends, once the last fragment has said so.
        var end: Int?
        var fragmentCount = 0
        var nextHeader: UInt8 = 0
        var hasCE = false
        var hasNotECT = false
        var isDiscarded = false
        var isInUse = false
        /// Whole, and being read: not in the index, and without a timer.
        var isWhole = false
        var previous: UInt32 = .max
        var next: UInt32 = .max
    }

    struct Range: BitwiseCopyable {
        var start: UInt16 = 0
        var end: UInt16 = 0
    }

    let limits: ReassemblyLimits
    private let key: SipHash.Key
    private var index: HashIndex
    private var datagrams: [Datagram]
    /// `limits.fragments` for each datagram, in order.
    private var ranges: [Range]
    private var free: [Int32]
    private(set) var memory: RingMemory
    private var timers: TimerWheel
    /// Incomplete datagrams in the order in which they began.
    private var oldest: UInt32 = .max
    private var newest: UInt32 = .max

    private(set) var counters = FragmentCounters()

    init(limits: ReassemblyLimits = ReassemblyLimits(), now: Instant, using random: inout some RandomNumberGenerator) {
        precondition(limits.datagrams > 0 && limits.fragments > 1 && limits.byteCount >= 1 << 16, "no room")
        self.limits = limits
        key = SipHash.Key(using: &random)
        index = HashIndex(capacity: limits.datagrams)
        datagrams = Array(repeating: Datagram(), count: limits.datagrams)
        ranges = Array(repeating: Range(), count: limits.datagrams * limits.fragments)
        free = (0..<limits.datagrams).reversed().map(Int32.init)
        memory = RingMemory(byteCount: limits.byteCount)
        timers = TimerWheel(capacity: limits.datagrams, now: now)
    }

    /// Datagrams in the table.
    var count: Int { limits.datagrams - free.count }

    /// Bytes of memory taken.
    var bytesTaken: Int { memory.bytesTaken }

    // MARK: Receiving

    /// A fragment has come. `bytes` are what follows the IPv4 header, or the Fragment header of IPv6.
    mutating func receive(_ fragment: Fragment, of key: FragmentKey, bytes: RawSpan, at now: Instant)
        -> ReassemblyOutcome
    {
        if let reason = Self.flaw(of: fragment, bytes: bytes, isIPv4: key.isIPv4) { return drop(reason) }
        if fragment.offset == 0 && !fragment.hasMore { return .atomic }
        let slot: Int
        if let found = find(key) {
            slot = found
        } else if let new = begin(key, at: now) {
            slot = new
        } else {
            return drop(.noMemory)
        }
        if datagrams[slot].isDiscarded { return drop(.afterOverlap) }
        let start = fragment.offset
        let end = fragment.offset + bytes.byteCount
        let position = firstRange(of: slot, endingAfter: start)
        if let reason = conflict(slot, start..<end, isLast: !fragment.hasMore, position: position) {
            if reason == .duplicate { return drop(.duplicate) }
            discard(slot)
            return drop(reason)
        }
        datagrams[slot].hasCE = datagrams[slot].hasCE || fragment.isCongestionExperienced
        datagrams[slot].hasNotECT = datagrams[slot].hasNotECT || !fragment.isECNCapable
        if datagrams[slot].hasCE && datagrams[slot].hasNotECT {
            discard(slot)
            return drop(.mixedECN)
        }
        guard makeRoom(slot, for: max(end, datagrams[slot].end ?? 0)) else {
            remove(slot)
            return drop(.noMemory)
        }
        memory.write(bytes, to: datagrams[slot].memory, at: UInt32(start))
        insert(start..<end, of: slot, at: position)
        if !fragment.hasMore { datagrams[slot].end = end }
        if start == 0 { datagrams[slot].nextHeader = fragment.nextHeader }
        guard datagrams[slot].received == datagrams[slot].end else { return .kept }
        return .complete(finish(slot))
    }

    /// Where in ``memory`` the bytes of a whole datagram are, from position 0 on, until it is given back.
    func ring(of datagram: ReassembledDatagram) -> ByteRing {
        precondition(datagrams[datagram.slot].isWhole, "a datagram that was given back")
        return datagrams[datagram.slot].memory
    }

    /// Gives a whole datagram's memory back.
    mutating func release(_ datagram: ReassembledDatagram) {
        precondition(datagrams[datagram.slot].isWhole, "a datagram that was given back")
        giveBack(datagram.slot)
    }

    // MARK: Time

    /// Moves time forward. Then ``nextTimeout()`` is to be called until it has no more.
    mutating func advance(to now: Instant) { timers.advance(to: now) }

    /// A datagram that will not be whole any more; `nil` if there is none. One that was discarded says nothing (RFC 5722).
    mutating func nextTimeout() -> ReassemblyTimeout? {
        while let timer = timers.popExpired() {
            let datagram = datagrams[Int(timer)]
            let hadFirst = datagram.fragmentCount > 0 && ranges[Int(timer) * limits.fragments].start == 0
            // All but the last fragment are a multiple of eight bytes long.
            let firstBytes: UInt64 =
                hadFirst && !datagram.isDiscarded ? memory.run(of: datagram.memory, at: 0, count: 8).number(at: 0) : 0
            remove(Int(timer))
            if datagram.isDiscarded { continue }
            counters.timedOut &+= 1
            return ReassemblyTimeout(
                key: datagram.key, hadFirst: hadFirst, nextHeader: datagram.nextHeader, firstBytes: firstBytes)
        }
        return nil
    }

    /// An instant to sleep until; `nil` if nothing is being reassembled.
    var nextDeadline: Instant? { timers.nextDeadline }

    // MARK: Rules

    /// What is wrong with a fragment whatever else has come.
    private static func flaw(of fragment: Fragment, bytes: RawSpan, isIPv4: Bool) -> FragmentDrop? {
        let count = bytes.byteCount
        if count == 0 { return .empty }
        if fragment.offset < 0 || fragment.offset & 7 != 0 { return .misaligned }
        if fragment.hasMore && count & 7 != 0 { return .misaligned }
        // The length field of the datagram is 16 bits wide; that of IPv4 counts 20 bytes of header at least.
        if fragment.offset + count > (isIPv4 ? 65_515 : 65_535) { return .tooLong }
        let tcp: UInt8 = 6
        if fragment.offset == 0 {
            // RFC 1858 §3.2.1 and RFC 7112 §5: who filters must see ports and flags in the first fragment.
            let header =
                switch fragment.nextHeader {
                case tcp: 20
                case 17, 1, 58, 33, 136: 8  // UDP, ICMP, ICMPv6, DCCP, UDP-Lite
                case 132: 12  // SCTP
                default: 1
                }
            if fragment.hasMore && count < header { return .tiny }
        } else if isIPv4 && fragment.offset == 8 && fragment.nextHeader == tcp {
            return .overTCPFlags
        }
        return nil
    }

    /// What is wrong with a fragment beside those that have come.
    private func conflict(_ slot: Int, _ new: Swift.Range<Int>, isLast: Bool, position: Int) -> FragmentDrop? {
        let datagram = datagrams[slot]
        let base = slot * limits.fragments
        if position < datagram.fragmentCount {
            let range = ranges[base + position]
            // A duplicate says the same about the end as the first copy did.
            if Int(range.start) == new.lowerBound && Int(range.end) == new.upperBound {
                return isLast == (datagram.end == new.upperBound) ? .duplicate : .overlap
            }
            if Int(range.start) < new.upperBound { return .overlap }
        }
        if let end = datagram.end, isLast || new.upperBound > end { return .overlap }
        if isLast, datagram.fragmentCount > 0, Int(ranges[base + datagram.fragmentCount - 1].end) > new.upperBound {
            return .overlap
        }
        return datagram.fragmentCount == limits.fragments ? .tooManyFragments : nil
    }

    // MARK: Ranges

    /// The first range that ends after `start`. Fragments mostly come in order, so it is looked for from the end.
    private func firstRange(of slot: Int, endingAfter start: Int) -> Int {
        let base = slot * limits.fragments
        var position = datagrams[slot].fragmentCount
        while position > 0 && Int(ranges[base + position - 1].end) > start { position -= 1 }
        return position
    }

    private mutating func insert(_ new: Swift.Range<Int>, of slot: Int, at position: Int) {
        let base = slot * limits.fragments
        var moved = datagrams[slot].fragmentCount
        while moved > position {
            ranges[base + moved] = ranges[base + moved - 1]
            moved -= 1
        }
        ranges[base + position] = Range(start: UInt16(new.lowerBound), end: UInt16(new.upperBound))
        datagrams[slot].fragmentCount += 1
        datagrams[slot].received += new.count
    }

    // MARK: Datagrams

    private func find(_ key: FragmentKey) -> Int? {
        var probe = index.probe(hash(key))
        while let slot = index.next(&probe) {
            if datagrams[slot].key == key { return slot }
        }
        return nil
    }

    private func hash(_ key: FragmentKey) -> UInt64 {
        var hash = KeyedHash(key: self.key)
        hash.absorb(key.source)
        hash.absorb(key.destination)
        hash.absorb(UInt64(key.transportProtocol) << 32 | UInt64(key.identification))
        return hash.finish()
    }

    private mutating func begin(_ key: FragmentKey, at now: Instant) -> Int? {
        if free.isEmpty { _ = evictOldest(but: nil) }
        guard let slot = free.popLast().map(Int.init) else { return nil }
        var datagram = Datagram()
        (datagram.key, datagram.hash, datagram.isInUse) = (key, hash(key), true)
        datagram.previous = newest
        datagrams[slot] = datagram
        if newest == .max { oldest = UInt32(slot) } else { datagrams[Int(newest)].next = UInt32(slot) }
        newest = UInt32(slot)
        index.insert(slot, hash: datagram.hash)
        timers.arm(Int32(slot), at: now + (key.isIPv4 ? limits.timeout4 : limits.timeout6))
        return slot
    }

    /// Makes the memory of a datagram hold `byteCount` bytes; `false` if nothing can be given up for it.
    private mutating func makeRoom(_ slot: Int, for byteCount: Int) -> Bool {
        let old = datagrams[slot].memory
        guard byteCount > old.capacity else { return true }
        guard hasShare(slot, for: byteCount) else { return false }
        var new = memory.take(atLeast: byteCount)
        while new == nil {
            guard evictOldest(but: slot) else { return false }
            new = memory.take(atLeast: byteCount)
        }
        guard let new else { return false }
        // The old memory is copied whole: a ring's places are the same in a longer one as long as it does not wrap.
        memory.copy(from: old, to: new, at: 0, count: old.capacity)
        memory.release(old)
        datagrams[slot].memory = new
        return true
    }

    /// Whether its source would have a quarter of the memory at most, or a single datagram if that is more. O(datagrams), but
    /// asked at most six times for one of them.
    private func hasShare(_ slot: Int, for byteCount: Int) -> Bool {
        let source = datagrams[slot].key.source
        var taken = byteCount
        var position = oldest
        while position != .max {
            let datagram = datagrams[Int(position)]
            if Int(position) != slot && datagram.key.source == source { taken += datagram.memory.capacity }
            position = datagram.next
        }
        return taken <= max(limits.byteCount / 4, 1 << 16)
    }

    private mutating func evictOldest(but kept: Int?) -> Bool {
        var slot = oldest
        if let kept, Int(slot) == kept, slot != .max { slot = datagrams[kept].next }
        guard slot != .max else { return false }
        remove(Int(slot))
        counters.evicted &+= 1
        return true
    }

    /// Its memory goes, but it stays in the table until its time is over, so that fragments still to come are not taken for
    /// a new datagram (RFC 5722 §4).
    private mutating func discard(_ slot: Int) {
        memory.release(datagrams[slot].memory)
        datagrams[slot].memory = .none
        datagrams[slot].isDiscarded = true
    }

    private mutating func finish(_ slot: Int) -> ReassembledDatagram {
        leave(slot)
        datagrams[slot].isWhole = true
        counters.completed &+= 1
        let datagram = datagrams[slot]
        return ReassembledDatagram(
            slot: slot, byteCount: datagram.received, nextHeader: datagram.nextHeader,
            isCongestionExperienced: datagram.hasCE)
    }

    private mutating func remove(_ slot: Int) {
        leave(slot)
        giveBack(slot)
    }

    /// Takes a datagram out of the index, the order and the timers.
    private mutating func leave(_ slot: Int) {
        let (previous, next) = (datagrams[slot].previous, datagrams[slot].next)
        if previous == .max { oldest = next } else { datagrams[Int(previous)].next = next }
        if next == .max { newest = previous } else { datagrams[Int(next)].previous = previous }
        index.remove(slot, hash: datagrams[slot].hash)
        timers.cancel(Int32(slot))
    }

    private mutating func giveBack(_ slot: Int) {
        memory.release(datagrams[slot].memory)
        datagrams[slot] = Datagram()
        free.append(Int32(slot))
    }

    private mutating func drop(_ reason: FragmentDrop) -> ReassemblyOutcome {
        counters[reason] &+= 1
        return .dropped(reason)
    }
}
