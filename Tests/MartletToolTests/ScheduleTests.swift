// The open loop's schedule: plain arithmetic, no clock.

import Testing

@testable import MartletTool

@Suite struct ScheduleTests {
    @Test func `Requests are spread evenly over time and over the connections`() {
        let schedule = Schedule(start: 1_000_000, rate: 1000)
        #expect((0..<4).map(schedule.instant) == [1_000_000, 2_000_000, 3_000_000, 4_000_000])
        let lanes = (0..<3).map { schedule.lane($0, of: 3) }
        #expect(lanes.map { $0.instant(of: 0) } == [1_000_000, 2_000_000, 3_000_000])
        #expect(lanes.map { $0.instant(of: 2) } == [7_000_000, 8_000_000, 9_000_000])
    }

    @Test func `A schedule does not drift, however uneven its rate`() {
        let schedule = Schedule(start: 0, rate: 29_997)
        #expect(schedule.instant(of: 29_997 * 3600) == 3_600_000_000_000)
    }

    @Test(arguments: [1.0, 3, 7, 29_997, 1e6])
    func `The count of requests before an instant agrees with their instants`(rate: Double) {
        let schedule = Schedule(start: 12_345, rate: rate)
        for (index, count) in [(0, 1), (0, 64), (63, 64), (5, 7)] {
            let lane = schedule.lane(index, of: count)
            for end in [0, 12_345, 12_346, 1_000_012_345, 2_000_000_000] as [Int64] {
                let number = lane.requests(before: end)
                #expect(lane.instant(of: number) >= end)
                if number > 0 { #expect(lane.instant(of: number - 1) < end) }
            }
            #expect(lane.requests(before: .max) == .max)
        }
    }

    @Test func `All connections' requests in a second make the rate`() {
        let schedule = Schedule(start: 0, rate: 20_000)
        let total = (0..<64).map { schedule.lane($0, of: 64).requests(before: 1_000_000_000) }.reduce(0, +)
        #expect(total == 20_000)
    }
}
