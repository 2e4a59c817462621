// From an expression to instructions, back to front: when a test is written, the places that its two answers lead to are there
// already, and every jump goes forward by itself.
//
//     or(A, B):      A ─yes──────────┐            A is written last, so that it is run first
//                    └no─▶ B ─yes─▶ accept
//                          └no──▶ reject
//
// The expression is written twice: for frames with a VLAN tag in them, where everything is four bytes later, and for others.

internal import MartletStack

extension Filter.Program {
    init(compiling filter: Filter) throws(LinkError) {
        var compiler = Compiler()
        let reject = compiler.append(.end, 0)
        let accept = compiler.append(.end, .max)
        compiler.shift = 4
        let tagged = compiler.write(filter.expression, yes: accept, no: reject)
        compiler.shift = 0
        let plain = compiler.write(filter.expression, yes: accept, no: reject)
        let other = compiler.test(.jumpIfEqual, 0x88A8, yes: tagged, no: plain)
        _ = compiler.load(.loadHalf, 12, then: compiler.test(.jumpIfEqual, 0x8100, yes: tagged, no: other))
        guard let program = Filter.Program(checking: compiler.reversed.reversed()) else {
            throw LinkError.invalidFilter(
                reason: "it has \(compiler.reversed.count) instructions, and the kernel takes \(Self.longest)")
        }
        self = program
    }
}

/// A place in a program: how many instructions come after it.
private typealias Place = Int

private struct Compiler {
    var reversed: [Filter.Program.Instruction] = []
    /// Bytes of the tag before everything from the type on.
    var shift: UInt32 = 0

    // MARK: Instructions

    mutating func append(_ operation: Filter.Operation, _ operand: UInt32) -> Place {
        reversed.append(.init(code: operation.rawValue, operand: operand))
        return reversed.count - 1
    }

    /// A jump that goes one of two ways.
    mutating func test(_ operation: Filter.Operation, _ operand: UInt32, yes: Place, no: Place) -> Place {
        if yes == no { return yes }
        // A conditional jump reaches 255 instructions. What is further takes a jump of its own on the way.
        let (yes, no) = (near(yes), near(no))
        reversed.append(
            .init(
                code: operation.rawValue, ifTrue: UInt8(reversed.count - yes - 1),
                ifFalse: UInt8(reversed.count - no - 1),
                operand: operand))
        return reversed.count - 1
    }

    private mutating func near(_ place: Place) -> Place {
        // Two less than what it reaches: the other way's jump may come in between.
        let distance = reversed.count - place - 1
        return distance <= 253 ? place : append(.jump, UInt32(distance))
    }

    /// A load before what is written already.
    mutating func load(_ operation: Filter.Operation, _ operand: UInt32, then next: Place) -> Place {
        // A load goes on with what follows it in the program.
        if next != reversed.count - 1 { _ = append(.jump, UInt32(reversed.count - next - 1)) }
        return append(operation, operand)
    }

    // MARK: Expressions

    mutating func write(_ expression: Filter.Expression, yes: Place, no: Place) -> Place {
        switch expression {
        case .all: yes
        case .none: no
        case .not(let inner): write(inner, yes: no, no: yes)
        case .and(let left, let right): write(left, yes: write(right, yes: yes, no: no), no: no)
        case .or(let left, let right): write(left, yes: yes, no: write(right, yes: yes, no: no))
        case .test(let test): write(test, yes: yes, no: no)
        }
    }

    private mutating func write(_ test: Filter.Test, yes: Place, no: Place) -> Place {
        switch test {
        case .etherType(let type): half(12 + shift, equals: type, yes: yes, no: no)
        case .linkAddress(let address, let side):
            sides(side, yes: yes, no: no) { compiler, isSource, yes, no in
                let place: UInt32 = isSource ? 6 : 0
                let end = compiler.half(place + 4, equals: UInt16(truncatingIfNeeded: address.bits), yes: yes, no: no)
                let start = UInt32(truncatingIfNeeded: address.bits >> 16)
                return compiler.load(.loadWord, place, then: compiler.test(.jumpIfEqual, start, yes: end, no: no))
            }
        case .toGroup: load(.loadByte, 0, then: self.test(.jumpIfSet, 1, yes: yes, no: no))
        case .vlan(let identifier): writeVLAN(identifier, yes: yes, no: no)
        case .ipProtocol(let number, let version): writeProtocol(number, version, yes: yes, no: no)
        case .net(let address, let prefix, let side): writeNet(address, prefix, side, yes: yes, no: no)
        case .ports(let ports, let side, let protocols): writePorts(ports, side, protocols, yes: yes, no: no)
        case .atLeast(let bytes):
            load(.loadLength, 0, then: self.test(.jumpIfAtLeast, bytes, yes: yes, no: no))
        }
    }

    private mutating func half(_ place: UInt32, equals value: UInt16, yes: Place, no: Place) -> Place {
        load(.loadHalf, place, then: test(.jumpIfEqual, UInt32(value), yes: yes, no: no))
    }

    private mutating func byte(_ place: UInt32, equals value: UInt8, yes: Place, no: Place) -> Place {
        load(.loadByte, place, then: test(.jumpIfEqual, UInt32(value), yes: yes, no: no))
    }

    /// Asks for the source, for the destination, or for one and then the other.
    private mutating func sides(
        _ side: Filter.Side, yes: Place, no: Place, _ ask: (inout Compiler, _ isSource: Bool, Place, Place) -> Place
    ) -> Place {
        switch side {
        case .source: return ask(&self, true, yes, no)
        case .destination: return ask(&self, false, yes, no)
        case .either:
            let other = ask(&self, false, yes, no)
            return ask(&self, true, yes, other)
        }
    }

    // MARK: Headers

    private mutating func writeVLAN(_ identifier: UInt16?, yes: Place, no: Place) -> Place {
        // In the frame, or beside it.
        if identifier == nil, shift > 0 { return yes }
        var beside = yes
        if let identifier {
            beside = test(.jumpIfEqual, UInt32(identifier), yes: yes, no: no)
            beside = load(.and, 0xFFF, then: beside)
            beside = load(.loadWord, Filter.Ancillary.vlanTag, then: beside)
        }
        beside = load(
            .loadWord, Filter.Ancillary.vlanIsPresent, then: test(.jumpIfEqual, 1, yes: beside, no: no))
        guard shift > 0, let identifier else { return beside }
        let within = test(.jumpIfEqual, UInt32(identifier), yes: yes, no: beside)
        return load(.loadHalf, 14, then: load(.and, 0xFFF, then: within))
    }

    private mutating func writeProtocol(_ number: UInt8, _ version: UInt8?, yes: Place, no: Place) -> Place {
        var next = no
        if version != 4 {
            // Behind the header, or behind a fragment header that follows it.
            let fragment = byte(54 + shift, equals: number, yes: yes, no: no)
            var here = test(.jumpIfEqual, 44, yes: fragment, no: no)
            here = test(.jumpIfEqual, UInt32(number), yes: yes, no: here)
            here = load(.loadByte, 20 + shift, then: here)
            next = half(12 + shift, equals: 0x86DD, yes: here, no: no)
        }
        if version != 6 {
            let here = byte(23 + shift, equals: number, yes: yes, no: no)
            next = half(12 + shift, equals: 0x0800, yes: here, no: next)
        }
        return next
    }

    private mutating func writeNet(
        _ address: IPAddress, _ prefix: Int, _ side: Filter.Side, yes: Place, no: Place
    ) -> Place {
        switch address {
        case .v4(let address):
            // Where IPv4 and ARP (and its reverse) have their two addresses.
            let inARP = sides(side, yes: yes, no: no) { compiler, isSource, yes, no in
                compiler.words([address.bits], prefix, at: isSource ? 28 : 38, yes: yes, no: no)
            }
            let inIP = sides(side, yes: yes, no: no) { compiler, isSource, yes, no in
                compiler.words([address.bits], prefix, at: isSource ? 26 : 30, yes: yes, no: no)
            }
            var type = test(.jumpIfEqual, 0x8035, yes: inARP, no: no)
            type = test(.jumpIfEqual, 0x0806, yes: inARP, no: type)
            type = test(.jumpIfEqual, 0x0800, yes: inIP, no: type)
            return load(.loadHalf, 12 + shift, then: type)
        case .v6(let address):
            let words = [address.high >> 32, address.high, address.low >> 32, address.low]
            let within = sides(side, yes: yes, no: no) { compiler, isSource, yes, no in
                compiler.words(
                    words.map { UInt32(truncatingIfNeeded: $0) }, prefix, at: isSource ? 22 : 38, yes: yes, no: no)
            }
            return half(12 + shift, equals: 0x86DD, yes: within, no: no)
        }
    }

    /// Compares the first `prefix` bits of an address.
    private mutating func words(_ words: [UInt32], _ prefix: Int, at place: UInt32, yes: Place, no: Place) -> Place {
        var next = yes
        for (index, word) in words.enumerated().reversed() {
            let bits = min(32, prefix - index * 32)
            guard bits > 0 else { continue }
            let mask = UInt32.max << UInt32(32 - bits)
            var here = test(.jumpIfEqual, word & mask, yes: next, no: no)
            if bits < 32 { here = load(.and, mask, then: here) }
            next = load(.loadWord, place + shift + UInt32(index * 4), then: here)
        }
        return next
    }

    private mutating func writePorts(
        _ ports: ClosedRange<UInt16>, _ side: Filter.Side, _ protocols: [UInt8], yes: Place, no: Place
    ) -> Place {
        let inIPv6 = sides(side, yes: yes, no: no) { compiler, isSource, yes, no in
            compiler.port(ports, .loadHalf, at: isSource ? 54 : 56, yes: yes, no: no)
        }
        let next = anyOf(protocols, at: 20, yes: inIPv6, no: no)
        let type = half(12 + shift, equals: 0x86DD, yes: next, no: no)

        var inIPv4 = sides(side, yes: yes, no: no) { compiler, isSource, yes, no in
            compiler.port(ports, .loadHalfIndexed, at: isSource ? 14 : 16, yes: yes, no: no)
        }
        inIPv4 = load(.loadHeaderLength, 14 + shift, then: inIPv4)
        // Only the first fragment has the ports.
        inIPv4 = load(.loadHalf, 20 + shift, then: test(.jumpIfSet, 0x1FFF, yes: no, no: inIPv4))
        inIPv4 = anyOf(protocols, at: 23, yes: inIPv4, no: no)
        return half(12 + shift, equals: 0x0800, yes: inIPv4, no: type)
    }

    private mutating func anyOf(_ protocols: [UInt8], at place: UInt32, yes: Place, no: Place) -> Place {
        var next = no
        for number in protocols.reversed() { next = test(.jumpIfEqual, UInt32(number), yes: yes, no: next) }
        return load(.loadByte, place + shift, then: next)
    }

    private mutating func port(
        _ ports: ClosedRange<UInt16>, _ operation: Filter.Operation, at place: UInt32, yes: Place, no: Place
    ) -> Place {
        var here: Place
        if ports.count == 1 {
            here = test(.jumpIfEqual, UInt32(ports.lowerBound), yes: yes, no: no)
        } else {
            here = test(.jumpIfGreater, UInt32(ports.upperBound), yes: no, no: yes)
            here = test(.jumpIfAtLeast, UInt32(ports.lowerBound), yes: here, no: no)
        }
        return load(operation, place + shift, then: here)
    }
}
