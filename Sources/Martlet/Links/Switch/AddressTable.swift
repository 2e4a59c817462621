// Where a switch has seen which address: a bounded table that never allocates (IEEE 802.1Q-2018 §8.8, the filtering database).
//
// An address has eight places, one cache line, and is looked for in no others. If they are taken, the one that was heard of the
// longest ago makes way. So a flood of made-up addresses costs the table's memory and nothing else.

public import MartletStack

/// Ports by MAC address, with their age.
@safe public struct AddressTable: ~Copyable {
    // SAFETY: both are allocated here for `mask + 1` lines of eight, and freed in the deinit; a line's number is masked.
    private let keys: UnsafeMutablePointer<UInt64>
    private let seen: UnsafeMutablePointer<UInt32>
    private let mask: Int
    /// How long an address is remembered that is not heard of, in ticks.
    private let ageing: UInt32

    /// Addresses that the table has room for.
    public var capacity: Int { (mask + 1) * 8 }

    /// A table for about `capacity` addresses, rounded up to a power of two.
    ///
    /// - Parameter ageing: ticks of whatever `now` counts.
    public init(capacity: Int, ageing: UInt32) {
        precondition(capacity > 0 && capacity <= 1 << 24, "a table has room for 1 ... 2²⁴ addresses")
        let lines = max(1, (capacity + 7) / 8)
        let rounded = lines == 1 ? 1 : 1 << (Int.bitWidth - (lines - 1).leadingZeroBitCount)
        mask = rounded - 1
        self.ageing = ageing
        let raw = UnsafeMutableRawPointer.allocate(byteCount: rounded * 64, alignment: 64)
        unsafe keys = raw.bindMemory(to: UInt64.self, capacity: rounded * 8)
        unsafe keys.initialize(repeating: 0, count: rounded * 8)
        unsafe seen = .allocate(capacity: rounded * 8)
        unsafe seen.initialize(repeating: 0, count: rounded * 8)
    }

    deinit {
        unsafe UnsafeMutableRawPointer(keys).deallocate()
        unsafe seen.deallocate()
    }

    /// The first place of an address. The multiplier is that of Fibonacci hashing (Knuth, TAOCP 3, §6.4).
    @inline(__always)
    private func firstPlace(_ bits: UInt64) -> Int {
        (Int(truncatingIfNeeded: (bits &* 0x9E37_79B9_7F4A_7C15) &>> 40) & mask) &* 8
    }

    /// The port behind `address`, if it was heard of within the ageing time.
    @inline(__always)
    public func port(of address: MACAddress, now: UInt32) -> Int? { port(ofBits: address.bits, now: now) }

    @inline(__always)
    func port(ofBits bits: UInt64, now: UInt32) -> Int? {
        guard bits != 0 else { return nil }  // an empty place has that
        let first = firstPlace(bits)
        for place in first..<first &+ 8 where unsafe keys[place] &>> 16 == bits {
            let age = unsafe now &- seen[place]
            return unsafe age <= ageing ? Int(keys[place] & 0xFFFF) &- 1 : nil
        }
        return nil
    }

    /// Remembers that `address` is behind `port`. Group addresses and zero are nobody's.
    @inline(__always)
    public mutating func learn(_ address: MACAddress, port: Int, now: UInt32) {
        learn(bits: address.bits, port: port, now: now)
    }

    @inline(__always)
    mutating func learn(bits: UInt64, port: Int, now: UInt32) {
        guard bits & 1 &<< 40 == 0, bits != 0 else { return }
        let key = bits &<< 16 | UInt64(truncatingIfNeeded: port &+ 1)
        let first = firstPlace(bits)
        for place in first..<first &+ 8 where unsafe keys[place] == key {
            if unsafe seen[place] != now { unsafe seen[place] = now }
            return
        }
        insert(bits, key, first, now)
    }

    @inline(never)
    private mutating func insert(_ bits: UInt64, _ key: UInt64, _ first: Int, _ now: UInt32) {
        var chosen = first
        var oldest: UInt32 = 0
        for place in first..<first + 8 {
            if unsafe keys[place] &>> 16 == bits || keys[place] == 0 {
                chosen = place
                break
            }
            let age = unsafe now &- seen[place]
            if age >= oldest { (oldest, chosen) = (age, place) }
        }
        unsafe keys[chosen] = key
        unsafe seen[chosen] = now
    }

    /// Forgets all addresses behind a port: it is gone.
    public mutating func forget(port: Int) {
        for place in 0..<capacity where unsafe keys[place] & 0xFFFF == UInt64(port + 1) { unsafe keys[place] = 0 }
    }

    /// Addresses that are remembered. It looks at every place.
    public func count(now: UInt32) -> Int {
        var count = 0
        for place in 0..<capacity where unsafe keys[place] != 0 && now &- seen[place] <= ageing { count += 1 }
        return count
    }
}
