// The largest value of a sliding window, from three samples: what RACK and BBR keep instead of a history.
//
// The method is Kathleen Nichols'. The three are the best of the whole window, the best since that one, and the
// best since the second. When the best grows too old, its successor is already known. It is exact for values that
// fall or rise steadily, and otherwise off by no more than what the last quarters of the window did not show.

/// The largest of the values offered within a window of time, where time is any counter: milliseconds, rounds.
///
/// The counter may wrap. Offering is O(1), and what was never offered is 0. For a minimum, offer complements.
struct WindowedMaximum<Value: FixedWidthInteger & UnsignedInteger & BitwiseCopyable & Sendable>: BitwiseCopyable,
    Sendable
{
    private(set) var value: Value = 0
    private var second: Value = 0
    private var third: Value = 0
    private var time: UInt32 = 0
    private var secondTime: UInt32 = 0
    private var thirdTime: UInt32 = 0

    /// Forgets all samples but this one.
    mutating func reset(to value: Value, at time: UInt32) {
        (self.value, second, third) = (value, value, value)
        (self.time, secondTime, thirdTime) = (time, time, time)
    }

    /// Takes a value in, and lets go of what is more than `window` older than it.
    mutating func offer(_ offered: Value, at now: UInt32, window: UInt32) {
        if offered >= value || now &- thirdTime > window { return reset(to: offered, at: now) }
        if offered >= second {
            (second, secondTime, third, thirdTime) = (offered, now, offered, now)
        } else if offered >= third {
            (third, thirdTime) = (offered, now)
        }
        slide(to: now, offered, window: window)
    }

    private mutating func slide(to now: UInt32, _ offered: Value, window: UInt32) {
        let age = now &- time
        if age > window {
            (value, time, second, secondTime, third, thirdTime) = (second, secondTime, third, thirdTime, offered, now)
            // The successor may be too old as well; the third cannot be, or there would have been a reset.
            if now &- time > window {
                (value, time, second, secondTime) = (second, secondTime, third, thirdTime)
            }
        } else if secondTime == time && age > window / 4 {
            // A quarter went by with no candidate that is younger than the best: take this one.
            (second, secondTime, third, thirdTime) = (offered, now, offered, now)
        } else if thirdTime == secondTime && age > window / 2 {
            (third, thirdTime) = (offered, now)
        }
    }
}
