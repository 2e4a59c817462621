// Where a socket is or goes: ip(7), ipv6(7), unix(7).

internal import CMartlet
public import MartletStack

/// An address that a socket can be bound or connected to.
public enum SocketAddress: Hashable, Sendable {
    case ipv4(IPv4Address, port: UInt16)
    /// `scope` is the interface index of a link-local address, else 0.
    case ipv6(IPv6Address, port: UInt16, scope: UInt32 = 0)
    /// A Unix-domain stream socket. A path that begins with `@` is a name in Linux's abstract namespace.
    case unix(path: String)

    /// Every local address, IPv6 and IPv4 alike (IPv4 alone where the machine has no IPv6). Port 0 lets the kernel choose.
    public static func any(port: UInt16) -> SocketAddress { .ipv6(.any, port: port) }

    /// 127.0.0.1. Port 0 lets the kernel choose.
    public static func loopback(port: UInt16) -> SocketAddress { .ipv4(.loopback, port: port) }

    /// Reads `192.0.2.1:80`, `[2001:db8::1]:80`, `*:80`, or `unix:/run/service.sock`. No name is looked up.
    ///
    /// - Throws: ``NetworkError/invalidAddress(_:)`` if the text is none of these.
    public init(_ text: String) throws(NetworkError) {
        if text.hasPrefix("unix:"), text.utf8.count > 5 {
            self = .unix(path: String(text.dropFirst(5)))
            return
        }
        guard let colon = text.lastIndex(of: ":"), text[colon...].dropFirst().first != "+",
            let port = UInt16(text[text.index(after: colon)...])
        else { throw .invalidAddress(text) }
        let host = text[..<colon]
        if host == "*" {
            self = .any(port: port)
        } else if let address = IPv4Address(String(host)) {
            self = .ipv4(address, port: port)
        } else if host.hasPrefix("["), host.hasSuffix("]"),
            let address = IPv6Address(String(host.dropFirst().dropLast()))
        {
            self = .ipv6(address, port: port)
        } else {
            throw .invalidAddress(text)
        }
    }

    /// The port, or nil for a Unix-domain address.
    public var port: UInt16? {
        switch self {
        case .ipv4(_, let port), .ipv6(_, let port, _): port
        case .unix: nil
        }
    }

    /// The same address with another port. A Unix-domain address stays as it is.
    public func with(port: UInt16) -> SocketAddress {
        switch self {
        case .ipv4(let address, _): .ipv4(address, port: port)
        case .ipv6(let address, _, let scope): .ipv6(address, port: port, scope: scope)
        case .unix: self
        }
    }
}

extension SocketAddress: CustomStringConvertible {
    /// The form that ``init(_:)`` reads.
    public var description: String {
        switch self {
        case .ipv4(let address, let port): "\(address):\(port)"
        case .ipv6(let address, let port, _): "[\(address)]:\(port)"
        case .unix(let path): "unix:\(path)"
        }
    }
}

extension SocketAddress {
    /// The kernel's form.
    func kernelAddress() throws(NetworkError) -> martlet_address {
        switch self {
        case .ipv4(let address, let port): return martlet_address_ipv4(address.bits, port)
        case .ipv6(let address, let port, let scope):
            return martlet_address_ipv6(address.high, address.low, port, scope)
        case .unix(let path):
            var path = path
            let address = path.withUTF8 { utf8 in
                unsafe utf8.withMemoryRebound(to: CChar.self) { unsafe martlet_address_unix($0.baseAddress, $0.count) }
            }
            guard address.length > 0 else { throw .invalidAddress(description) }
            return address
        }
    }

    init?(kernelAddress: martlet_address) {
        var address = kernelAddress
        switch Int(unsafe martlet_address_family(&address)) {
        case MARTLET_FAMILY_IPV4:
            self = .ipv4(
                IPv4Address(bits: unsafe martlet_address_ipv4_bits(&address)),
                port: unsafe martlet_address_port(&address))
        case MARTLET_FAMILY_IPV6:
            let ip = IPv6Address(
                high: unsafe martlet_address_ipv6_high(&address), low: unsafe martlet_address_ipv6_low(&address))
            let port = unsafe martlet_address_port(&address)
            if let mapped = ip.mappedIPv4 {
                self = .ipv4(mapped, port: port)
            } else {
                self = .ipv6(ip, port: port, scope: unsafe martlet_address_ipv6_scope(&address))
            }
        case MARTLET_FAMILY_UNIX:
            let path = unsafe withUnsafeTemporaryAllocation(of: CChar.self, capacity: 128) { buffer in
                let count = unsafe martlet_address_unix_path(&address, buffer.baseAddress)
                return unsafe String(
                    decoding: UnsafeRawBufferPointer(rebasing: UnsafeRawBufferPointer(buffer)[..<count]), as: UTF8.self)
            }
            self = .unix(path: path)
        default: return nil
        }
    }

    var isUnix: Bool { if case .unix = self { true } else { false } }
}
