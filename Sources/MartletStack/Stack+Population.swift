// Who is there: looks at all connections of a stack, for programs that show them. Nothing here is on a packet's way.

extension Stack {
    /// The connection with the lowest ``ConnectionID/index`` that is not below `place`; nil if there is none. Those that have ended
    /// and wait to be released do not count. With `place` one above the last one's index, all are gone through.
    ///
    /// O(places in between).
    public func connection(from place: Int) -> ConnectionID? { tcp.connection(from: place) }

    /// How many connections are in each state. Listeners count as LISTEN; handshakes that have not been completed as SYN-RECEIVED, also
    /// those that take no connection's place; and so do those in TIME-WAIT.
    ///
    /// O(connections).
    public var population: TCPPopulation { tcp.population }
}

/// Numbers of connections by state.
public struct TCPPopulation: BitwiseCopyable, Sendable {
    private var counts = InlineArray<12, Int>(repeating: 0)

    /// Connections in a state.
    public internal(set) subscript(state: TCPState) -> Int {
        get { counts[Int(state.rawValue)] }
        set { counts[Int(state.rawValue)] = newValue }
    }
}

extension TCP {
    func connection(from place: Int) -> ConnectionID? {
        var slot = UInt32(clamping: place)
        while slot < UInt32(table.touched) {
            if table[slot].state != .closed { return table.id(of: slot) }
            slot += 1
        }
        return nil
    }

    var population: TCPPopulation {
        var population = TCPPopulation()
        for slot in 0..<UInt32(table.touched) where table[slot].state != .closed {
            population[table[slot].state] += 1
        }
        population[.listen] = listeners.count
        population[.synReceived] += synQueue.count
        population[.timeWait] += timeWaits.count
        return population
    }
}
