// Looks at all connections of a stack, which is connected with itself.

import Testing

@testable import MartletStack

@Suite struct PopulationTests {
    private static func names(_ host: borrowing Host) -> [ConnectionID] {
        var (names, place) = ([ConnectionID](), 0)
        while let id = host.stack.connection(from: place) {
            names.append(id)
            place = id.index + 1
        }
        return names
    }

    @Test func `Every connection is named once, and counted in its state`() throws {
        var host = Host("192.0.2.1/24")
        let listener = try host.stack.listen(on: 7)
        var connections: [ConnectionID] = []
        for _ in 0..<3 { connections.append(try host.stack.connect(to: IPAddress("192.0.2.1")!, port: 7)) }
        // Nobody is there.
        connections.append(try host.stack.connect(to: IPAddress("192.0.2.9")!, port: 7))
        host.wait(.milliseconds(100))
        while let accepted = host.stack.accept(listener) { connections.append(accepted) }
        #expect(connections.count == 7)
        var population = host.stack.population
        #expect(population[.established] == 6 && population[.synSent] == 1 && population[.listen] == 1)
        var names = Self.names(host)
        #expect(names.count == 7 && Set(names) == Set(connections))
        #expect(names.map(\.index) == names.map(\.index).sorted())

        host.stack.finish(connections[0])
        host.wait(.milliseconds(100))
        population = host.stack.population
        #expect(population[.established] == 4 && population[.finWait2] == 1 && population[.closeWait] == 1)

        for connection in connections { host.stack.finish(connection) }
        host.stack.abort(connections[3])
        host.wait(.milliseconds(100))
        for connection in connections { host.stack.release(connection) }
        population = host.stack.population
        // Who has finished first waits, and both who have finished at once; of the others nothing is left.
        #expect(population[.timeWait] == 5 && population[.established] == 0 && population[.synSent] == 0)
        names = Self.names(host)
        #expect(names.isEmpty)
        host.stack.close(listener)
        host.wait(.seconds(300))
        population = host.stack.population
        for state in TCPState.allCases { #expect(population[state] == 0, "\(state)") }
    }
}
