// The hosts of MartletSimulation as tests like them: limits of TCP alone, and a run that fails is an issue of the test.

import MartletSimulation
import Testing

@testable import MartletStack

typealias Hosts = VirtualHosts

extension VirtualHosts {
    /// Two hosts, 0 and 1, with a link each way: `there` from 0 to 1. The links do what the limits leave to them.
    init(
        _ there: LinkConditions, back: LinkConditions? = nil, limits: TCPLimits = TCPLimits(), seed: UInt64,
        frameCapacity: Int = 2048
    ) {
        self.init(
            there: there, back: back, limits: StackLimits(tcp: limits), seed: seed, frameCapacity: frameCapacity
        ) {
            ($0.completesChecksums, $0.cutsSegments) = (limits.checksumPartial, true)
        }
    }

    /// Steps until `isDone`, and fails the test if that does not come.
    @discardableResult
    mutating func run(
        for patience: Duration, stepLimit: Int = 10_000_000, sourceLocation: SourceLocation = #_sourceLocation,
        until isDone: (inout Hosts) -> Bool
    ) -> Bool {
        do throws(SimulationFailure) {
            try drive(for: patience, stepLimit: stepLimit, until: isDone)
            return true
        } catch {
            Issue.record("\(error)", sourceLocation: sourceLocation)
            return false
        }
    }

    /// Fails the test unless `condition` holds: with the seed, and a capture of what went last.
    mutating func check(
        _ condition: Bool, _ message: @autoclosure () -> String, sourceLocation: SourceLocation = #_sourceLocation
    ) {
        if !condition { Issue.record("\(failure(message()))", sourceLocation: sourceLocation) }
    }
}
