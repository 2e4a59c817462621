// Paths that drop full-size packets in silence: TCP tells of segments that were lost, and hears what the path takes instead.
//
// Hold RFC 8899 §4.6 beside it. What a path is known to carry is in PathMTU; what a connection makes of it in TCP/PathSize.

extension Network {
    /// Full-size segments were lost, or have arrived: a path may drop them in silence.
    mutating func hearOfFullSize(_ tcp: inout TCP, at now: Instant) {
        while let (tuple, report) = tcp.nextFullSizeReport() {
            let remote = tuple.remoteAddress
            guard !addresses.contains(remote), let path = path(to: remote, from: tuple.localAddress, at: now) else {
                continue
            }
            let link = interfaces[Int(path.interface)].mtu(for: remote)
            switch report {
            case .begins:
                let mtu = paths.mtu(to: remote, linkMTU: link, at: now)
                if mtu < link { tcp.pathMTUChanged(to: mtu, of: tuple, at: now) }
            case .arrived: paths.fullSizeAcknowledged(to: remote, at: now)
            case .lost:
                guard paths.fullSizeLost(to: remote, linkMTU: link, at: now) else { continue }
                tcp.pathMTUChanged(to: paths.mtu(to: remote, linkMTU: link, at: now), of: tuple, at: now)
            }
        }
    }
}
