// Addresses of either version.

import MartletStack
import Testing

@Suite struct IPAddressTests {
    @Test func `Text decides the version`() {
        #expect(IPAddress("192.0.2.1") == .v4(IPv4Address(192, 0, 2, 1)))
        #expect(IPAddress("::1") == .v6(.loopback))
        #expect(IPAddress("::ffff:192.0.2.1") == .v6(IPv6Address(mapping: IPv4Address(192, 0, 2, 1))))
        #expect(IPAddress("") == nil)
        #expect(IPAddress("192.0.2") == nil)
        #expect(IPAddress("example.org") == nil)
    }

    @Test(arguments: ["192.0.2.1", "2001:db8::1", "::ffff:192.0.2.1"])
    func `An address is written as it was read`(text: String) {
        #expect(IPAddress(text)?.description == text)
    }

    @Test func `Unmapping turns an IPv4-mapped address into the IPv4 address, and leaves others alone`() {
        let address = IPv4Address(192, 0, 2, 1)
        #expect(IPAddress.v6(IPv6Address(mapping: address)) != .v4(address))
        #expect(IPAddress.v6(IPv6Address(mapping: address)).unmapped == .v4(address))
        #expect(IPAddress.v4(address).unmapped == .v4(address))
        #expect(IPAddress.v6(.loopback).unmapped == .v6(.loopback))
    }

    @Test func `Either version knows its blocks`() {
        #expect(IPAddress.v4(.loopback).isLoopback && IPAddress.v6(.loopback).isLoopback)
        #expect(!IPAddress.v4(.any).isLoopback && !IPAddress.v6(.any).isLoopback)
        #expect(IPAddress("224.0.0.1")?.isMulticast == true && IPAddress("ff02::1")?.isMulticast == true)
        #expect(IPAddress("169.254.1.1")?.isLinkLocal == true && IPAddress("fe80::1")?.isLinkLocal == true)
        #expect(IPAddress("10.0.0.1")?.isLinkLocal == false && IPAddress("2001:db8::1")?.isMulticast == false)
    }
}
