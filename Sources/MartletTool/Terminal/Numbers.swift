// Numbers as people read them.

import Foundation

extension BinaryInteger {
    /// `1234567` as `1,234,567`.
    var grouped: String {
        let digits = String(magnitude)
        var result = ""
        for (index, digit) in digits.enumerated() {
            if index > 0, (digits.count - index).isMultiple(of: 3) { result.append(",") }
            result.append(digit)
        }
        return self < 0 ? "-" + result : result
    }

    /// Nanoseconds in the unit that suits them, with three digits: `4.91 µs`, `312 µs`, `2.04 s`.
    var asDuration: String { Double(self).asDuration }
}

extension Double {
    /// The whole number, as ``Swift/BinaryInteger/grouped``; with decimals below ten.
    var grouped: String { magnitude < 10 && self != rounded() ? formatted(decimals: 1) : Int(rounded()).grouped }

    func formatted(decimals: Int) -> String { String(format: "%.\(decimals)f", self) }

    var asDuration: String {
        let units = [("ns", 1.0), ("µs", 1e3), ("ms", 1e6), ("s", 1e9)]
        // 999.5 µs would be printed as 1000 µs: the next unit begins where rounding reaches it.
        let (unit, scale) = units.last { magnitude >= $0.1 * 0.9995 } ?? units[0]
        let value = self / scale
        let decimals = unit == "ns" || value >= 99.95 ? 0 : value >= 9.995 ? 1 : 2
        return "\(value.formatted(decimals: decimals)) \(unit)"
    }
}
