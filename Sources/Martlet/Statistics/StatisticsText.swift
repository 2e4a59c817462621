// Statistics as programs read them: JSON (RFC 8259), and the text format of Prometheus, version 0.0.4. Counters are found by their
// names, so that a new one is shown without anybody having to think of it.

internal import MartletStack

/// A number with its name, as the types declare it: `segmentsIn`.
private struct Counted {
    var name: String
    var value: UInt64

    /// The counts that a value is made of.
    static func all(of value: Any) -> [Counted] {
        Mirror(reflecting: value).children.compactMap { child in
            guard let name = child.label else { return nil }
            if let count = child.value as? UInt64 { return Counted(name: name, value: count) }
            if let count = child.value as? Int { return Counted(name: name, value: UInt64(clamping: count)) }
            return nil
        }
    }

    /// Those parts of a value that have counts of their own, by name.
    static func parts(of value: Any) -> [(name: String, counts: [Counted])] {
        Mirror(reflecting: value).children.compactMap { child in
            guard let name = child.label, !(child.value is UInt64) else { return nil }
            let counts = all(of: child.value)
            return counts.isEmpty ? nil : (name, counts)
        }
    }
}

extension String {
    /// `segmentsIn` as `segments_in`, `bytesACKed` as `bytes_acked`.
    fileprivate var snake: String {
        var result = ""
        var wasUpper = true
        for character in self {
            if character.isUppercase, !wasUpper { result.append("_") }
            wasUpper = character.isUppercase
            result += character.lowercased()
        }
        return result
    }
}

// MARK: - JSON

/// A value of JSON.
enum JSON {
    case number(UInt64)
    case string(String)
    case array([JSON])
    case object([(String, JSON)])
    case null

    var text: String {
        switch self {
        case .number(let number): "\(number)"
        case .string(let string): Self.quoted(string)
        case .array(let elements): "[" + elements.map(\.text).joined(separator: ",") + "]"
        case .object(let members):
            "{" + members.map { "\(Self.quoted($0)):\($1.text)" }.joined(separator: ",") + "}"
        case .null: "null"
        }
    }

    /// A string with its quotes, and an escape for what needs one (RFC 8259 §7).
    static func quoted(_ string: String) -> String {
        var result = "\""
        for scalar in string.unicodeScalars {
            switch scalar {
            case "\"": result += "\\\""
            case "\\": result += "\\\\"
            case _ where scalar.value < 0x20:
                let digits = String(scalar.value, radix: 16)
                result += "\\u" + String(repeating: "0", count: 4 - digits.count) + digits
            default: result.unicodeScalars.append(scalar)
            }
        }
        return result + "\""
    }

    fileprivate static func counts(_ counts: [Counted]) -> JSON {
        .object(counts.map { ($0.name.snake, .number($0.value)) })
    }
}

extension CoreStatistics {
    var json: JSON {
        var members: [(String, JSON)] = [
            ("core", .number(UInt64(core))), ("cpu", cpu.map { .number(UInt64($0)) } ?? .null),
            ("counters", .counts(Counted.all(of: counters))),
        ]
        if let stack {
            let parts = Counted.parts(of: stack)
            members.append(("stack", .object(parts.map { ($0.name.snake, .counts($0.counts)) })))
            members.append(("drops", .object(PacketDrop.allCases.map { ("\($0)".snake, .number(stack.network[$0])) })))
        }
        if let population {
            members.append(
                ("states", .object(TCPState.allCases.map { ("\($0)".snake, .number(UInt64(population[$0]))) })))
        }
        members.append(("links", .array(links.map(\.json))))
        return .object(members)
    }
}

extension LinkStatistics {
    fileprivate var json: JSON {
        .object([
            ("name", .string(name)), ("state", .string("\(state)")), ("received", counters.received.json),
            ("transmitted", counters.transmitted.json),
        ])
    }
}

extension LinkDirection {
    fileprivate var json: JSON {
        .object([
            ("frames", .number(frames)), ("bytes", .number(bytes)),
            ("drops", .object(LinkDrop.allCases.map { ("\($0)".snake, .number(drops[$0])) })),
        ])
    }
}

extension ConnectionStatistics {
    /// Durations are in microseconds, as TCP_INFO has them.
    fileprivate var numbers: [(name: String, value: UInt64, isCounter: Bool)] {
        func microseconds(_ duration: Duration) -> UInt64 { UInt64(clamping: duration.nanoseconds / 1000) }
        func whole(_ number: Int) -> UInt64 { UInt64(clamping: number) }
        return [
            ("srtt_us", microseconds(info.srtt), false), ("rttvar_us", microseconds(info.rttVariance), false),
            ("min_rtt_us", microseconds(info.minRTT), false), ("rto_us", microseconds(info.rto), false),
            ("send_mss", whole(info.sendMSS), false), ("receive_mss", whole(info.receiveMSS), false),
            ("path_mtu", whole(info.pathMTU), false), ("cwnd", whole(info.cwnd), false),
            ("unacked", whole(info.unacked), false), ("lost", whole(info.lost), false),
            ("not_sent_bytes", whole(info.notSentBytes), false),
            ("pacing_rate", info.pacingRate, false), ("delivery_rate", info.deliveryRate, false),
            ("retransmits", whole(info.totalRetransmits), true),
            ("bytes_acked", info.bytesAcked, true), ("bytes_received", info.bytesReceived, true),
            ("segments_out", info.segmentsOut, true), ("segments_in", info.segmentsIn, true),
        ]
    }

    fileprivate var stateName: String { info.state.map { "\($0)".snake } ?? "unknown" }

    var json: JSON {
        .object(
            [
                ("core", .number(UInt64(core))), ("state", .string(stateName)), ("local", .string("\(local)")),
                ("peer", .string("\(peer)")),
            ] + numbers.map { ($0.name, .number($0.value)) })
    }
}

// MARK: - Prometheus

/// Metrics in the order in which they were first named: all samples of one stand together, as the format wants it.
struct PrometheusText {
    private var order: [String] = []
    private var samples: [String: [String]] = [:]

    mutating func add(_ name: String, isCounter: Bool, _ labels: [(String, String)], _ value: UInt64) {
        let name = "martlet_" + name + (isCounter ? "_total" : "")
        if samples[name] == nil {
            order.append(name)
            samples[name] = ["# TYPE \(name) \(isCounter ? "counter" : "gauge")"]
        }
        // A label's value has the escapes that a string of JSON has, as far as any occurs here.
        let list = labels.map { "\($0)=\(JSON.quoted($1))" }.joined(separator: ",")
        samples[name]?.append("\(name){\(list)} \(value)")
    }

    var text: String { order.flatMap { samples[$0] ?? [] }.map { $0 + "\n" }.joined() }
}

extension CoreStatistics {
    func add(to text: inout PrometheusText) {
        let here = [("core", "\(core)")]
        for count in Counted.all(of: counters) {
            // The one number that goes down again.
            text.add("core_" + count.name.snake, isCounter: count.name != "open", here, count.value)
        }
        if let stack {
            for part in Counted.parts(of: stack) {
                for count in part.counts {
                    text.add("\(part.name.snake)_\(count.name.snake)", isCounter: true, here, count.value)
                }
            }
            for reason in PacketDrop.allCases {
                text.add("drops", isCounter: true, here + [("reason", "\(reason)".snake)], stack.network[reason])
            }
        }
        if let population {
            for state in TCPState.allCases {
                text.add(
                    "connections", isCounter: false, here + [("state", "\(state)".snake)], UInt64(population[state]))
            }
        }
        for link in links {
            for (name, direction) in [
                ("received", link.counters.received), ("transmitted", link.counters.transmitted),
            ] {
                let labels = here + [("link", link.name), ("direction", name)]
                text.add("link_frames", isCounter: true, labels, direction.frames)
                text.add("link_bytes", isCounter: true, labels, direction.bytes)
                for reason in LinkDrop.allCases where direction.drops[reason] > 0 {
                    text.add(
                        "link_drops", isCounter: true, labels + [("reason", "\(reason)".snake)], direction.drops[reason]
                    )
                }
            }
        }
    }
}

extension ConnectionStatistics {
    func add(to text: inout PrometheusText) {
        let labels = [
            ("core", "\(core)"), ("local", "\(local)"), ("peer", "\(peer)"), ("state", stateName),
        ]
        for number in numbers {
            text.add("connection_" + number.name, isCounter: number.isCounter, labels, number.value)
        }
    }
}
