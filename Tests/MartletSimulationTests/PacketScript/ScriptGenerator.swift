// Scripts of anything that a script can say, for round trips.

import MartletSimulation
import MartletStack

struct ScriptGenerator {
    var random: RandomStream

    init(seed: UInt64) { random = RandomStream(seed: seed) }

    mutating func script(lineCount: Int) -> PacketScript {
        PacketScript(
            lines: (1...lineCount).map { number in
                let event = event()
                let mayVary: Bool
                if case .expect = event { mayVary = true } else { mayVary = false }
                return PacketScript.Line(number: number, time: time(mayVary: mayVary), event: event)
            })
    }

    mutating func below(_ bound: UInt64) -> UInt64 { random.number(below: bound) }
    mutating func coin() -> Bool { below(2) == 0 }

    /// Small, large, or one of the ends.
    mutating func number<Number: FixedWidthInteger>(_: Number.Type = Number.self) -> Number {
        switch below(4) {
        case 0: .max
        case 1: Number(below(10))
        default: Number(truncatingIfNeeded: random.next())
        }
    }

    mutating func bytes(upTo count: UInt64) -> [UInt8] { (0..<below(count + 1)).map { _ in number() } }

    mutating func time(mayVary: Bool) -> PacketScript.Time {
        let first = coin() ? random.number(in: 0...999_999_999_999_999_999) : random.number(in: 0...20) * 100_000_000
        let last = mayVary && coin() ? random.number(in: first...999_999_999_999_999_999) : first
        switch below(3) {
        case 0 where mayVary: return .any
        case 1: return .absolute(Instant(nanoseconds: first)...Instant(nanoseconds: last))
        default: return .relative(.nanoseconds(first) ... .nanoseconds(last))
        }
    }

    mutating func event() -> PacketScript.Event {
        switch below(8) {
        case 0: .call(call())
        case 1: .check((0...below(4)).map { _ in comparison() })
        case 2: .inject(.icmp(message()))
        case 3: .expect(.icmp(message()))
        case 4, 5: .inject(.tcp(segment(isExpected: false)))
        default: .expect(.tcp(segment(isExpected: true)))
        }
    }

    mutating func segment(isExpected: Bool) -> PacketScript.Segment {
        let flags = PacketScript.Flags(rawValue: number())
        return PacketScript.Segment(
            ecn: coin() ? PacketScript.ECN(rawValue: UInt8(below(4))) : nil, flags: flags, sequence: number(),
            length: coin() ? 0 : Int(below(1460)), acknowledgment: flags.contains(.ack) ? number() : nil,
            window: coin() ? number() : nil, urgent: flags.contains(.urg) && coin() ? number() : nil,
            options: isExpected && coin() ? .any : .exactly(options()))
    }

    /// Options that fill a multiple of four bytes, 40 at most.
    mutating func options() -> [PacketScript.Option] {
        var options: [PacketScript.Option] = []
        var byteCount = 0
        for _ in 0..<below(8) {
            let option = option()
            if byteCount + option.byteCount > 40 { continue }
            options.append(option)
            byteCount += option.byteCount
        }
        while byteCount % 4 != 0 {
            options.append(.endOfList)
            byteCount += 1
        }
        return options
    }

    /// Any but the end of the list, behind which nothing else may stand on the wire.
    mutating func option() -> PacketScript.Option {
        switch below(8) {
        case 0: .noOperation
        case 1: .maximumSegmentSize(number())
        case 2: .windowScale(number())
        case 3: .sackPermitted
        case 4: .sack((0...below(4)).map { _ in PacketScript.SACKBlock(start: number(), end: number()) })
        case 5: .timestamps(value: number(), echoReply: number())
        case 6: .fastOpen(cookie: bytes(upTo: 16))
        default: .other(kind: UInt8(100 + below(100)), bytes: bytes(upTo: 6))
        }
    }

    mutating func message() -> PacketScript.ICMPMessage {
        let reasons = PacketScript.ICMPMessage.Reason.allCases
        let reason = reasons[Int(below(UInt64(reasons.count)))]
        return PacketScript.ICMPMessage(
            reason, mtu: reason == .fragmentationNeeded ? number() : nil,
            quoted: coin() ? PacketScript.ICMPMessage.Quoted(sequence: number(), length: Int(below(65_496))) : nil)
    }

    mutating func call() -> PacketScript.UserCall {
        let call: PacketScript.UserCall.Call
        switch below(9) {
        case 0: call = .connect
        case 1: call = .listen
        case 2: call = .accept
        case 3: call = .write(Int(below(1 << 40)))
        case 4: call = .read(Int(below(1 << 40)))
        case 5: call = .shutdown(PacketScript.UserCall.Direction.allCases[Int(below(3))])
        case 6: call = .close
        case 7: call = .abort
        default: call = .setsockopt(name: name(), value: value())
        }
        guard coin() else { return PacketScript.UserCall(call) }
        let result = PacketScript.UserCall.Result(random.number(in: -1000...1000), error: coin() ? name() : nil)
        return PacketScript.UserCall(call, result: result)
    }

    mutating func comparison() -> PacketScript.Comparison {
        PacketScript.Comparison(
            coin() ? name() : "\(name()).\(name())", PacketScript.Comparator.allCases[Int(below(6))], value())
    }

    mutating func value() -> PacketScript.Value {
        coin() ? .name(name()) : .number(random.number(in: -.max ... .max))
    }

    mutating func name() -> String {
        let names = ["a", "_", "cwnd", "SO_LINGER", "ack", "win", "x1", "icmp", "TS"]
        return names[Int(below(UInt64(names.count)))]
    }
}
