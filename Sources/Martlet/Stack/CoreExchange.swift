// One core's part in the exchange of frames with the other cores of its runtime.
//
//     link ─▶ sort ─┬─▶ own flows ─▶ the core's stack
//                   ├─▶ another's ─▶ ring ─▶ takeOver on that core ─▶ its stack
//                   └─▶ what all must see: a copy to each
//
// A flow's frames go to the core of its hash. That one looks whether a socket is somewhere else, if any is at all: a listener that only
// one core has, or the connections that it has accepted. So a frame makes one way, or two, and at most one to each core.

internal import CMartlet
internal import MartletStack

/// What a core has exchanged with the others.
struct ExchangeCounters: BitwiseCopyable {
    var handedOver: UInt64 = 0
    var takenOver: UInt64 = 0
    var dropped: UInt64 = 0
}

final class CoreExchange {
    let cores: StackCores
    let index: Int
    private(set) var counters = ExchangeCounters()
    /// Which interfaces have Ethernet headers.
    var isEthernet: [Bool] = []

    private let eventDescriptor: Int32
    private let incoming: [RingReference]
    private let outgoing: [RingReference]
    /// From the others, if this core has the links of one queue.
    private let departing: [RingReference]
    private var outputs: BurstTable
    private var own: Burst
    private var arrived: Burst
    /// Packets of this core to itself.
    private var looped: Burst

    /// In a frame's mark: how many cores have had it. This is for those that are to go no further.
    private static var isFinal: UInt16 { .max }
    private static var burstsARound: Int { 4 }

    init(_ cores: StackCores, index: Int, pool: borrowing FramePool, eventDescriptor: Int32) {
        self.cores = cores
        self.index = index
        self.eventDescriptor = eventDescriptor
        incoming = (0..<cores.count).map { RingReference(cores.handover(from: $0, to: index)) }
        outgoing = (0..<cores.count).map { RingReference(cores.handover(from: index, to: $0)) }
        departing = index == 0 ? (1..<cores.count).map { RingReference(cores.departure(of: $0)) } : []
        outputs = BurstTable(count: cores.count, pool: pool, capacity: Burst.defaultCapacity)
        own = pool.makeBurst()
        arrived = pool.makeBurst()
        looped = pool.makeBurst(capacity: 1024)
    }

    // MARK: In

    /// Takes in a link's frames: those that are this core's go into its stack.
    func sort(_ frames: inout Burst, on interface: UInt8, into stack: inout Stack, at now: Instant) {
        let isEthernet = isEthernet[Int(interface)]
        while let frame = frames.popFirst() {
            let destination = Self.destination(of: frame, isEthernet: isEthernet)
            if let kept = direct(frame, destination, interface, stack) { own.append(kept) }
        }
        if !own.isEmpty { stack.ingress(&own, on: interface, at: now) }
        handOver()
    }

    private static func destination(of frame: borrowing Frame, isEthernet: Bool) -> FlowDestination {
        FlowDestination(of: frame.bytes, isEthernet: isEthernet)
    }

    /// Sends a frame on its way. Returns it if it is for this core.
    private func direct(
        _ frame: consuming Frame, _ destination: FlowDestination, _ interface: UInt8, _ stack: borrowing Stack
    ) -> Frame? {
        switch destination {
        case .flow(let flow, let opens):
            let home = cores.spread.place(of: flow)
            if home != index {
                send(frame, to: home, on: interface, hops: 0)
                return nil
            }
            guard let other = elsewhere(flow, opens, hops: 0, stack) else { return frame }
            send(frame, to: other, on: interface, hops: 1)
            return nil
        case .everybody:
            for other in 0..<cores.count where other != index {
                if let copy = own.copy(of: frame) {
                    send(copy, to: other, on: interface, hops: Self.isFinal)
                } else {
                    counters.dropped &+= 1
                }
            }
            return frame
        case .first:
            if index == 0 { return frame }
            send(frame, to: 0, on: interface, hops: Self.isFinal)
            return nil
        }
    }

    /// Another core that may have the socket of a flow, if this one has not; nil if this one is to have the frame.
    private func elsewhere(_ flow: Flow, _ opens: Bool, hops: UInt16, _ stack: borrowing Stack) -> Int? {
        let ports = cores.ports
        guard ports.hasPartial, Int(hops) < cores.count - 1 else { return nil }
        let mask = ports.mask(flow.localPort, isDatagrams: flow.isDatagrams)
        let others = mask & ~(1 &<< UInt64(index))
        guard others != 0, mask != ports.everybody, !stack.knows(flow), !(opens && stack.listens(for: flow)) else {
            return nil
        }
        // The next one after this.
        let above = others & ~(UInt64.max &>> UInt64(63 - index))
        return (above != 0 ? above : others).trailingZeroBitCount
    }

    /// Takes in what other cores have handed over, and what this one has sent to itself. Returns whether there is more.
    func takeOver(into stack: inout Stack, at now: Instant) -> Bool {
        var hasMore = false
        for other in 0..<cores.count where other != index {
            var bursts = 0
            while incoming[other].take(into: &arrived) > 0 {
                counters.takenOver &+= UInt64(arrived.count)
                admit(into: &stack, at: now)
                bursts += 1
                if bursts == Self.burstsARound {
                    hasMore = true
                    break
                }
            }
        }
        if !looped.isEmpty { stack.ingressFromItself(&looped, at: now) }
        handOver()
        return hasMore
    }

    private func admit(into stack: inout Stack, at now: Instant) {
        var interface: UInt8 = 0
        while let frame = arrived.popFirst() {
            let (from, hops) = (frame.interface, frame.mark)
            if from != interface {
                admitOwn(on: interface, into: &stack, at: now)
                interface = from
            }
            var other: Int?
            if hops != Self.isFinal, cores.ports.hasPartial,
                case .flow(let flow, let opens) = Self.destination(
                    of: frame, isEthernet: from != Stack.itself && isEthernet[Int(from)])
            {
                other = elsewhere(flow, opens, hops: hops, stack)
            }
            if let other {
                send(frame, to: other, on: from, hops: hops + 1)
            } else {
                own.append(frame)
            }
        }
        admitOwn(on: interface, into: &stack, at: now)
    }

    private func admitOwn(on interface: UInt8, into stack: inout Stack, at now: Instant) {
        if own.isEmpty { return }
        if interface == Stack.itself {
            stack.ingressFromItself(&own, at: now)
        } else {
            stack.ingress(&own, on: interface, at: now)
        }
    }

    // MARK: Out

    /// Whether there is room for what one call of the stack's egress brings for the host itself.
    var hasRoom: Bool { looped.room >= Burst.defaultCapacity }

    /// A packet of this core's to the host itself.
    ///
    /// - Precondition: there is room.
    func loop(_ packet: consuming Frame, _ stack: borrowing Stack) {
        // Where every port is every core's, each connection is on the core of its flow, and its other end with it.
        if !cores.ports.hasPartial, Self.isSegment(packet) { return looped.append(packet) }
        let destination = Self.destination(of: packet, isEthernet: false)
        if let kept = direct(packet, destination, Stack.itself, stack) { looped.append(kept) }
    }

    /// Whether an IP packet of this host is a TCP segment: those are never fragments, and have no headers between.
    private static func isSegment(_ packet: borrowing Frame) -> Bool {
        let bytes = packet.bytes
        // The protocol of RFC 791 §3.1, or the next header of RFC 8200 §3; TCP is 6 in either.
        return bytes.byte(at: bytes.byte(at: 0) &>> 4 == 4 ? 9 : 6) == 6
    }

    private func send(_ frame: consuming Frame, to core: Int, on interface: UInt8, hops: UInt16) {
        var frame = frame
        (frame.interface, frame.mark) = (interface, hops)
        if outputs[core].isFull { flush(core) }
        outputs[core].append(frame)
    }

    /// Lets go of what is for others. A core that does not take it in loses frames, and no memory.
    func handOver() {
        for core in 0..<cores.count where !outputs[core].isEmpty { flush(core) }
    }

    private func flush(_ core: Int) {
        counters.handedOver &+= UInt64(outgoing[core].put(&outputs[core]))
        if outputs[core].isEmpty { return }
        counters.dropped &+= UInt64(outputs[core].count)
        outputs[core].removeAll()
    }

    /// Takes up to a burst of frames that other cores transmit by the links of this one.
    func takeDepartures(into burst: inout Burst) {
        for place in departing.indices where !burst.isFull { _ = departing[place].take(into: &burst) }
    }

    // MARK: Sleeping

    var isBusy: Bool { !looped.isEmpty }

    /// Says that the core is about to sleep on its eventfd. Returns false if there is something for it.
    func prepareToSleep() -> Bool {
        if isBusy { return false }
        for core in 0..<cores.count where core != index {
            if !incoming[core].prepareConsumer(eventDescriptor: eventDescriptor) { return false }
        }
        for place in departing.indices where !departing[place].prepareConsumer(eventDescriptor: eventDescriptor) {
            return false
        }
        return true
    }

    func wokeUp() {
        for core in 0..<cores.count where core != index { incoming[core].wokeConsumer() }
        for place in departing.indices { departing[place].wokeConsumer() }
    }
}
