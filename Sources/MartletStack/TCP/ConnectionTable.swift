// The TCBs of a stack: a table allocated once, whose slots are named with a generation, and a free list.

/// Names a connection of a stack. A name outlives its connection, and then names nothing.
public struct ConnectionID: BitwiseCopyable, Hashable, Sendable {
    let slot: UInt32
    let generation: UInt32

    /// A number below ``TCPLimits/connections`` that no other connection has at the same time: the place of what a program keeps
    /// for this one, in a table of its own.
    public var index: Int { Int(slot) }
}

struct ConnectionTable: ~Copyable {
    private var table: PlainTable<TCB>
    /// The free list goes through `nextAccepted`: who is free does not wait to be accepted.
    private var firstFree: UInt32 = .max
    private(set) var touched = 0
    private(set) var count = 0

    init(capacity: Int) {
        table = PlainTable(capacity: capacity)
    }

    var capacity: Int { table.count }
    var isFull: Bool { count == table.count }

    subscript(slot: UInt32) -> TCB {
        _read { yield table[Int(slot)] }
        _modify { yield &table[Int(slot)] }
    }

    /// Takes a slot, with a generation that it has not had before. Nil when all are taken.
    mutating func take() -> UInt32? {
        let slot: UInt32
        var generation: UInt32 = 1
        if firstFree != .max {
            slot = firstFree
            firstFree = table[Int(slot)].nextAccepted
            generation = table[Int(slot)].generation &+ 1
        } else {
            guard touched < table.count else { return nil }
            slot = UInt32(touched)
            touched += 1
        }
        table[Int(slot)] = TCB()
        table[Int(slot)].slot = slot
        table[Int(slot)].generation = generation
        count += 1
        return slot
    }

    mutating func release(_ slot: UInt32) {
        table[Int(slot)].generation &+= 1
        table[Int(slot)].state = .closed
        table[Int(slot)].nextAccepted = firstFree
        firstFree = slot
        count -= 1
    }

    func id(of slot: UInt32) -> ConnectionID { ConnectionID(slot: slot, generation: table[Int(slot)].generation) }

    /// The slot that an id names, if its connection is still there.
    func slot(of id: ConnectionID) -> UInt32? {
        id.slot < UInt32(touched) && table[Int(id.slot)].generation == id.generation ? id.slot : nil
    }
}
