// Whether a segment is the one that a script expects.

extension SegmentOnWire {
    /// The segment with numbers relative to the initial ones of `flow`; `nil` if it does not belong to that flow.
    public func relative(to flow: SegmentBytes.Flow) -> PacketScript.Segment? {
        guard source == flow.source.address, sourcePort == flow.source.port,
            destination == flow.destination.address, destinationPort == flow.destination.port
        else { return nil }
        let acknowledged = flow.destination.initialSequence
        var segment = absolute
        segment.sequence &-= flow.source.initialSequence
        segment.acknowledgment = segment.acknowledgment.map { $0 &- acknowledged }
        guard case .exactly(let options) = segment.options else { return segment }
        segment.options = .exactly(
            options.map { option in
                guard case .sack(let blocks) = option else { return option }
                return .sack(
                    blocks.map {
                        PacketScript.SACKBlock(start: $0.start &- acknowledged, end: $0.end &- acknowledged)
                    })
            })
        return segment
    }
}

extension PacketScript.Segment {
    /// What is not as this pattern wants it, a line each, as `window: expected 10, was 9`. Empty if all is.
    ///
    /// - Parameter actual: a segment from ``SegmentOnWire/relative(to:)``.
    public func differences(from actual: PacketScript.Segment) -> [String] {
        var differences: [String] = []
        func compare<Field: Equatable>(_ name: String, _ expected: Field?, _ was: Field?, _ text: (Field) -> String) {
            if expected == was { return }
            differences.append(
                "\(name): expected \(expected.map(text) ?? "none"), was \(was.map(text) ?? "none")")
        }
        if ecn != nil { compare("ECN", ecn, actual.ecn) { "\($0)" } }
        compare("flags", flags, actual.flags) { "\($0)" }
        compare("sequence number", sequence, actual.sequence) { "\($0)" }
        compare("length", length, actual.length) { "\($0)" }
        compare("acknowledgment number", acknowledgment, actual.acknowledgment) { "\($0)" }
        if window != nil { compare("window", window, actual.window) { "\($0)" } }
        if urgent != nil { compare("urgent pointer", urgent, actual.urgent) { "\($0)" } }
        if options != .any { compare("options", options, actual.options) { $0 == .exactly([]) ? "none" : "\($0)" } }
        return differences
    }
}
