// What few sockets have beside their state: a listener its queue, a datagram socket its datagrams. Found by the socket's slot in two
// steps and without a hash, as every accepted connection asks for its listener several times.

/// Values of some slots. Each slot costs four bytes up to the highest that has had a value.
struct SlotTable<Value> {
    /// By slot: the place of its value, or -1.
    private var places: [Int32] = []
    private var values: [Value?] = []
    private var free: [Int32] = []

    @inline(__always)
    private func place(of slot: Int32) -> Int? {
        guard slot >= 0, Int(slot) < places.count else { return nil }
        let place = places[Int(slot)]
        return place >= 0 ? Int(place) : nil
    }

    /// The value of a slot. Setting nil removes it.
    subscript(slot: Int32) -> Value? {
        @inline(__always) get { place(of: slot).flatMap { values[$0] } }
        @inline(__always) _modify {
            if let place = place(of: slot) {
                yield &values[place]
                if values[place] == nil { giveUp(place, of: slot) }
            } else {
                var value: Value?
                yield &value
                if let value { add(value, slot) }
            }
        }
    }

    private mutating func add(_ value: Value, _ slot: Int32) {
        precondition(slot >= 0, "a socket without a slot")
        while places.count <= Int(slot) { places.append(-1) }
        if let place = free.popLast() {
            values[Int(place)] = value
            places[Int(slot)] = place
        } else {
            places[Int(slot)] = Int32(values.count)
            values.append(value)
        }
    }

    private mutating func giveUp(_ place: Int, of slot: Int32) {
        places[Int(slot)] = -1
        free.append(Int32(place))
    }

    var isEmpty: Bool { values.count == free.count }

    /// The slots that have values, in order.
    var slots: [Int32] { places.indices.lazy.filter { places[$0] >= 0 }.map { Int32($0) } }

    /// All values, in no order.
    var all: some Sequence<Value> { values.lazy.compactMap { $0 } }
}

extension SlotTable {
    /// Removes and returns a slot's value.
    mutating func remove(_ slot: Int32) -> Value? {
        if isEmpty { return nil }
        let value = self[slot]
        if value != nil { self[slot] = nil }
        return value
    }
}
