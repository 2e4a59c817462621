// One end of a connection or datagram: an address and a port, and the text they are written as (RFC 5952 §6).

/// An IP address and a TCP or UDP port.
public struct Endpoint: BitwiseCopyable, Hashable, Sendable {
    /// The address itself.
    public var address: IPAddress
    /// 0 stands for none, or for any.
    public var port: UInt16

    /// The end at `port` of `address`.
    public init(_ address: IPAddress, port: UInt16) {
        (self.address, self.port) = (address, port)
    }
}

extension Endpoint: LosslessStringConvertible {
    /// Reads `192.0.2.1:80` or `[2001:db8::1]:80`: the port in decimal, without a sign, and nothing else.
    public init?(_ text: String) {
        guard let colon = text.lastIndex(of: ":") else { return nil }
        let digits = text[text.index(after: colon)...]
        guard !digits.isEmpty, digits.utf8.allSatisfy({ $0 >= 48 && $0 <= 57 }), let port = UInt16(digits) else {
            return nil
        }
        let host = text[..<colon]
        if host.first == "[", host.last == "]" {
            guard let address = IPv6Address(String(host.dropFirst().dropLast())) else { return nil }
            self.init(.v6(address), port: port)
        } else {
            guard let address = IPv4Address(String(host)) else { return nil }
            self.init(.v4(address), port: port)
        }
    }

    /// The address and the port, with brackets around an IPv6 address.
    public var description: String {
        switch address {
        case .v4: "\(address):\(port)"
        case .v6: "[\(address)]:\(port)"
        }
    }
}
