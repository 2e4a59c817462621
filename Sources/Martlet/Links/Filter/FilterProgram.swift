// Classic BPF: the instructions, and a machine for them. The kernel has another (linux/filter.h, networking/filter.rst); the tests
// hold the two against each other.

internal import CMartlet
internal import MartletStack

extension Filter {
    /// A compiled filter. Running it takes no more steps than it has instructions, because every jump goes forward.
    public struct Program: Sendable, Hashable {
        /// What the kernel takes at most (BPF_MAXINSNS).
        public static let longest = 4096

        /// An instruction, in the kernel's layout.
        struct Instruction: BitwiseCopyable, Hashable, Sendable {
            var code: UInt16
            var ifTrue: UInt8 = 0
            var ifFalse: UInt8 = 0
            var operand: UInt32 = 0
        }

        let instructions: [Instruction]

        /// Whether these can be run: known instructions only, no jump out of the program, and an end at the end.
        init?(checking instructions: [Instruction]) {
            guard (1...Program.longest).contains(instructions.count) else { return nil }
            for (index, instruction) in instructions.enumerated() {
                guard let operation = Operation(rawValue: instruction.code) else { return nil }
                let left = instructions.count - index - 1
                switch operation {
                case .jump where Int(instruction.operand) >= left: return nil
                case .jumpIfEqual, .jumpIfGreater, .jumpIfAtLeast, .jumpIfSet:
                    guard Int(instruction.ifTrue) < left, Int(instruction.ifFalse) < left else { return nil }
                default: break
                }
            }
            guard instructions[instructions.count - 1].code == Operation.end.rawValue else { return nil }
            self.instructions = instructions
        }

        /// Instructions that it has.
        public var count: Int { instructions.count }

        /// The instructions as tcpdump(8) prints them with `-dd`: code, jumps and operand, one a line.
        public var listing: String {
            instructions.map { "{ \($0.code), \($0.ifTrue), \($0.ifFalse), \($0.operand) }," }.joined(separator: "\n")
        }

        /// The same for the kernel.
        var kernelInstructions: [sock_filter] {
            instructions.map { sock_filter(code: $0.code, jt: $0.ifTrue, jf: $0.ifFalse, k: $0.operand) }
        }
    }

    /// What an instruction does: those of linux/bpf_common.h that filters here are made of.
    enum Operation: UInt16 {
        case loadWord = 0x20
        case loadHalf = 0x28
        case loadByte = 0x30
        case loadHalfIndexed = 0x48
        case loadLength = 0x80
        /// Four times the low half of a byte into the index: the length of an IPv4 header.
        case loadHeaderLength = 0xB1
        case and = 0x54
        case jump = 0x05
        case jumpIfEqual = 0x15
        case jumpIfGreater = 0x25
        case jumpIfAtLeast = 0x35
        case jumpIfSet = 0x45
        case end = 0x06
    }

    /// Operands that are no place in the frame (SKF_AD_OFF and on).
    enum Ancillary {
        static let vlanTag = UInt32(bitPattern: -0x1000 + 44)
        static let vlanIsPresent = UInt32(bitPattern: -0x1000 + 48)
    }
}

extension Filter.Program {
    /// Whether a frame is wanted.
    ///
    /// - Parameter tag: The tag control of a VLAN that is not in the frame.
    public func matches(_ frame: RawSpan, tag: UInt16? = nil) -> Bool {
        var (accumulator, index, next) = (UInt32(0), UInt32(0), 0)
        let instructions = instructions.span
        while true {
            let instruction = instructions[next]
            let operand = instruction.operand
            var isTrue: Bool
            next &+= 1
            // The initialiser has seen to it that there are no others.
            guard let operation = Filter.Operation(rawValue: instruction.code) else { return false }
            switch operation {
            case .loadWord where operand == Filter.Ancillary.vlanTag:
                accumulator = UInt32(tag ?? 0)
                continue
            case .loadWord where operand == Filter.Ancillary.vlanIsPresent:
                accumulator = tag == nil ? 0 : 1
                continue
            case .loadWord, .loadHalf, .loadByte, .loadHalfIndexed:
                let place = UInt64(operand) &+ (operation == .loadHalfIndexed ? UInt64(index) : 0)
                guard let value = Self.load(operation, from: frame, at: place) else { return false }
                accumulator = value
                continue
            case .loadLength:
                accumulator = UInt32(clamping: frame.byteCount)
                continue
            case .loadHeaderLength:
                guard UInt64(operand) < UInt64(frame.byteCount) else { return false }
                index = UInt32(frame.byte(at: Int(operand)) & 0xF) &* 4
                continue
            case .and:
                accumulator &= operand
                continue
            case .jump:
                next &+= Int(operand)
                continue
            case .end: return operand > 0
            case .jumpIfEqual: isTrue = accumulator == operand
            case .jumpIfGreater: isTrue = accumulator > operand
            case .jumpIfAtLeast: isTrue = accumulator >= operand
            case .jumpIfSet: isTrue = accumulator & operand != 0
            }
            next &+= Int(isTrue ? instruction.ifTrue : instruction.ifFalse)
        }
    }

    private static func load(_ operation: Filter.Operation, from frame: RawSpan, at place: UInt64) -> UInt32? {
        let size = operation == .loadWord ? 4 : operation == .loadByte ? 1 : 2
        guard place &+ UInt64(size) <= UInt64(frame.byteCount) else { return nil }
        switch size {
        case 4: return frame.uint32(at: Int(place))
        case 2: return UInt32(frame.uint16(at: Int(place)))
        default: return UInt32(frame.byte(at: Int(place)))
        }
    }
}
