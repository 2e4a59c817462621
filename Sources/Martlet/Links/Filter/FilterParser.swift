// Expressions as on tcpdump's command line, the part of pcap-filter(7) that filters here can say:
//
//     expression  = unary { ("and" | "or") unary }            both bind alike, from the left, as pcap-filter(7) has it
//     unary       = "not" unary | "(" expression ")" | primitive
//     primitive   = [ protocol ] [ "src" | "dst" ] ( "host" address | "net" prefix | "port" n | "portrange" n-n | address )
//                 | protocol | "ether" … | "vlan" [ n ] | "broadcast" | "multicast" | "less" n | "greater" n | "len" …
//     protocol    = "arp" | "ip" | "ip6" | "icmp" | "icmp6" | "tcp" | "udp" | "sctp" | ( "ip" | "ip6" ) "proto" n

internal import MartletStack

extension Filter {
    /// Reads an expression such as `tcp port 80 and not net 10.0.0.0/8`. An empty one wants every frame.
    ///
    /// - Throws: ``LinkError/invalidFilter(reason:)``, which shows the place.
    public init(_ text: String) throws(LinkError) {
        var parser = FilterParser(text)
        self = parser.isAtEnd ? .everything : try parser.expression()
        guard parser.isAtEnd else { throw parser.error("'and', 'or' or the end was expected here") }
    }
}

private struct FilterParser {
    private struct Token {
        var text: Substring
        /// Characters before it.
        var position: Int
    }

    private let source: String
    private var tokens: [Token] = []
    private var next = 0
    private var depth = 0

    init(_ text: String) {
        source = text
        var start: String.Index?
        var (position, startPosition) = (0, 0)
        for index in text.indices {
            let character = text[index]
            let isBracket = "()!".contains(character)
            if character.isWhitespace || isBracket, let begun = start {
                tokens.append(Token(text: text[begun..<index], position: startPosition))
                start = nil
            }
            if isBracket {
                tokens.append(Token(text: text[index...index], position: position))
            } else if !character.isWhitespace, start == nil {
                (start, startPosition) = (index, position)
            }
            position += 1
        }
        if let start { tokens.append(Token(text: text[start...], position: startPosition)) }
    }

    var isAtEnd: Bool { next == tokens.count }

    private var word: Substring { isAtEnd ? "" : tokens[next].text }

    private mutating func take(_ words: Substring...) -> Bool {
        guard !isAtEnd, words.contains(word) else { return false }
        next += 1
        return true
    }

    /// What is wrong at the next word, or at the one before.
    func error(_ what: String, back: Int = 0) -> LinkError {
        let token = next - back
        let position = token < tokens.count ? tokens[max(0, token)].position : source.count
        let found = token < tokens.count ? "'\(tokens[max(0, token)].text)'" : "the end"
        return .invalidFilter(
            reason: "\(what), and not \(found) (character \(position + 1))\n    \(source)\n    "
                + String(repeating: " ", count: position) + "^")
    }

    // MARK: Grammar

    mutating func expression() throws(LinkError) -> Filter {
        var result = try unary()
        while true {
            if take("and", "&&") {
                result = result && (try unary())
            } else if take("or", "||") {
                result = result || (try unary())
            } else {
                return result
            }
        }
    }

    private mutating func unary() throws(LinkError) -> Filter {
        depth += 1
        defer { depth -= 1 }
        guard depth <= 100 else { throw error("at most 100 brackets may be open here") }
        if take("not", "!") { return !(try unary()) }
        if take("(") {
            let result = try expression()
            guard take(")") else { throw error("')' was expected here") }
            return result
        }
        return try primitive()
    }

    private mutating func primitive() throws(LinkError) -> Filter {
        if take("vlan") {
            guard let number = Int(word) else { return .vlan() }
            guard (0..<4096).contains(number) else { throw error("a VLAN is 0 ... 4095") }
            next += 1
            return .vlan(UInt16(number))
        }
        if take("broadcast") { return .broadcast }
        if take("multicast") { return .multicast }
        if take("less") { return .atMost(try number(0...65_535)) }
        if take("greater") { return .atLeast(try number(0...65_535)) }
        if take("ether") { return try ether() }
        if let named = try transport() { return named }
        return try located(among: nil)
    }

    /// What begins with the name of a protocol; nil if nothing does.
    private mutating func transport() throws(LinkError) -> Filter? {
        let name = word
        switch name {
        case "arp", "ip", "ip6":
            next += 1
            let base: Filter = name == "arp" ? .arp : name == "ip" ? .ip : .ip6
            if name != "arp", take("proto") {
                let names: [Substring: Int] = ["icmp": 1, "tcp": 6, "udp": 17, "icmp6": 58, "sctp": 132]
                let value: Int
                if let known = names[word] {
                    next += 1
                    value = known
                } else {
                    value = try number(0...255)
                }
                return Filter(.test(.ipProtocol(UInt8(value), version: name == "ip" ? 4 : 6)))
            }
            return isLocation ? base && (try located(among: nil)) : base
        case "tcp", "udp", "sctp":
            next += 1
            let number: UInt8 = name == "tcp" ? 6 : name == "udp" ? 17 : 132
            return isLocation ? try located(among: number) : .ipProtocol(number)
        case "icmp", "icmp6":
            next += 1
            let base: Filter = name == "icmp" ? .icmp : .icmp6
            return isLocation ? base && (try located(among: nil)) : base
        default: return nil
        }
    }

    private var isLocation: Bool { ["src", "dst", "host", "net", "port", "portrange"].contains(word) }

    private mutating func side() -> Filter.Side { take("src") ? .source : take("dst") ? .destination : .either }

    /// An address or a port, of a packet of that protocol.
    private mutating func located(among only: UInt8?) throws(LinkError) -> Filter {
        let side = side()
        if take("port") {
            let port = UInt16(try number(0...65_535))
            return Filter(.test(.ports(port...port, side, only.map { [$0] } ?? [6, 17, 132])))
        }
        if take("portrange") {
            let parts = word.split(separator: "-", omittingEmptySubsequences: false).map { UInt16($0) }
            guard parts.count == 2, let first = parts[0], let last = parts[1], first <= last else {
                throw error("a range of ports, such as 5000-5010, was expected here")
            }
            next += 1
            return Filter(.test(.ports(first...last, side, only.map { [$0] } ?? [6, 17, 132])))
        }
        let found: Filter
        if take("net") {
            found = try net(side)
        } else {
            let isNamed = take("host")
            guard let address = IPAddress(String(word)) else {
                throw error(
                    isNamed || side != .either
                        ? "an IP address was expected here" : "a word of the filter language was expected here")
            }
            next += 1
            found = .host(address, side)
        }
        return only.map { .ipProtocol($0) && found } ?? found
    }

    private mutating func net(_ side: Filter.Side) throws(LinkError) -> Filter {
        let parts = word.split(separator: "/", maxSplits: 1, omittingEmptySubsequences: false)
        guard let first = parts.first, let address = IPAddress(String(first)) else {
            throw error("a prefix, such as 10.0.0.0/8, was expected here")
        }
        var longest = 128
        if case .v4 = address { longest = 32 }
        let prefix = parts.count == 2 ? Int(parts[1]) : longest
        guard let prefix, (0...longest).contains(prefix) else {
            throw error("a prefix of 0 ... \(longest) bits was expected here")
        }
        let filter = Filter.net(address, prefix: prefix, side)
        guard filter.hasNoBitsBehindPrefix else {
            throw error("an address with no bits behind its prefix was expected here")
        }
        next += 1
        return filter
    }

    private mutating func ether() throws(LinkError) -> Filter {
        if take("proto") {
            let names: [Substring: UInt16] = ["ip": 0x0800, "arp": 0x0806, "ip6": 0x86DD]
            let value = names[word] ?? (word.hasPrefix("0x") ? UInt16(word.dropFirst(2), radix: 16) : UInt16(word))
            guard let value else { throw error("an Ethernet type, such as 0x88cc, was expected here") }
            next += 1
            return .etherType(value)
        }
        if take("broadcast") { return .broadcast }
        if take("multicast") { return .multicast }
        let side = side()
        _ = take("host")
        guard let address = MACAddress(String(word)) else {
            throw error("an Ethernet address, such as 02:00:00:00:00:01, was expected here")
        }
        next += 1
        return .linkAddress(address, side)
    }

    private mutating func number(_ range: ClosedRange<Int>) throws(LinkError) -> Int {
        guard let number = Int(word), range.contains(number) else {
            throw error("a number, \(range.lowerBound) ... \(range.upperBound), was expected here")
        }
        next += 1
        return number
    }
}

extension Filter {
    fileprivate var hasNoBitsBehindPrefix: Bool {
        guard case .test(.net(let address, let prefix, _)) = expression else { return true }
        switch address {
        case .v4(let address): return prefix == 32 || address.bits << UInt32(prefix) == 0
        case .v6(let address):
            if prefix >= 64 { return prefix == 128 || address.low << UInt64(prefix - 64) == 0 }
            return address.low == 0 && address.high << UInt64(prefix) == 0
        }
    }
}
