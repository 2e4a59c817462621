// Numbers as people read them.

import Testing

@testable import MartletTool

@Suite struct NumbersTests {
    @Test(arguments: [(0, "0"), (999, "999"), (1000, "1,000"), (-1_234_567, "-1,234,567")])
    func `Thousands are set apart`(number: Int, text: String) { #expect(number.grouped == text) }

    @Test(
        arguments: [
            (0, "0 ns"), (999, "999 ns"), (4_910, "4.91 µs"), (49_100, "49.1 µs"), (312_000, "312 µs"),
            (999_400, "999 µs"), (999_600, "1.00 ms"), (2_040_000_000, "2.04 s"), (3_600_000_000_000, "3600 s"),
        ] as [(Int64, String)])
    func `A duration has three digits and the unit that suits it`(nanoseconds: Int64, text: String) {
        #expect(nanoseconds.asDuration == text)
    }
}
