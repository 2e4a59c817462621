// The messages of IPv6 neighbor discovery: who has this address, and which routers and prefixes are there.
//
//     router solicitation       133 │ reserved, 4 │ options …
//     router advertisement      134 │ RouterAdvertisement.swift
//     neighbor solicitation     135 │ reserved, 4 │ target, 16 │ options …
//     neighbor advertisement    136 │ R S O …,  4 │ target, 16 │ options …
//     redirect                  137 │ reserved, 4 │ target, 16 │ destination, 16 │ options …
//
// Hold RFC 4861 §4, §6.1, §7.1 and §8.1 beside it. What those sections ask of the message itself is checked here; what
// they ask of the packet around it (hop limit 255, which addresses it is from and to, the checksum) is for IP/ICMP.

/// A message of neighbor discovery.
@usableFromInline
enum NDPMessage: BitwiseCopyable, Sendable {
    case routerSolicitation(sourceLink: MACAddress?)
    case routerAdvertisement(RouterAdvertisement)
    case neighborSolicitation(target: IPv6Address, sourceLink: MACAddress?)
    case neighborAdvertisement(NeighborAdvertisement)
    /// Packets to `destination` are better sent to `target`, which is the destination itself if it is on this link.
    case redirect(target: IPv6Address, destination: IPv6Address, targetLink: MACAddress?)

    /// What an owner of an address says of it.
    @usableFromInline
    struct NeighborAdvertisement: BitwiseCopyable, Hashable, Sendable {
        @usableFromInline var target: IPv6Address
        @usableFromInline var targetLink: MACAddress?
        /// Whether the owner forwards packets.
        @usableFromInline var isRouter: Bool
        /// Whether it answers a solicitation.
        @usableFromInline var isSolicited: Bool
        /// Whether it replaces a link address that is known already.
        @usableFromInline var isOverride: Bool

        @usableFromInline
        init(
            target: IPv6Address, targetLink: MACAddress?, isRouter: Bool = false, isSolicited: Bool, isOverride: Bool
        ) {
            self.target = target
            self.targetLink = targetLink
            self.isRouter = isRouter
            self.isSolicited = isSolicited
            self.isOverride = isOverride
        }
    }

    /// Reads a message, from its ICMPv6 header to the end of the packet; `nil` if it is none of these, has a code, is cut
    /// short, has a target that cannot be, or has options whose lengths cannot be.
    @usableFromInline
    init?(parsing message: RawSpan) {
        guard let header = ICMPv6Message(parsing: message), header.code == 0 else { return nil }
        switch header.type {
        case 133:
            guard let options = NDPOptions(parsing: message.from(8)) else { return nil }
            self = .routerSolicitation(sourceLink: options.sourceLink)
        case 134:
            guard let advertisement = RouterAdvertisement(parsing: message) else { return nil }
            self = .routerAdvertisement(advertisement)
        case 135:
            guard let (target, options) = Self.target(message, optionsAt: 24) else { return nil }
            self = .neighborSolicitation(target: target, sourceLink: options.sourceLink)
        case 136:
            guard let (target, options) = Self.target(message, optionsAt: 24) else { return nil }
            self = .neighborAdvertisement(
                NeighborAdvertisement(
                    target: target, targetLink: options.targetLink, isRouter: header.rest & 1 &<< 31 != 0,
                    isSolicited: header.rest & 1 &<< 30 != 0, isOverride: header.rest & 1 &<< 29 != 0))
        case 137:
            guard let (target, options) = Self.target(message, optionsAt: 40) else { return nil }
            let destination = message.ipv6Address(at: 24)
            // RFC 4861 §8.1: a router is named by its link-local address.
            guard !destination.isMulticast, target == destination || target.isLinkLocal else { return nil }
            self = .redirect(target: target, destination: destination, targetLink: options.targetLink)
        default:
            return nil
        }
    }

    /// RFC 4861 §7.1 and §8.1: a target is one host's address.
    private static func target(_ message: RawSpan, optionsAt offset: Int) -> (IPv6Address, NDPOptions)? {
        guard message.byteCount >= offset, let options = NDPOptions(parsing: message.from(offset)) else { return nil }
        let target = message.ipv6Address(at: 8)
        return target.isMulticast || target == .any ? nil : (target, options)
    }
}

// MARK: - Writing

extension NDPMessage {
    /// Bytes that ``write(to:)`` writes.
    @usableFromInline
    var length: Int {
        switch self {
        case .routerSolicitation(let sourceLink): sourceLink == nil ? 8 : 16
        case .neighborSolicitation(_, let sourceLink): sourceLink == nil ? 24 : 32
        case .neighborAdvertisement(let advertisement): advertisement.targetLink == nil ? 24 : 32
        case .routerAdvertisement, .redirect: 0
        }
    }

    /// Writes a message that hosts send, ``length`` bytes, with a checksum of 0 that is yet to be computed.
    ///
    /// - Precondition: `bytes` has so many or more, and this is no message of routers.
    @usableFromInline
    func write(to bytes: inout MutableRawSpan) {
        switch self {
        case .routerSolicitation(let sourceLink):
            bytes.store(133 &<< 24 as UInt32, at: 0)
            bytes.store(0 as UInt32, at: 4)
            NDPOptions.write(sourceLink, kind: NDPOptions.Kind.sourceLink, to: &bytes, at: 8)
        case .neighborSolicitation(let target, let sourceLink):
            bytes.store(135 &<< 24 as UInt32, at: 0)
            bytes.store(0 as UInt32, at: 4)
            bytes.store(target, at: 8)
            NDPOptions.write(sourceLink, kind: NDPOptions.Kind.sourceLink, to: &bytes, at: 24)
        case .neighborAdvertisement(let advertisement):
            let router: UInt32 = advertisement.isRouter ? 1 &<< 31 : 0
            let solicited: UInt32 = advertisement.isSolicited ? 1 &<< 30 : 0
            let override: UInt32 = advertisement.isOverride ? 1 &<< 29 : 0
            bytes.store(136 &<< 24 as UInt32, at: 0)
            bytes.store(router | solicited | override, at: 4)
            bytes.store(advertisement.target, at: 8)
            NDPOptions.write(advertisement.targetLink, kind: NDPOptions.Kind.targetLink, to: &bytes, at: 24)
        case .routerAdvertisement, .redirect:
            preconditionFailure("only routers send this")
        }
    }
}
