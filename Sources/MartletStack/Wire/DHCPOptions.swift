// The options of a DHCP message: where they stand, and what one of them says.
//
//     │ code, 1 │ length, 1 │ value …        PAD (0) and END (255) are codes without length and value
//
// They begin behind the magic cookie, and may go on in the fields `file` and `sname` (option 52, RFC 2132 §9.3). One that is
// longer than 255 bytes, or is split between fields, stands there several times: what is said in all of them is one value (RFC
// 3396). A value of a fixed length that stands there twice is too long then, and means nothing.

/// The codes that have a meaning here (RFC 2132; RFC 3442 for `classlessRoutes`).
enum DHCPOption: UInt8, BitwiseCopyable, Sendable {
    case subnetMask = 1
    case router = 3
    case domainNameServer = 6
    case domainName = 15
    case interfaceMTU = 26
    case requestedAddress = 50
    case leaseTime = 51
    case overload = 52
    case messageType = 53
    case serverIdentifier = 54
    case parameterRequestList = 55
    case maximumMessageSize = 57
    case renewalTime = 58
    case rebindingTime = 59
    case clientIdentifier = 61
    case classlessRoutes = 121

    static var pad: UInt8 { 0 }
    static var end: UInt8 { 255 }
}

/// The value of one option, all its parts together.
struct DHCPOptionValue: BitwiseCopyable {
    static var capacity: Int { 256 }

    /// Bytes of the value. Of more than 256, which nothing here needs, the first 256 are kept.
    private(set) var count = 0
    private var bytes = InlineArray<256, UInt8>(repeating: 0)

    /// - Precondition: `index` is below `count` and 256.
    subscript(index: Int) -> UInt8 {
        precondition(index < count, "beyond the value")
        return bytes[index]
    }

    /// Bytes that are kept.
    var keptCount: Int { min(count, Self.capacity) }

    fileprivate mutating func append(_ part: RawSpan) {
        for offset in 0..<part.byteCount where count &+ offset < Self.capacity {
            bytes[count &+ offset] = part.byte(at: offset)
        }
        count &+= part.byteCount
    }

    /// The value as a number of just so many bytes.
    var uint8: UInt8? { count == 1 ? bytes[0] : nil }
    var uint16: UInt16? { count == 2 ? UInt16(bytes[0]) &<< 8 | UInt16(bytes[1]) : nil }
    var uint32: UInt32? { count == 4 ? word(at: 0) : nil }
    var address: IPv4Address? { uint32.map { IPv4Address(bits: $0) } }

    /// The address at byte `offset`.
    ///
    /// - Precondition: it is within what is kept.
    func address(at offset: Int) -> IPv4Address { IPv4Address(bits: word(at: offset)) }

    private func word(at offset: Int) -> UInt32 {
        var word: UInt32 = 0
        for index in offset..<offset + 4 { word = word &<< 8 | UInt32(self[index]) }
        return word
    }
}

/// The layout of a message's options.
struct DHCPOptions: BitwiseCopyable {
    /// Bits of option 52.
    private var overload: UInt8 = 0

    /// Looks through all options of a message; `nil` if one is cut, or a field that has options does not end with END.
    ///
    /// - Precondition: the fixed part of the message has been read from it.
    init?(in message: RawSpan) {
        var value = DHCPOptionValue()
        guard Self.gather(.overload, in: message, DHCPMessage.optionsOffset..<message.byteCount, &value) else {
            return nil
        }
        if value.count > 0 {
            guard let bits = value.uint8, bits >= 1, bits <= 3 else { return nil }
            overload = bits
        }
        var unused = DHCPOptionValue()
        if overload & 1 != 0, !Self.gather(.overload, in: message, DHCPMessage.file, &unused) { return nil }
        if overload & 2 != 0, !Self.gather(.overload, in: message, DHCPMessage.sname, &unused) { return nil }
    }

    /// What an option says; of no bytes if it is absent.
    ///
    /// - Precondition: this is the layout of `message`.
    func value(of option: DHCPOption, in message: RawSpan) -> DHCPOptionValue {
        // In the order of RFC 3396 §5.
        var value = DHCPOptionValue()
        _ = Self.gather(option, in: message, DHCPMessage.optionsOffset..<message.byteCount, &value)
        if overload & 1 != 0 { _ = Self.gather(option, in: message, DHCPMessage.file, &value) }
        if overload & 2 != 0 { _ = Self.gather(option, in: message, DHCPMessage.sname, &value) }
        return value
    }

    /// Appends what a field says of an option. Returns false if an option is cut, or END is missing.
    private static func gather(
        _ wanted: DHCPOption, in message: RawSpan, _ field: Range<Int>, _ value: inout DHCPOptionValue
    ) -> Bool {
        var offset = field.lowerBound
        // Each turn takes a byte or more.
        while offset < field.upperBound {
            let code = message.byte(at: offset)
            if code == DHCPOption.end { return true }
            offset &+= 1
            if code == DHCPOption.pad { continue }
            guard offset < field.upperBound else { return false }
            let length = Int(message.byte(at: offset))
            offset &+= 1
            guard length <= field.upperBound &- offset else { return false }
            if code == wanted.rawValue { value.append(message.extracting(offset..<offset &+ length)) }
            offset &+= length
        }
        return false
    }
}

// MARK: - Writing

/// Writes options one behind the other.
struct DHCPOptionWriter: BitwiseCopyable {
    /// Where the next option goes.
    private(set) var offset = DHCPMessage.optionsOffset

    /// - Precondition: there is room, as for all of these.
    mutating func add(_ option: DHCPOption, _ value: UInt8, to bytes: inout MutableRawSpan) {
        begin(option, 1, in: &bytes)
        put(value, in: &bytes)
    }

    mutating func add(_ option: DHCPOption, _ value: UInt16, to bytes: inout MutableRawSpan) {
        begin(option, 2, in: &bytes)
        bytes.store(value, at: offset)
        offset += 2
    }

    mutating func add(_ option: DHCPOption, _ value: IPv4Address, to bytes: inout MutableRawSpan) {
        begin(option, 4, in: &bytes)
        bytes.store(value, at: offset)
        offset += 4
    }

    /// Writes code and length; the value's bytes are put behind them.
    mutating func begin(_ option: DHCPOption, _ length: Int, in bytes: inout MutableRawSpan) {
        put(option.rawValue, in: &bytes)
        put(UInt8(length), in: &bytes)
    }

    mutating func put(_ byte: UInt8, in bytes: inout MutableRawSpan) {
        bytes.store(byte, at: offset)
        offset += 1
    }

    /// Writes END, and PAD up to `end`.
    mutating func finish(at end: Int, in bytes: inout MutableRawSpan) {
        put(DHCPOption.end, in: &bytes)
        while offset < end { put(DHCPOption.pad, in: &bytes) }
    }
}
