// Readers of options and headers, alone: the first byte says which, the others are what it reads. TCP's options are read a second
// time, in the plainest way there is, and both have to agree.

@testable import MartletStack

enum OptionsTarget {
    static func run(_ bytes: [UInt8]) throws(Violation) {
        guard let first = bytes.first else { return }
        let body = Array(bytes.dropFirst())
        switch first % 8 {
        case 0: try tcp(Array(body.prefix(40)))
        case 1: try segment(body)
        case 2: try ipv4(body)
        case 3: try ipv6(body)
        case 4: neighborDiscovery(body)
        case 5: dhcp(body)
        case 6: try icmp(body)
        default: _ = ARPPacket(parsing: body.raw)
        }
    }

    // MARK: TCP

    /// What the plain reader has found.
    struct Plain: Equatable {
        var mss: UInt16 = 0
        var scale: UInt8 = 255
        var isSACKPermitted = false
        var timestamps: [UInt32] = []
        var blocks: [UInt32] = []
        var userTimeout: UInt16 = 0
        var cookie: [UInt8]?
        var isMalformed = false

        init() {}

        /// By the letter of RFC 9293 §3.1 and the RFC of each option.
        init(_ bytes: [UInt8]) {
            var rest = bytes[...]
            while let kind = rest.popFirst(), kind != 0 {
                if kind == 1 { continue }
                guard let length = rest.popFirst(), length >= 2, Int(length) - 2 <= rest.count else {
                    isMalformed = true
                    return
                }
                let content = Array(rest.prefix(Int(length) - 2))
                rest = rest.dropFirst(content.count)
                switch (kind, length) {
                case (2, 4): mss = content.number16(at: 0)
                case (3, 3): scale = min(content[0], 14)
                case (4, 2): isSACKPermitted = true
                case (5, 10), (5, 18), (5, 26), (5, 34):
                    blocks = stride(from: 0, to: content.count, by: 4).map { content.number32(at: $0) }
                case (8, 10): timestamps = [content.number32(at: 0), content.number32(at: 4)]
                case (28, 4): userTimeout = content.number16(at: 0)
                case (34, 2), (34, 6), (34, 8), (34, 10), (34, 12), (34, 14), (34, 16), (34, 18): cookie = content
                default: break
                }
            }
        }

        /// The same of what the stack has read.
        init(_ options: TCPOptions) {
            mss = options.maximumSegmentSize
            scale = options.windowScale
            isSACKPermitted = options.isSACKPermitted
            if options.hasTimestamps { timestamps = [options.timestampValue, options.timestampEcho] }
            for index in 0..<Int(options.sackCount) {
                blocks += [options.sackBlocks[index].start.bits, options.sackBlocks[index].end.bits]
            }
            userTimeout = options.userTimeout
            if options.fastOpenLength != 255 {
                cookie = (0..<Int(options.fastOpenLength)).map { options.fastOpenCookie[$0] }
            }
            isMalformed = options.isMalformed
        }
    }

    static func tcp(_ bytes: [UInt8]) throws(Violation) {
        let options = TCPOptions(parsing: bytes.raw)
        var plain = Plain(bytes)
        let read = Plain(options)
        try Violation.unless(read == plain, "read \(read), and it is \(plain)")
        var quick = TCPOptions()
        if quick.readTimestampsOnly(bytes.raw) || quick.readUsualSYN(bytes.raw) {
            try Violation.unless(Plain(quick) == plain, "read at a glance as \(Plain(quick)), and it is \(plain)")
        }
        guard options.length <= TCPOptions.maximumLength else { return }
        // What is written is read as the same.
        let written = [UInt8](count: options.length) { options.write(to: &$0) }
        plain.isMalformed = false
        let again = Plain(written)
        try Violation.unless(again == plain, "written \(again), and it was \(plain)")
    }

    private static func segment(_ bytes: [UInt8]) throws(Violation) {
        guard let segment = Segment(parsing: bytes.raw) else { return }
        try Violation.unless(
            segment.payloadOffset >= 20 && Int(segment.payloadOffset + segment.payloadLength) == bytes.count,
            "a payload that is not there")
        let options = Plain(Array(bytes[20..<Int(segment.payloadOffset)]))
        try Violation.unless(Plain(segment.options) == options, "other options in a segment than alone")
    }

    // MARK: The others

    private static func ipv4(_ bytes: [UInt8]) throws(Violation) {
        guard let header = IPv4Header(parsing: bytes.raw) else { return }
        _ = header.isIntact(bytes.raw)
        try Violation.unless(
            header.headerLength >= 20 && header.headerLength <= header.totalLength
                && Int(header.totalLength) <= bytes.count, "an IPv4 packet longer than what has come")
        try quoted(QuotedPacket(ipv4: bytes.raw), bytes.count)
    }

    private static func ipv6(_ bytes: [UInt8]) throws(Violation) {
        try quoted(QuotedPacket(ipv6: bytes.raw), bytes.count)
        guard let header = IPv6Header(parsing: bytes.raw) else { return }
        try Violation.unless(header.totalLength <= bytes.count, "an IPv6 packet longer than what has come")
        guard case .arrived(let extensions) = IPv6Extensions.walk(header, bytes.raw) else { return }
        try Violation.unless(
            Int(extensions.offset) >= 40 && Int(extensions.offset) <= header.totalLength, "a payload that is not there")
    }

    private static func quoted(_ packet: QuotedPacket?, _ count: Int) throws(Violation) {
        guard let packet else { return }
        try Violation.unless(packet.transportOffset + 8 <= count, "a quoted transport header that is not there")
    }

    private static func neighborDiscovery(_ bytes: [UInt8]) {
        guard NDPMessage(parsing: bytes.raw) != nil else { return }
    }

    private static func dhcp(_ bytes: [UInt8]) {
        // A message that is one, and then the options.
        var message = [UInt8](repeating: 0, count: 236) + [0x63, 0x82, 0x53, 0x63] + bytes
        (message[0], message[1], message[2]) = (2, 1, 6)
        guard DHCPMessage(parsing: message.raw) != nil, let options = DHCPOptions(in: message.raw) else { return }
        for code in UInt8.min...UInt8.max {
            guard let option = DHCPOption(rawValue: code) else { continue }
            let value = options.value(of: option, in: message.raw)
            for index in 0..<value.keptCount { _ = value[index] }
            _ = (value.uint8, value.uint16, value.uint32, value.address)
        }
    }

    private static func icmp(_ bytes: [UInt8]) throws(Violation) {
        _ = ICMPv4Message(parsing: bytes.raw)
        _ = ICMPv6Message(parsing: bytes.raw)
        guard let header = UDPHeader(parsing: bytes.raw) else { return }
        try Violation.unless(Int(header.datagramLength) <= bytes.count, "a datagram longer than what has come")
    }
}
