// What a filter means, once more and straight from the frame: no instructions, no jumps. And random filters and frames to ask.

import MartletStack

@testable import Martlet
@testable import MartletSimulation

/// The frame ended before what had to be looked at.
private struct TooShort: Error {}

struct FilterReference {
    let frame: [UInt8]

    /// Whether the filter wants the frame.
    func matches(_ filter: Filter) -> Bool { (try? holds(filter.expression)) ?? false }

    private func holds(_ expression: Filter.Expression) throws -> Bool {
        switch expression {
        case .all: true
        case .none: false
        case .not(let inner): try !holds(inner)
        case .and(let left, let right): try holds(left) && holds(right)
        case .or(let left, let right): try holds(left) || holds(right)
        case .test(let test): try holds(test)
        }
    }

    private func number(_ offset: Int, _ size: Int) throws -> UInt32 {
        guard offset + size <= frame.count else { throw TooShort() }
        return frame[offset..<offset + size].reduce(0) { $0 << 8 | UInt32($1) }
    }

    /// Where the type is, behind a tag if there is one.
    private var typeOffset: Int { get throws { [0x8100, 0x88A8].contains(try number(12, 2)) ? 16 : 12 } }
    private var network: Int { get throws { try typeOffset + 2 } }

    private func holds(_ test: Filter.Test) throws -> Bool {
        _ = try number(12, 2)
        switch test {
        case .etherType(let type): return try number(typeOffset, 2) == type
        case .linkAddress(let address, let side):
            return try any(side) { isSource in
                let place = isSource ? 6 : 0
                return try number(place, 4) == UInt32(truncatingIfNeeded: address.bits >> 16)
                    && number(place + 4, 2) == UInt32(address.bits & 0xFFFF)
            }
        case .toGroup: return try number(0, 1) & 1 == 1
        case .vlan(let identifier):
            guard try typeOffset == 16 else { return false }
            return try identifier == nil || number(14, 2) & 0xFFF == UInt32(identifier!)
        case .ipProtocol(let number, let version):
            switch try self.number(typeOffset, 2) {
            case 0x0800 where version != 6: return try self.number(network + 9, 1) == number
            case 0x86DD where version != 4:
                let next = try self.number(network + 6, 1)
                return try next == number || (next == 44 && self.number(network + 40, 1) == number)
            default: return false
            }
        case .net(let address, let prefix, let side): return try net(address, prefix, side)
        case .ports(let ports, let side, let protocols):
            let transport: Int
            switch try number(typeOffset, 2) {
            case 0x0800:
                guard protocols.contains(UInt8(try number(network + 9, 1))) else { return false }
                guard try number(network + 6, 2) & 0x1FFF == 0 else { return false }
                transport = try network + Int(number(network, 1) & 0xF) * 4
            case 0x86DD:
                guard protocols.contains(UInt8(try number(network + 6, 1))) else { return false }
                transport = try network + 40
            default: return false
            }
            return try any(side) { isSource in
                ports.contains(UInt16(try number(transport + (isSource ? 0 : 2), 2)))
            }
        case .atLeast(let bytes): return frame.count >= Int(bytes)
        }
    }

    private func any(_ side: Filter.Side, _ ask: (_ isSource: Bool) throws -> Bool) rethrows -> Bool {
        switch side {
        case .source: try ask(true)
        case .destination: try ask(false)
        case .either: try ask(true) || ask(false)
        }
    }

    private func net(_ address: IPAddress, _ prefix: Int, _ side: Filter.Side) throws -> Bool {
        let type = try number(typeOffset, 2)
        switch address {
        case .v4(let address):
            guard [0x0800, 0x0806, 0x8035].contains(type) else { return false }
            let places = type == 0x0800 ? (12, 16) : (14, 24)
            let mask = prefix == 0 ? 0 : UInt32.max << UInt32(32 - prefix)
            // Nothing is looked at for a prefix of no bits.
            return try any(side) { isSource in
                try prefix == 0 || number(network + (isSource ? places.0 : places.1), 4) & mask == address.bits & mask
            }
        case .v6(let address):
            guard type == 0x86DD else { return false }
            let wanted = [address.high >> 32, address.high, address.low >> 32, address.low]
            return try any(side) { isSource in
                for (index, word) in wanted.enumerated() {
                    let bits = min(32, prefix - index * 32)
                    guard bits > 0 else { break }
                    let mask = UInt32.max << UInt32(32 - bits)
                    let found = try number(network + (isSource ? 8 : 24) + index * 4, 4)
                    if found & mask != UInt32(truncatingIfNeeded: word) & mask { return false }
                }
                return true
            }
        }
    }
}

/// Filters and frames that have something to do with one another: few addresses, ports and types.
struct FilterGenerator {
    var random: SeededGenerator

    private mutating func oneOf<Element>(_ elements: [Element]) -> Element { elements.randomElement(using: &random)! }

    // MARK: Filters

    mutating func filter(depth: Int = 3) -> Filter {
        if depth == 0 || UInt8.random(in: 0..<4, using: &random) == 0 { return test() }
        switch UInt8.random(in: 0..<5, using: &random) {
        case 0: return !filter(depth: depth - 1)
        case 1, 2: return filter(depth: depth - 1) && filter(depth: depth - 1)
        default: return filter(depth: depth - 1) || filter(depth: depth - 1)
        }
    }

    private mutating func test() -> Filter {
        let side = oneOf([Filter.Side.either, .source, .destination])
        switch UInt8.random(in: 0..<10, using: &random) {
        case 0: return .etherType(oneOf(Self.types))
        case 1: return .linkAddress(MACAddress(bits: oneOf(Self.links)), side)
        case 2: return oneOf([.multicast, .broadcast, .vlan(), .vlan(5), .vlan(6)])
        case 3: return .ipProtocol(oneOf(Self.protocols))
        case 4: return oneOf([.icmp, .icmp6, .tcp, .udp])
        case 5: return .net(.v4(IPv4Address(bits: oneOf(Self.v4))), prefix: oneOf([0, 1, 8, 17, 31, 32]), side)
        case 6:
            let address = IPv6Address(high: oneOf(Self.v6), low: oneOf(Self.v6))
            return .net(.v6(address), prefix: oneOf([0, 3, 32, 48, 64, 65, 127, 128]), side)
        case 7: return .port(oneOf(Self.ports), side)
        case 8: return .ports(80...oneOf([80, 443, 65_535]), side)
        default: return .atLeast(oneOf([0, 14, 60, 61, 1515]))
        }
    }

    private static let types: [UInt16] = [0x0800, 0x0806, 0x86DD, 0x8035, 0x88CC]
    private static let links: [UInt64] = [
        0x02_00_00_00_00_01, 0x02_00_00_00_00_02, 0xFF_FF_FF_FF_FF_FF, 0x01_00_5E_00_00_01,
    ]
    private static let protocols: [UInt8] = [1, 6, 17, 58, 132, 44]
    private static let v4: [UInt32] = [0x0A00_0001, 0x0A00_0002, 0x0A80_0001, 0xC000_0201]
    private static let v6: [UInt64] = [0x2001_0DB8_0000_0001, 0x2001_0DB8_0000_0002, 1, 0]
    private static let ports: [UInt16] = [53, 80, 443, 5001]

    // MARK: Frames

    /// A frame that holds together up to where it was cut.
    mutating func frame() -> [UInt8] {
        var bytes = big(oneOf(Self.links), 6) + big(oneOf(Self.links), 6)
        if Bool.random(using: &random) {
            bytes += big(UInt64(oneOf([0x8100, 0x88A8] as [UInt16])), 2)
            bytes += big(UInt64(oneOf([5, 6, 0x2005, 0]) as UInt16), 2)
        }
        let type = oneOf(Self.types)
        bytes += big(UInt64(type), 2)
        switch type {
        case 0x0800: bytes += packet4()
        case 0x86DD: bytes += packet6()
        case 0x0806, 0x8035:
            bytes += big(0x0001_0800_0604_0001, 8) + big(oneOf(Self.links), 6) + big(UInt64(oneOf(Self.v4)), 4)
            bytes += big(oneOf(Self.links), 6) + big(UInt64(oneOf(Self.v4)), 4)
        default: bytes += [UInt8](repeating: 0, count: 50)
        }
        // Some are cut anywhere, as far as there is an Ethernet header.
        if UInt8.random(in: 0..<4, using: &random) == 0 {
            bytes.removeLast(Int.random(in: 0...bytes.count - 14, using: &random))
        }
        return bytes
    }

    private mutating func packet4() -> [UInt8] {
        let words = UInt8.random(in: 5...7, using: &random)
        var bytes: [UInt8] = [0x40 | words, 0, 0, 60, 0, 1]
        bytes += big(UInt64(oneOf([0, 0, 0x4000, 0x2000, 0x0010, 0x2010]) as UInt16), 2)
        bytes += [64, oneOf(Self.protocols), 0, 0] + big(UInt64(oneOf(Self.v4)), 4) + big(UInt64(oneOf(Self.v4)), 4)
        return bytes + [UInt8](repeating: 1, count: (Int(words) - 5) * 4) + transport()
    }

    private mutating func packet6() -> [UInt8] {
        let next = oneOf(Self.protocols)
        var bytes: [UInt8] = [0x60, 0, 0, 0, 0, 40, next, 64]
        for _ in 0..<4 { bytes += big(oneOf(Self.v6), 8) }
        if next == 44 { bytes += [oneOf(Self.protocols), 0, 0, 0, 0, 0, 0, 1] }
        return bytes + transport()
    }

    private mutating func transport() -> [UInt8] {
        big(UInt64(oneOf(Self.ports)), 2) + big(UInt64(oneOf(Self.ports)), 2) + [UInt8](repeating: 7, count: 16)
    }

    private func big(_ value: UInt64, _ count: Int) -> [UInt8] {
        (0..<count).map { UInt8(truncatingIfNeeded: value >> UInt64((count - 1 - $0) * 8)) }
    }
}

extension Filter.Program {
    func wants(_ frame: [UInt8], tag: UInt16? = nil) -> Bool { unsafe matches(frame.span.bytes, tag: tag) }
}
