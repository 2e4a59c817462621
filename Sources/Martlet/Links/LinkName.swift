// Links by name, as on a command line: `memory:a`, `tap:tap0`, `xdp:eth0/1`.

/// What a link is called, and so what it is.
///
///     null:NAME   memory:NAME   tap:NAME   tun:NAME   packet:INTERFACE   xdp:INTERFACE[/QUEUE]
public struct LinkName: Sendable, Hashable, CustomStringConvertible {
    public enum Kind: String, Sendable, CaseIterable {
        /// A source and sink of frames.
        case null
        /// One end of a pipe: the first to open a name gets one end, the second the other.
        case memory
        /// A TAP: Ethernet frames to and from this machine's kernel.
        case tap
        /// A TUN: IP packets to and from this machine's kernel.
        case tun
        /// An interface, through AF_PACKET.
        case packet
        /// A queue of an interface, through AF_XDP.
        case xdp
    }

    public var kind: Kind
    /// The name behind the colon: the interface's, where there is one.
    public var name: String
    /// The queue behind the slash, 0 if there is none.
    public var queue: Int

    public init(_ kind: Kind, _ name: String, queue: Int = 0) {
        self.kind = kind
        self.name = name
        self.queue = queue
    }

    /// - Throws: ``LinkError/invalid(link:reason:)``.
    public init(_ text: String) throws(LinkError) {
        let kinds = Kind.allCases.map(\.rawValue).joined(separator: ", ")
        guard let colon = text.firstIndex(of: ":"), let kind = Kind(rawValue: String(text[..<colon])) else {
            throw .invalid(link: text, reason: "a link is called KIND:NAME, where KIND is one of \(kinds)")
        }
        var name = text[text.index(after: colon)...]
        var queue = 0
        if kind == .xdp, let slash = name.firstIndex(of: "/") {
            guard let number = Int(name[name.index(after: slash)...]), number >= 0 else {
                throw .invalid(link: text, reason: "what is behind the slash is not the number of a queue")
            }
            queue = number
            name = name[..<slash]
        }
        guard !name.isEmpty else { throw .invalid(link: text, reason: "there is no name behind the colon") }
        self.init(kind, String(name), queue: queue)
    }

    public var description: String { queue == 0 ? "\(kind.rawValue):\(name)" : "\(kind.rawValue):\(name)/\(queue)" }

    public static func null(_ name: String = "null") -> LinkName { LinkName(.null, name) }
    public static func memory(_ name: String) -> LinkName { LinkName(.memory, name) }
    public static func tap(_ name: String) -> LinkName { LinkName(.tap, name) }
    public static func tun(_ name: String) -> LinkName { LinkName(.tun, name) }
    public static func packet(_ interface: String) -> LinkName { LinkName(.packet, interface) }
    public static func xdp(_ interface: String, queue: Int = 0) -> LinkName {
        LinkName(.xdp, interface, queue: queue)
    }
}
