// SocketAddress: text in, text out, and what is refused.

import Martlet
import MartletStack
import Testing

@Suite("SocketAddress")
struct APISocketAddressTests {
    @Test(
        "text is read as the address it names, and printed as it was",
        arguments: [
            ("127.0.0.1:80", SocketAddress.ipv4(IPv4Address(127, 0, 0, 1), port: 80)),
            ("0.0.0.0:0", .ipv4(.any, port: 0)),
            ("255.255.255.255:65535", .ipv4(.broadcast, port: 65_535)),
            ("[::1]:443", .ipv6(.loopback, port: 443)),
            ("[::]:1", .ipv6(.any, port: 1)),
            ("[2001:db8::7]:8080", .ipv6(IPv6Address("2001:db8::7")!, port: 8080)),
            ("unix:/run/service.sock", .unix(path: "/run/service.sock")),
            ("unix:@abstract", .unix(path: "@abstract")),
            ("unix:relative:with:colons", .unix(path: "relative:with:colons")),
        ])
    func reads(_ text: String, _ address: SocketAddress) throws {
        #expect(try SocketAddress(text) == address)
        #expect(address.description == text)
    }

    @Test("a star is every address")
    func star() throws {
        #expect(try SocketAddress("*:7") == .any(port: 7))
        #expect(SocketAddress.any(port: 7) == .ipv6(.any, port: 7))
        #expect(SocketAddress.loopback(port: 7) == .ipv4(.loopback, port: 7))
    }

    @Test("an unusual spelling is read, and printed in the usual one")
    func normalises() throws {
        #expect(try SocketAddress("[2001:0DB8:0:0:0:0:0:1]:80").description == "[2001:db8::1]:80")
    }

    @Test(
        "what is no address is refused, and the error says how to write one",
        arguments: [
            "", ":", "80", "127.0.0.1", "127.0.0.1:", ":80", "127.0.0.1:65536", "127.0.0.1:-1", "127.0.0.1:+80",
            "127.0.0.1:http",
            "127.0.0.1:80 ", " 127.0.0.1:80", "127.0.0.1: 80", "256.0.0.1:80", "127.0.0:80", "::1:80", "[::1]",
            "[::1:80", "::1]:80",
            "[]:80", "[127.0.0.1]:80", "localhost:80", "**:80", "unix:", "unix", "1.2.3.4:80:90", "[::g]:80",
        ])
    func refuses(_ text: String) {
        #expect(throws: NetworkError.invalidAddress(text)) { try SocketAddress(text) }
        #expect(NetworkError.invalidAddress(text).description.contains("HOST:PORT"))
    }

    @Test("the port can be asked for and replaced")
    func ports() {
        #expect(SocketAddress.loopback(port: 9).port == 9)
        #expect(SocketAddress.loopback(port: 9).with(port: 10) == .loopback(port: 10))
        #expect(SocketAddress.ipv6(.loopback, port: 9, scope: 3).with(port: 10) == .ipv6(.loopback, port: 10, scope: 3))
        #expect(SocketAddress.unix(path: "/x").port == nil)
        #expect(SocketAddress.unix(path: "/x").with(port: 10) == .unix(path: "/x"))
    }

    @Test("addresses with different parts differ")
    func equality() {
        let addresses: Set<SocketAddress> = [
            .loopback(port: 1), .loopback(port: 2), .ipv4(.any, port: 1), .ipv6(.loopback, port: 1),
            .ipv6(.loopback, port: 1, scope: 1), .unix(path: "/a"), .unix(path: "/b"),
        ]
        #expect(addresses.count == 7)
    }
}
