// What a connection needs only while something is being repaired, on either side, or is urgent: it is taken when that begins, and given
// back when it is over. Most connections have never lost anything, and a million that are idle do not pay for it.

/// What is known of a repair: 56 bytes that are not in the TCB.
struct Repair: BitwiseCopyable {
    /// Sending: what would show that the reduction was for nothing.
    var spurious = SpuriousDetection()
    /// How much may go, and what of that is left of this ACK.
    var prr = PRR(recoverFS: 1)
    var allowance: UInt32 = 0
    /// SND.NXT when it was over: what is reported of it comes before the ACK of anything that was sent later.
    var overAt = SequenceNumber(0)
    /// Receiving: within the range that came last out of order, which SACK reports first.
    var lastRange = SequenceNumber(0)
    /// What came twice, and is to be reported by the next ACK (RFC 2883); empty if nothing did.
    var duplicate = SACKBlock(start: SequenceNumber(0), end: SequenceNumber(0))
    var urgent = UrgentMarks()
}

/// Those of all connections: as many as there may be connections, so that there is always one. Memory is touched as they are used,
/// and the one that was given back last is used first.
struct Repairs: ~Copyable {
    static var none: UInt32 { .max }

    struct Place: BitwiseCopyable {
        var repair = Repair()
        var next = Repairs.none
    }

    private var table: PlainTable<Place>
    private var firstFree = Repairs.none
    private var touched: UInt32 = 0
    /// How many are taken.
    private(set) var count = 0

    init(capacity: Int) { table = PlainTable(capacity: capacity) }

    /// - Precondition: it is taken.
    subscript(place: UInt32) -> Repair {
        _read { yield table[Int(place)].repair }
        _modify { yield &table[Int(place)].repair }
    }

    /// - Precondition: fewer are taken than there may be connections.
    mutating func take() -> UInt32 {
        var place = firstFree
        if place == Repairs.none {
            place = touched
            touched += 1
        } else {
            firstFree = table[Int(place)].next
        }
        table[Int(place)] = Place()
        count += 1
        return place
    }

    mutating func release(_ place: UInt32) {
        table[Int(place)].next = firstFree
        firstFree = place
        count -= 1
    }
}

extension TCB {
    /// The place of this connection's, which is taken if there is none.
    mutating func takeRepair(_ stack: inout Connections) -> UInt32 {
        if repair == Repairs.none { repair = stack.repairs.take() }
        return repair
    }

    /// Nothing is missing any more on the way out, or less than that is known.
    mutating func repairIsOver(_ stack: inout Connections) {
        guard repair != Repairs.none else { return }
        stack.repairs[repair].spurious.frto = .off
        stack.repairs[repair].overAt = snd.nxt
    }

    /// Gives back what is not needed any more: nothing is being repaired on either side, nothing is to be reported, and whatever the peer
    /// may still say of the last repair has been said.
    @inline(__always)
    mutating func giveUnusedRepair(_ stack: inout Connections) {
        if repair != Repairs.none { giveRepairIfUnused(&stack) }
    }

    @inline(never)
    private mutating func giveRepairIfUnused(_ stack: inout Connections) {
        guard phase == .open, outOfOrder.isEmpty, flags.isDisjoint(with: [.urgentArrived, .urgentSent]) else { return }
        let isReported = stack.repairs[repair].duplicate.start >= stack.repairs[repair].duplicate.end
        guard isReported, !stack.repairs[repair].spurious.isArmed || snd.una > stack.repairs[repair].overAt else {
            return
        }
        releaseRepair(&stack)
    }

    mutating func releaseRepair(_ stack: inout Connections) {
        guard repair != Repairs.none else { return }
        stack.repairs.release(repair)
        repair = Repairs.none
    }

    /// Where F-RTO stands (RFC 5682).
    @inline(__always)
    func frto(_ stack: borrowing Connections) -> SpuriousDetection.FRTO {
        repair == Repairs.none ? .off : stack.repairs[repair].spurious.frto
    }

    /// Bytes leave: of what PRR allows, less is left.
    @inline(__always)
    mutating func noteSentInRepair(_ count: UInt32, _ stack: inout Connections) {
        guard repair != Repairs.none else { return }
        stack.repairs[repair].prr.sent(count)
        let allowance = stack.repairs[repair].allowance
        stack.repairs[repair].allowance = allowance > count ? allowance - count : 0
    }

    /// What came twice and has not been reported; nil if nothing did.
    @inline(__always)
    func unreportedDuplicate(_ stack: borrowing Connections) -> SACKBlock? {
        guard repair != Repairs.none else { return nil }
        let duplicate = stack.repairs[repair].duplicate
        return duplicate.start < duplicate.end ? duplicate : nil
    }
}
