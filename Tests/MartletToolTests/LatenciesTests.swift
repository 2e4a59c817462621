// The histogram against exact figures, and its drawing.

import Testing

@testable import MartletTool

@Suite struct LatenciesTests {
    @Test func `Percentiles are those of what was recorded, within a thousandth`() {
        var latencies = Latencies()
        for microsecond in 1...10_000 as ClosedRange<Int64> { latencies.record(microsecond * 1000) }
        #expect(latencies.count == 10_000)
        for (share, exact) in [(50.0, 5_000_000.0), (90, 9_000_000), (99, 9_900_000), (99.9, 9_990_000)] {
            let percentile = Double(latencies.percentile(share))
            #expect(abs(percentile - exact) <= exact / 1000, "p\(share) is \(percentile)")
        }
        #expect(abs(latencies.max - 10_000_000) <= 10_000)
        #expect(abs(latencies.min - 1000) <= 1)
        #expect(abs(latencies.mean - 5_000_500) <= 5_000)
    }

    @Test func `Everything is zero where nothing was recorded`() {
        let latencies = Latencies()
        #expect(latencies.count == 0)
        #expect([latencies.min, latencies.max, latencies.percentile(50), latencies.percentile(99.9)] == [0, 0, 0, 0])
        #expect(latencies.mean == 0)
    }

    @Test func `A latency is an hour at most and never negative`() {
        var latencies = Latencies()
        latencies.record(-5)
        latencies.record(.max)
        #expect(latencies.count == 2)
        #expect(latencies.percentile(50) == 0)
        #expect(abs(Double(latencies.max) / 3.6e12 - 1) < 0.001)
    }

    @Test func `Latencies of several cores add up`() {
        var (one, other) = (Latencies(), Latencies())
        for _ in 0..<99 { one.record(1000) }
        other.record(1_000_000)
        one.add(other)
        #expect(one.count == 100)
        #expect(one.percentile(99) < 1010)
        #expect(one.percentile(99.9) > 999_000)
    }

    @Test func `Each latency counts once between edges, outliers at the ends`() {
        var latencies = Latencies()
        for latency in [5, 10, 99, 100, 999, 1000, 50_000] as [Int64] { latencies.record(latency) }
        #expect(latencies.counts(between: [10, 100, 1000, 10_000]) == [3, 2, 2])
        #expect(latencies.counts(between: [10]) == [])
    }
}

@Suite struct LatencyChartTests {
    @Test func `The edges surround the least and the greatest latency`() {
        #expect(LatencyChart.edges([10, 22, 47], from: 100, to: 999) == [100, 220, 470, 1000])
        #expect(LatencyChart.edges([10, 22, 47], from: 99, to: 220) == [47, 100, 220, 470])
        #expect(LatencyChart.edges([10], from: 0, to: 5) == [1, 10])
    }

    @Test func `Every latency is in one row, and each percentile is marked at its row`() {
        var latencies = Latencies()
        for _ in 0..<990 { latencies.record(100_000) }
        for _ in 0..<10 { latencies.record(5_000_000) }
        let chart = LatencyChart(latencies)
        #expect(chart.rows.count <= 18)
        #expect(chart.rows.map(\.count).reduce(0, +) == 1000)
        #expect(chart.rows.first?.marks == ["p50", "p99"])
        #expect(chart.rows.last?.marks == ["p99.9"])
    }

    @Test(arguments: [40, 80, 120])
    func `A chart fits the screen`(width: Int) {
        var latencies = Latencies()
        for exponent in 0..<40 as Range<Int64> { latencies.record(1 << exponent) }
        for line in LatencyChart(latencies).lines(width: width) { #expect(line.count <= max(width, 58), "\(line)") }
    }

    @Test func `Nothing has no bar, and almost nothing has one`() {
        #expect(LatencyChart.bar(eighths: 0, of: 0) == "")
        #expect(LatencyChart.bar(eighths: 0, of: 1) == "▏")
        #expect(LatencyChart.bar(eighths: 12, of: 1) == "█▌")
        #expect(LatencyChart(Latencies()).lines().isEmpty)
    }
}
