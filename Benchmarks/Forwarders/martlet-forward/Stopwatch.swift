// How long a run goes on: for some seconds, or, where callgrind counts instructions, for some turns.

import Dispatch
import Glibc
import PeerSupport

struct Stopwatch: ~Copyable, Sendable {
    private var start = Stopwatch.now
    private var cpuAtStart = Stopwatch.cpu
    private var end: UInt64
    private let seconds: Double
    private var isWarm: Bool
    /// What a count is called in the report. It is not looked at in a loop, where copying it would be counted.
    private let name: String
    private let isCounting: Bool
    private var turns = 0
    private var framesBefore: UInt64 = 0
    private var framesSeen: UInt64 = 0

    /// Turns before those that are counted: what happens once has happened then.
    private static let turnsBefore = 2
    private static let turnsCounted = 4

    /// - Parameter warmUp: Seconds before those that the figures are of, for who asks with ``goesOn(after:)``.
    init(seconds: Double, warmUp: Double = 0, counting: String? = nil) {
        self.seconds = seconds
        end = start + UInt64((warmUp > 0 ? warmUp : seconds) * 1e9)
        isWarm = warmUp == 0
        name = counting ?? ""
        isCounting = counting != nil
    }

    static var now: UInt64 { DispatchTime.now().uptimeNanoseconds }

    /// Processor time of the process so far.
    static var cpu: UInt64 {
        var time = timespec()
        clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &time)
        return UInt64(time.tv_sec) * 1_000_000_000 + UInt64(time.tv_nsec)
    }

    /// Nanoseconds since the beginning.
    var elapsed: UInt64 { Stopwatch.now - start }

    var isRunning: Bool { Stopwatch.now < end }

    /// Whether there is another turn, after `frames` in all.
    mutating func goesOn(after frames: UInt64) -> Bool {
        if isCounting { return countedGoesOn(after: frames) }
        let now = Stopwatch.now
        if now < end { return true }
        if isWarm { return false }
        (isWarm, framesBefore, cpuAtStart, start) = (true, frames, Stopwatch.cpu, now)
        end = now + UInt64(seconds * 1e9)
        return true
    }

    /// A turn in which nothing came is none.
    private mutating func countedGoesOn(after frames: UInt64) -> Bool {
        guard frames > framesSeen else { return true }
        framesSeen = frames
        turns += 1
        if turns == Stopwatch.turnsBefore {
            framesBefore = frames
            peer_start_counting()
        }
        guard turns == Stopwatch.turnsBefore + Stopwatch.turnsCounted else { return true }
        peer_stop_counting()
        peer_report_count("\(name), \(frames - framesBefore)")
        return false
    }

    /// - Parameter total: Frames in all, of which those before the figures began are left out.
    func result(_ total: UInt64) -> Result {
        let frames = total - framesBefore
        let elapsed = Double(Stopwatch.now - start) / 1e9
        return Result(
            frames: frames, seconds: elapsed, framesPerSecond: Double(frames) / elapsed,
            cpuShare: Double(Stopwatch.cpu - cpuAtStart) / 1e9 / elapsed)
    }
}
