// From a name to a link, for whoever drives links on a thread of its own. A runtime opens them on its cores: `Runtime.withLink`.

public import MartletStack

extension LinkName {
    /// Opens the link, for frames of `pool`, with everything else as it is by default.
    ///
    /// `memory:` is a pipe whose frames come back: there is nobody else in this process to hold its other end.
    ///
    /// - Throws: ``LinkError``, which says what to do.
    public func open(for pool: borrowing FramePool) throws(LinkError) -> AnyLink {
        switch kind {
        case .null: AnyLink(NullLink(name: description))
        case .memory: AnyLink(MemoryLink.loopback(name, pool: pool))
        case .tap, .tun:
            AnyLink(try openTAP(pool.frameCapacity - pool.headroom))
        case .packet: AnyLink(try PacketLink(name))
        case .xdp: AnyLink(try XDPLink(interface: name, queue: queue, pool: pool))
        }
    }

    /// Opens one queue of several, each for a core of its own.
    ///
    /// - Parameters:
    ///   - place: which of them: for AF_XDP it is counted from the name's queue.
    ///   - group: a number that all queues of a runtime have in common, and no others.
    func open(queue place: Int, group: UInt16, for pool: borrowing FramePool) throws(LinkError) -> AnyLink {
        switch kind {
        case .tap, .tun: return AnyLink(try openTAP(pool.frameCapacity - pool.headroom, isMultiqueue: true))
        case .packet:
            var options = PacketLink.Options()
            options.fanout = PacketLink.Fanout(group: group, keepsFragmentsTogether: false)
            return AnyLink(try PacketLink(name, options: options))
        case .xdp: return AnyLink(try XDPLink(interface: name, queue: queue + place, pool: pool))
        case .null, .memory:
            throw .unsupported(
                link: description, what: "a queue for each core", remedy: "leave usesQueues off, or use a MemoryNetwork"
            )
        }
    }

    private func openTAP(_ frameRoom: Int, isMultiqueue: Bool = false) throws(LinkError) -> TAPLink {
        var options = TAPLink.Options()
        options.isMultiqueue = isMultiqueue
        options.medium = kind == .tap ? .ethernet : .ip
        // The kernel may send large segments where they fit.
        options.receivesLargeSegments = frameRoom > 65_549
        return try TAPLink(name, options: options)
    }
}
