// Where the frames of a burst go, found out for all of them before any is moved: the loop touches headers and the table and
// nothing else, so that the processor works at several frames at once while it waits for the memory of the first.

internal import MartletStack

/// Where a frame goes: the number of a port, or one of these.
typealias Way = UInt32

extension Way {
    /// To everybody, or to an address that nobody is known to have.
    static let everybody = Way.max
    /// It is too short to have addresses.
    static let nowhere = Way.max - 1
}

extension AddressTable {
    /// Learns who is behind `port` from the sources in `burst`, and writes down where each frame goes, in their order.
    mutating func route(_ burst: inout Burst, from port: Int, now: UInt32, into ways: inout SwitchTable<Way>) {
        // SAFETY: a burst's frames lie within its arena, and fourteen bytes are read of those that have so many.
        let (arena, capacity) = (unsafe burst.arena, burst.frameCapacity)
        unsafe burst.withDescriptors { frames in
            for index in 0..<frames.count {
                let frame = unsafe frames[index]
                guard frame.length >= 14 else {
                    ways[index] = .nowhere
                    continue
                }
                let header = unsafe arena + (Int(frame.slot) &* capacity &+ Int(frame.start))
                let first = unsafe UInt64(bigEndian: header.loadUnaligned(as: UInt64.self))
                let second = unsafe UInt64(bigEndian: header.loadUnaligned(fromByteOffset: 6, as: UInt64.self))
                let destination = first &>> 16
                learn(bits: second &>> 16, port: port, now: now)
                var way = Way.everybody
                if destination & 1 &<< 40 == 0, let to = self.port(ofBits: destination, now: now) {
                    way = Way(truncatingIfNeeded: to)
                }
                ways[index] = way
            }
        }
    }
}
