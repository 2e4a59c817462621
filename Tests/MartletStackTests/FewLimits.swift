// Limits of stacks that tests and fuzz targets make by the thousand.

@testable import MartletStack

extension NetworkLimits {
    /// As little as a test of TCP needs: thousands of stacks are made.
    static var few: NetworkLimits {
        var limits = NetworkLimits()
        limits.routes = 16
        limits.neighbors.entries = 16
        limits.reassembly.datagrams = 2
        limits.reassembly.byteCount = 1 << 16
        limits.paths = 16
        limits.destinations = 16
        return limits
    }
}
