// Latencies in a histogram of three significant digits, from a nanosecond to an hour: HdrHistogram, which everybody who
// measures tails compares with. Recording one costs 4 ns.

import Histogram

struct Latencies: Sendable {
    private var histogram = Histogram<UInt64>(
        lowestDiscernibleValue: 1, highestTrackableValue: 3_600_000_000_000, numberOfSignificantValueDigits: .three)

    var count: Int { Int(histogram.totalCount) }
    /// Nanoseconds, and 0 where nothing was recorded.
    var min: Int64 { count == 0 ? 0 : Int64(histogram.min) }
    var max: Int64 { Int64(histogram.maxRecorded) }
    var mean: Double { count == 0 ? 0 : histogram.mean }

    /// Records a latency in nanoseconds. What is longer than an hour counts as an hour.
    mutating func record(_ nanoseconds: Int64) {
        histogram.record(UInt64(Swift.min(Swift.max(nanoseconds, 0), 3_600_000_000_000)))
    }

    mutating func add(_ other: Latencies) { histogram.add(other.histogram) }

    /// The latency in nanoseconds that `share` percent of the requests did not exceed, within 0.1 %.
    func percentile(_ share: Double) -> Int64 { count == 0 ? 0 : Int64(histogram.valueAtPercentile(share)) }

    /// How many latencies lie in each interval between neighbouring `edges`, which ascend. What is below the first edge
    /// counts for the first interval, and what is from the last one on for the last.
    func counts(between edges: [Int64]) -> [Int] {
        guard edges.count > 1 else { return [] }
        var counts = Array(repeating: 0, count: edges.count - 1)
        var interval = 0
        for bucket in histogram.recordedValues() where bucket.count > 0 {
            while interval < counts.count - 1, Int64(bucket.value) >= edges[interval + 1] { interval += 1 }
            counts[interval] += Int(bucket.count)
        }
        return counts
    }
}
