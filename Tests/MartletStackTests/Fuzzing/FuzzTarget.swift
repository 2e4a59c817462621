// The fuzz targets: functions of bytes, which throw when something is so that must never be. `Fuzzing/run` has libFuzzer look for
// such bytes; `FuzzCorpusTests` plays those that it has found interesting.

enum FuzzTarget: String, CaseIterable {
    /// Ethernet frames, and what is in them.
    case frame
    /// The readers of options and headers, alone.
    case options
    /// A program of segments, errors, user calls and time.
    case stack
    /// The readers of MartletSimulation.
    case script

    var run: ([UInt8]) throws(Violation) -> Void {
        switch self {
        case .frame: FrameTarget.run
        case .options: OptionsTarget.run
        case .stack: StackTarget.run
        case .script: ScriptTarget.run
        }
    }
}
