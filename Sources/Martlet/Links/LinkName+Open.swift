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

    private func openTAP(_ frameRoom: Int) throws(LinkError) -> TAPLink {
        var options = TAPLink.Options()
        options.medium = kind == .tap ? .ethernet : .ip
        // The kernel may send large segments where they fit.
        options.receivesLargeSegments = frameRoom > 65_549
        return try TAPLink(name, options: options)
    }
}
