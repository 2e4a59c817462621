// An assembler for eBPF, with names for what numbers mean: as much of the instruction set as a program needs that looks into a
// packet and decides. Hold the kernel's Documentation/bpf/standardization/instruction-set.rst beside it.
//
// It knows nothing of XDP, and it checks nothing that the kernel's verifier checks anyway.

internal import CMartlet

/// Builds a program instruction by instruction. Jumps go forward, to labels that are placed later.
struct BPFAssembler {
    /// r1 is the argument, r0 the result, r1 … r5 go with a call, r6 … r9 stay.
    enum Register: UInt8 { case r0, r1, r2, r3, r4, r5, r6, r7, r8, r9 }

    /// What a load reads. Numbers keep the order of bytes that memory has.
    enum Width: UInt8 {
        case word = 0x00
        case half = 0x08
        case byte = 0x10
    }

    /// Compared as numbers without a sign.
    enum Condition: UInt8 {
        case equal = 0x10
        case greater = 0x20
        case notEqual = 0x50
        case less = 0xA0
    }

    enum Operation: UInt8 {
        case add = 0x00
        case and = 0x50
        case shiftLeft = 0x60
        case shiftRight = 0x70
        case move = 0xB0
    }

    /// A place to jump to.
    struct Label {
        fileprivate let index: Int
    }

    private var code: [martlet_bpf_instruction] = []
    private var places: [Int?] = []
    private var jumps: [(at: Int, label: Int)] = []

    /// A label that is nowhere yet.
    mutating func makeLabel() -> Label {
        places.append(nil)
        return Label(index: places.count - 1)
    }

    /// Puts the label before the next instruction.
    mutating func place(_ label: Label) {
        precondition(places[label.index] == nil, "a label is placed once")
        places[label.index] = code.count
    }

    /// destination = memory at base + offset, with zeros above.
    mutating func load(_ width: Width, _ destination: Register, from base: Register, at offset: Int) {
        emit(0x61 | width.rawValue, destination, base, offset: Int16(offset))
    }

    /// destination = destination ∘ source, on 64 bits.
    mutating func apply(_ operation: Operation, _ destination: Register, _ source: Register) {
        emit(0x0F | operation.rawValue, destination, source)
    }

    /// destination = destination ∘ value, on 64 bits.
    mutating func apply(_ operation: Operation, _ destination: Register, _ value: Int32) {
        emit(0x07 | operation.rawValue, destination, immediate: value)
    }

    /// destination = a half that was read from a packet, as a number.
    mutating func halfFromNetworkOrder(_ destination: Register) {
        emit(0xDC, destination, immediate: 16)
    }

    /// Jumps if the low 32 bits of the register compare so. Compared on 32 bits, a value with its top bit set keeps its meaning.
    mutating func jump(if register: Register, _ condition: Condition, _ value: UInt32, to label: Label) {
        jumps.append((code.count, label.index))
        emit(0x06 | condition.rawValue, register, immediate: Int32(bitPattern: value))
    }

    /// Jumps if the registers compare so, on 64 bits: addresses.
    mutating func jump(if register: Register, _ condition: Condition, _ other: Register, to label: Label) {
        jumps.append((code.count, label.index))
        emit(0x0D | condition.rawValue, register, other)
    }

    mutating func jump(to label: Label) {
        jumps.append((code.count, label.index))
        emit(0x05, .r0)
    }

    /// destination = the map behind a descriptor: one instruction in the room of two.
    mutating func loadMap(_ destination: Register, descriptor: Int32) {
        emit(0x18, destination, immediate: descriptor)
        code[code.count - 1].registers |= UInt8(MARTLET_BPF_PSEUDO_MAP_FD) << 4
        emit(0x00, .r0)
    }

    /// r0 = a function of the kernel's, of r1 … r5.
    mutating func call(_ function: Int) { emit(0x85, .r0, immediate: Int32(function)) }

    /// Ends the program with the verdict in r0.
    mutating func exit() { emit(0x95, .r0) }

    /// The program, with its jumps resolved.
    ///
    /// - Precondition: every label that is jumped to has been placed, and none lies farther than 32,767 instructions away.
    func assembled() -> [martlet_bpf_instruction] {
        var result = code
        for jump in jumps {
            guard let place = places[jump.label] else { preconditionFailure("a jump goes to a label that is nowhere") }
            result[jump.at].offset = Int16(place - jump.at - 1)
        }
        return result
    }

    private mutating func emit(
        _ opcode: UInt8, _ destination: Register, _ source: Register = .r0, offset: Int16 = 0, immediate: Int32 = 0
    ) {
        code.append(
            martlet_bpf_instruction(
                code: opcode, registers: destination.rawValue | source.rawValue << 4, offset: offset,
                immediate: immediate))
    }
}
