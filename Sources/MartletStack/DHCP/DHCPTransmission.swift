// What a client sends: a message as a small value, and its bytes.
//
// Hold RFC 2131 §4.3.6 and table 5 beside it. Port 68 sends, port 67 receives.

/// By which a server knows a client (option 61).
struct DHCPClientIdentifier: BitwiseCopyable, Sendable {
    private(set) var count: Int
    private(set) var bytes = InlineArray<15, UInt8>(repeating: 0)

    /// The link address, with its hardware type before it (RFC 2132 §9.14): what most servers are configured for.
    init(_ address: MACAddress) {
        count = 7
        bytes[0] = 1
        put(address, at: 1)
    }

    /// A DUID of a link address of the host, and the number of the interface: it stays when the interface's hardware changes,
    /// and is the one that DHCPv6 uses (RFC 4361 §6.1, RFC 8415 §11.4).
    init(interface: UInt32, duid address: MACAddress) {
        count = 15
        bytes[0] = 255
        for index in 0..<4 { bytes[1 + index] = UInt8(truncatingIfNeeded: interface >> UInt32(24 - 8 * index)) }
        // DUID-LL, of Ethernet.
        (bytes[6], bytes[8]) = (3, 1)
        put(address, at: 9)
    }

    private mutating func put(_ address: MACAddress, at offset: Int) {
        let octets = address.octets
        for index in octets.indices { bytes[offset + index] = octets[index] }
    }

    /// Whether an option says just this.
    func matches(_ value: DHCPOptionValue) -> Bool {
        guard value.count == count else { return false }
        for index in 0..<count where value[index] != bytes[index] { return false }
        return true
    }
}

/// A message to be sent.
struct DHCPTransmission: BitwiseCopyable, Sendable {
    let type: DHCPMessageType
    var message: DHCPMessage
    /// Options 50 and 54, where the message has them.
    var requested: IPv4Address?
    var server: IPv4Address?
    let identifier: DHCPClientIdentifier
    let maximumMessageSize: UInt16

    /// Bytes of every message: no shorter than BOOTP's, for relays and servers that drop those (RFC 1542 §2.1).
    static var length: Int { 300 }

    /// Writes the message, and nothing beyond ``length``.
    ///
    /// - Precondition: `bytes` has so many or more.
    func write(to bytes: inout MutableRawSpan) {
        message.write(to: &bytes)
        var writer = DHCPOptionWriter()
        writer.add(.messageType, type.rawValue, to: &bytes)
        writer.begin(.clientIdentifier, identifier.count, in: &bytes)
        for index in 0..<identifier.count { writer.put(identifier.bytes[index], in: &bytes) }
        if let requested { writer.add(.requestedAddress, requested, to: &bytes) }
        if let server { writer.add(.serverIdentifier, server, to: &bytes) }
        if type != .decline {
            writer.add(.maximumMessageSize, maximumMessageSize, to: &bytes)
            let wanted = Self.parameters
            writer.begin(.parameterRequestList, wanted.count, in: &bytes)
            for index in wanted.indices { writer.put(wanted[index].rawValue, in: &bytes) }
        }
        writer.finish(at: Self.length, in: &bytes)
    }

    /// The ports of clients and servers (RFC 2131 §4.1).
    static var clientPort: UInt16 { 68 }
    static var serverPort: UInt16 { 67 }

    /// Classless routes stand before the router (RFC 3442).
    private static var parameters: InlineArray<9, DHCPOption> {
        [
            .subnetMask, .classlessRoutes, .router, .domainNameServer, .domainName, .interfaceMTU, .leaseTime,
            .renewalTime,
            .rebindingTime,
        ]
    }
}
