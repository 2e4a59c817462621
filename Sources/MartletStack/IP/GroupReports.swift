// Routers hear of our groups: IGMPv3 (RFC 3376 §5) and MLDv2 (RFC 3810 §6), and the older versions for older routers (§7.2, §8.2).
//
//     join, leave ──▶ a change ── at once, and again within a second ──▶ report
//     a question  ──▶ an answer ── at a random instant of its time ────▶ report
//
// Losses are made up for by saying it twice or as often as the router asks. Hosts of older versions keep quiet if another member
// answers first. Groups matter to switches as well, which listen to these messages to know where to send what (RFC 4541).

/// What is known of the router that asks on an interface, for one IP version.
struct GroupQuerier: BitwiseCopyable {
    /// Defaults of RFC 3376 §8 and RFC 3810 §9, the interval in nanoseconds.
    var robustness: UInt8 = 2
    var interval: Int64 = 125_000_000_000
    /// The version that is spoken. The third holds for ever, an older one as long as a router needs it.
    var version = MembershipVersion.third
    var olderUntil = Instant.distantFuture
    /// When a question for all groups is to be answered.
    var answerAt = Instant.distantFuture

    /// Nanoseconds between a change and its repetition, at most (RFC 3376 §8.11, RFC 3810 §9.11).
    static var repetition: Int64 { 1_000_000_000 }
}

extension Network {
    /// Where ``queriers`` has what asks on an interface.
    private func querier(_ interface: UInt8, isIPv4: Bool) -> Int { 2 * Int(interface) + (isIPv4 ? 0 : 1) }

    mutating func join(
        _ group: IPAddress, on interface: UInt8, for joining: MulticastGroups.Joining, at now: Instant
    ) -> Bool {
        defer { maintainSoon() }
        let robustness = queriers[querier(interface, isIPv4: group.bitWidth == 32)].robustness
        return groups.join(group, on: interface, for: joining, robustness: robustness, at: now)
    }

    mutating func leave(
        _ group: IPAddress, on interface: UInt8, for joining: MulticastGroups.Joining, at now: Instant
    ) -> Bool {
        defer { maintainSoon() }
        let robustness = queriers[querier(interface, isIPv4: group.bitWidth == 32)].robustness
        return groups.leave(group, on: interface, for: joining, robustness: robustness, at: now)
    }

    // MARK: Questions

    /// An IGMP message has come.
    mutating func igmpArrives(_ message: RawSpan, _ packet: IPv4Header, _ arrival: Arrival) {
        guard message.onesComplementSum() == 0xFFFF else { return drop(.badChecksum) }
        // §4: they go one hop. What comes from farther away pretends.
        guard packet.timeToLive == 1 else { return drop(.ignoredMembership) }
        if let query = MembershipQuery(igmp: message) {
            queryArrives(query, isIPv4: true, arrival)
        } else if let group = MembershipQuery.groupReported(igmp: message) {
            otherMemberAnswers(for: group, arrival)
        } else {
            drop(.ignoredMembership)
        }
    }

    /// An MLD message has come, with a right checksum.
    mutating func mldArrives(_ message: RawSpan, _ packet: IPv6Header, _ arrival: Arrival) {
        // RFC 3810 §6.2: nothing that could have come from another link is believed.
        guard packet.hopLimit == 1, arrival.hasRouterAlert, packet.source.isLinkLocal else {
            return drop(.ignoredMembership)
        }
        if let query = MembershipQuery(mld: message) {
            queryArrives(query, isIPv4: false, arrival)
        } else if let group = MembershipQuery.groupReported(mld: message) {
            otherMemberAnswers(for: group, arrival)
        } else {
            drop(.ignoredMembership)
        }
    }

    private mutating func queryArrives(_ query: MembershipQuery, isIPv4: Bool, _ arrival: Arrival) {
        let (now, number) = (arrival.now, querier(arrival.interface, isIPv4: isIPv4))
        if query.robustness > 0 { queriers[number].robustness = query.robustness }
        if query.interval > 0 { queriers[number].interval = query.interval }
        if query.version < .third {
            // §8.12: as long as an older router would take to miss some of its own questions, and an answer.
            if query.version <= queriers[number].version {
                speak(query.version, arrival.interface, isIPv4: isIPv4)
                let wait = Int64(queriers[number].robustness) * queriers[number].interval + query.responseTime
                queriers[number].olderUntil = now.advanced(byNanoseconds: wait)
            }
        }
        let answerAt = now.advanced(byNanoseconds: Int64.random(in: 0...query.responseTime, using: &random))
        defer { maintainSoon() }
        // §5.2: an answer for all groups that comes sooner will do.
        if queriers[number].answerAt <= answerAt { return }
        if let group = query.group {
            guard let position = groups.find(group, arrival.interface), groups.answers(position) else { return }
            groups[position].answerAt = min(groups[position].answerAt, answerAt)
        } else if queriers[number].version == .third {
            queriers[number].answerAt = answerAt
        } else {
            // Each group has a message, and an instant, of its own.
            for position in 0..<groups.count
            where groups[position].interface == arrival.interface && isIPv4 == (groups[position].group.bitWidth == 32) {
                let own = now.advanced(byNanoseconds: Int64.random(in: 0...query.responseTime, using: &random))
                if groups.answers(position) { groups[position].answerAt = min(groups[position].answerAt, own) }
            }
        }
    }

    /// RFC 2236 §3, RFC 2710 §4: the older versions need one answer for each group, whoever gives it.
    private mutating func otherMemberAnswers(for group: IPAddress, _ arrival: Arrival) {
        let version = queriers[querier(arrival.interface, isIPv4: group.bitWidth == 32)].version
        guard version < .third, let position = groups.find(group, arrival.interface) else { return }
        groups[position].answerAt = .distantFuture
    }

    /// Changes the version that is spoken: what is still to be said in the other is not (RFC 3376 §7.2.1, RFC 3810 §8.2.1).
    private mutating func speak(_ version: MembershipVersion, _ interface: UInt8, isIPv4: Bool) {
        let number = querier(interface, isIPv4: isIPv4)
        guard queriers[number].version != version else { return }
        (queriers[number].version, queriers[number].answerAt) = (version, .distantFuture)
        for position in (0..<groups.count).reversed()
        where groups[position].interface == interface && isIPv4 == (groups[position].group.bitWidth == 32) {
            groups[position].changesLeft = 0
            (groups[position].changeAt, groups[position].answerAt) = (.distantFuture, .distantFuture)
            if !groups[position].isMember { groups.remove(position) }
        }
    }

    // MARK: Answers

    /// Says what is due. Returns when something is due next.
    mutating func reportGroups(at now: Instant) -> Instant {
        var next = Instant.distantFuture
        for number in queriers.indices {
            let (interface, isIPv4) = (UInt8(number / 2), number & 1 == 0)
            if queriers[number].olderUntil <= now {
                queriers[number].olderUntil = .distantFuture
                speak(.third, interface, isIPv4: isIPv4)
            }
            if queriers[number].answerAt <= now {
                queriers[number].answerAt = .distantFuture
                for position in 0..<groups.count
                where groups[position].interface == interface && isIPv4 == (groups[position].group.bitWidth == 32) {
                    if groups.answers(position) { groups[position].answerAt = now }
                }
            }
            report(.changes, interface, isIPv4: isIPv4, at: now)
            report(.answers, interface, isIPv4: isIPv4, at: now)
            next = min(next, queriers[number].olderUntil, queriers[number].answerAt)
        }
        return min(next, groups.nextDeadline)
    }

    /// The reports of one kind that are due, on one interface. A loop ends because each turn makes some of them not due any more.
    private mutating func report(
        _ kind: MulticastGroups.Kind, _ interface: UInt8, isIPv4: Bool, at now: Instant
    ) {
        let version = queriers[querier(interface, isIPv4: isIPv4)].version
        while let first = groups.firstDue(kind, interface, isIPv4: isIPv4, at: now) {
            guard var frame = frames.takeFrame() else {
                // As if it had been lost; what is said again is said again.
                drop(.noRoom)
                takeNote(first, kind, at: now)
                continue
            }
            guard version == .third else {
                let (group, record) = (groups[first].group, groups.record(first, kind))
                takeNote(first, kind, at: now)
                // The first version has no farewell.
                if version == .first, record == .left { continue }
                frame.setLength(MembershipReport.olderLength(isIPv4: isIPv4))
                var bytes = frame.mutableBytes
                MembershipReport.writeOlder(record, of: group, version, &bytes)
                send(frame, to: record == .left ? .allRouters(isIPv4: isIPv4) : group, on: interface)
                continue
            }
            // 40 bytes are enough for either IP header and its option.
            let room = min(frame.tailroom, interfaces[Int(interface)].mtu - 48) - 8
            let most = room / MembershipReport.recordLength(isIPv4: isIPv4)
            let due = min(groups.dueCount(kind, interface, isIPv4: isIPv4, at: now), most)
            frame.setLength(MembershipReport.length(records: due, isIPv4: isIPv4))
            var bytes = frame.mutableBytes
            MembershipReport.writeHeader(records: due, isIPv4: isIPv4, &bytes)
            for number in 0..<due {
                guard let position = groups.firstDue(kind, interface, isIPv4: isIPv4, at: now) else { break }
                MembershipReport.write(
                    groups.record(position, kind), of: groups[position].group, number: number, &bytes)
                takeNote(position, kind, at: now)
            }
            send(frame, to: .reportDestination(isIPv4: isIPv4), on: interface)
        }
    }

    /// Something has been said: when is it to be said again?
    private mutating func takeNote(_ position: Int, _ kind: MulticastGroups.Kind, at now: Instant) {
        let wait = Int64.random(in: 1...GroupQuerier.repetition, using: &random)
        groups.takeNote(position, kind, repeatAt: now.advanced(byNanoseconds: wait))
    }

    /// Sends a message whose checksum is 0 as yet to a group.
    private mutating func send(_ message: consuming Frame, to group: IPAddress, on interface: UInt8) {
        var frame = message
        switch group {
        case .v4(let destination):
            var bytes = frame.mutableBytes
            bytes.store(~bytes.bytes.onesComplementSum(), at: 2)
            let source = sourceAddress4(for: destination, nextHop: destination, on: interface) ?? .any
            IPOut.prependAlerting(from: source, to: destination, &frame)
            sendToGroup(frame, .ipv4, .multicast(destination), on: interface)
        case .v6(let destination):
            // RFC 3810 §5.2.13: from this link's address, or from none as long as there is none.
            var source = IPv6Address.any
            for entry in addresses.entries where entry.interface == interface && entry.isUsable {
                if case .v6(let address) = entry.address, address.isLinkLocal { source = address }
            }
            var bytes = frame.mutableBytes
            var checksum = Checksum.pseudoHeader(
                source: source, destination: destination, protocol: IPProtocol.icmpv6.rawValue,
                length: bytes.byteCount)
            checksum.add(bytes.bytes)
            bytes.store(checksum.value, at: 2)
            IPOut.prependAlerting(from: source, to: destination, &frame)
            sendToGroup(frame, .ipv6, .multicast(destination), on: interface)
        }
    }
}

// MARK: - What is due

extension MulticastGroups {
    enum Kind: BitwiseCopyable {
        case changes, answers
    }

    /// Whether questions about a group are answered: we are in it, and routers are told of it at all.
    func answers(_ position: Int) -> Bool { self[position].isMember && Self.isReported(self[position].group) }

    func firstDue(_ kind: Kind, _ interface: UInt8, isIPv4: Bool, at now: Instant) -> Int? {
        (0..<count).first { isDue($0, kind, interface, isIPv4: isIPv4, at: now) }
    }

    func dueCount(_ kind: Kind, _ interface: UInt8, isIPv4: Bool, at now: Instant) -> Int {
        var due = 0
        for position in 0..<count where isDue(position, kind, interface, isIPv4: isIPv4, at: now) { due += 1 }
        return due
    }

    private func isDue(_ position: Int, _ kind: Kind, _ interface: UInt8, isIPv4: Bool, at now: Instant) -> Bool {
        let membership = self[position]
        guard membership.interface == interface, isIPv4 == (membership.group.bitWidth == 32) else { return false }
        return (kind == .changes ? membership.changeAt : membership.answerAt) <= now
    }

    func record(_ position: Int, _ kind: Kind) -> MembershipRecord {
        if kind == .answers { return .isMember }
        return self[position].isMember ? .joined : .left
    }

    /// Something of a kind has been said of a group. A change that is to be said again is at `instant`; a group that was left is
    /// forgotten with the last time.
    mutating func takeNote(_ position: Int, _ kind: Kind, repeatAt instant: Instant) {
        if kind == .answers {
            self[position].answerAt = .distantFuture
            return
        }
        self[position].changesLeft -= 1
        self[position].changeAt = self[position].changesLeft > 0 ? instant : .distantFuture
        if self[position].changesLeft == 0, !self[position].isMember { remove(position) }
    }
}
