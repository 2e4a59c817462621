// RFC 6724 §5, a test a rule; the examples are those of §10.1.

import Testing

@testable import MartletStack

@Suite struct SourceAddressTests {
    static func candidate(_ text: String, on interface: UInt8 = 1) -> SourceCandidate {
        SourceCandidate(address: IPv6Address(text)!, interface: interface)
    }

    static func select(_ destination: String, on interface: UInt8 = 1, _ candidates: [SourceCandidate]) -> String? {
        let forwards = SourceAddress.select(for: IPv6Address(destination)!, on: interface, from: candidates.span)
        let reversed = Array(candidates.reversed())
        let backwards = SourceAddress.select(for: IPv6Address(destination)!, on: interface, from: reversed.span)
        #expect(forwards == backwards, "the choice depends on the order")
        return forwards?.description
    }

    @Test(arguments: [
        // RFC 6724 §10.1
        ("2001:db8:1::1", ["2001:db8:3::1", "fe80::1"], "2001:db8:3::1"),
        ("ff05::1", ["2001:db8:3::1", "fe80::1"], "2001:db8:3::1"),
        ("2001:db8:1::1", ["2001:db8:1::1", "2001:db8:2::1"], "2001:db8:1::1"),
        ("fe80::1", ["fe80::2", "2001:db8:1::1"], "fe80::2"),
        ("2001:db8:1::1", ["2001:db8:1::2", "2001:db8:3::2"], "2001:db8:1::2"),
        (
            "2002:c633:6401::1", ["2002:c633:6401:0:d5e3:7953:13eb:22e8", "2001:db8:1::2"],
            "2002:c633:6401:0:d5e3:7953:13eb:22e8"
        ),
        ("fd11::1", ["2001:db8::1", "fd12::1"], "fd12::1"),
        ("2001:db8::9", ["fd12::1", "2001:db9::1"], "2001:db9::1"),
        ("::1", ["2001:db8::1", "::1"], "::1"),
        ("ff02::1", ["2001:db8::1", "fe80::1"], "fe80::1"),
    ])
    func `The address fits the destination by scope, label and prefix`(
        destination: String, candidates: [String], chosen: String
    ) {
        #expect(Self.select(destination, candidates.map { Self.candidate($0) }) == chosen)
    }

    @Test func `A deprecated address is avoided, but not for a smaller scope`() {
        var deprecated = Self.candidate("2001:db8:1::2")
        deprecated.isDeprecated = true
        #expect(Self.select("2001:db8:1::1", [deprecated, Self.candidate("2001:db8:3::2")]) == "2001:db8:3::2")
        #expect(Self.select("2001:db8:1::1", [deprecated, Self.candidate("fe80::1")]) == "2001:db8:1::2")
        #expect(Self.select("2001:db8:1::1", [deprecated]) == "2001:db8:1::2")
    }

    @Test func `The outgoing interface, the next hop's prefix and temporary addresses go before the longest match`() {
        let near = Self.candidate("2001:db8:1::2", on: 2)
        var far = Self.candidate("2001:db8:3::2", on: 1)
        #expect(Self.select("2001:db8:1::1", on: 1, [near, far]) == "2001:db8:3::2")
        #expect(Self.select("2001:db8:1::1", on: 2, [near, far]) == "2001:db8:1::2")
        far.interface = 2
        far.isTemporary = true
        #expect(Self.select("2001:db8:1::1", on: 2, [near, far]) == "2001:db8:3::2")
        far.isTemporary = false
        far.isFromNextHop = true
        #expect(Self.select("2001:db8:1::1", on: 2, [near, far]) == "2001:db8:3::2")
    }

    @Test func `Bits beyond a candidate's prefix do not match`() {
        var first = Self.candidate("2001:db8::ff00:0:0:1")
        var second = Self.candidate("2001:db8::8000:0:0:1")
        (first.prefixLength, second.prefixLength) = (64, 64)
        let candidates = [second, first]
        // The same up to 64 bits: the earlier one stays.
        let chosen = SourceAddress.select(
            for: IPv6Address("2001:db8::ff00:0:0:2")!, on: 1, from: candidates.span)
        #expect(chosen == second.address)
    }

    @Test func `A link-local address of another link is never used, nor a multicast or loopback one`() {
        #expect(Self.select("2001:db8::1", on: 1, [Self.candidate("fe80::1", on: 2)]) == nil)
        #expect(Self.select("fe80::9", on: 1, [Self.candidate("2001:db8::1", on: 2)]) == nil)
        #expect(
            Self.select("2001:db8::1", on: 1, [Self.candidate("::1"), Self.candidate("ff02::1"), Self.candidate("::")])
                == nil)
        #expect(Self.select("2001:db8::1", []) == nil)
    }

    @Test(
        arguments: [
            ("8.8.8.8", "192.0.2.1", 1, "192.0.2.9"), ("192.0.2.1", "192.0.2.1", 1, "192.0.2.9"),
            ("198.51.100.3", "198.51.100.3", 1, "198.51.100.9"), ("8.8.8.8", "203.0.113.1", 1, "192.0.2.9"),
            ("169.254.7.7", "169.254.7.7", 1, "169.254.1.1"), ("203.0.113.9", "203.0.113.9", 1, "203.0.113.9"),
            ("8.8.8.8", "8.8.8.8", 2, "203.0.113.9"), ("8.8.8.8", "8.8.8.8", 3, nil),
            ("127.0.0.1", "127.0.0.1", 4, "127.0.0.1"), ("127.9.9.9", "127.9.9.9", 4, "127.0.0.1"),
        ] as [(String, String, UInt8, String?)])
    func `IPv4 takes the address in the next hop's network, or the first of the interface`(
        destination: String, nextHop: String, interface: UInt8, chosen: String?
    ) {
        let candidates = [
            SourceCandidate4(address: IPv4Address("169.254.1.1")!, prefixLength: 16, interface: 1),
            SourceCandidate4(address: IPv4Address("192.0.2.9")!, prefixLength: 24, interface: 1),
            SourceCandidate4(address: IPv4Address("198.51.100.9")!, prefixLength: 24, interface: 1),
            SourceCandidate4(address: IPv4Address("203.0.113.9")!, prefixLength: 24, interface: 2),
            SourceCandidate4(address: .loopback, prefixLength: 8, interface: 4),
        ]
        let address = SourceAddress.select(
            for: IPv4Address(destination)!, nextHop: IPv4Address(nextHop)!, on: interface, from: candidates.span)
        #expect(address?.description == chosen)
    }
}
