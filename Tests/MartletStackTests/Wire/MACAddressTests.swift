// Ethernet addresses: one text form, and the two bits that mean something.

import MartletStack
import Testing

@Suite struct MACAddressTests {
    @Test func `Octets, bits and text are the same address`() {
        let address = MACAddress(0x02, 0x1B, 0xAB, 0x00, 0xFF, 0x09)
        #expect(address.bits == 0x021B_AB00_FF09)
        #expect(address == MACAddress(bits: 0xFFFF_021B_AB00_FF09))
        #expect(address.description == "02:1b:ab:00:ff:09")
        #expect(MACAddress("02:1b:AB:00:Ff:09") == address)
        let octets = address.octets
        #expect(octets.indices.map { octets[$0] } == [0x02, 0x1B, 0xAB, 0x00, 0xFF, 0x09])
    }

    @Test(arguments: [
        "", ":", ":::::", "02:00:00:00:00", "02:00:00:00:00:", "02:00:00:00:00:1", "02:00:00:00:00:001",
        "02:00:00:00:00:01:", ":02:00:00:00:00:01", "02:00:00:00:00:01:02", "02-00-00-00-00-01", "0200.0000.0001",
        "020000000001", "02:00:00:00:00:0g", "02:00:00:00:00: 1", " 02:00:00:00:00:01", "02:00:00:00:00:01 ",
        "+2:00:00:00:00:01", "0x:00:00:00:00:01", "2:0:0:0:0:1", "02:00:00:00:00:０1", "02:00:00:00:00:0\u{0}",
        "02:00:00:00:000:1", "02:00:00:00:00/01", "02:00:00:00:00:0:", "02:00:00:00:00:`1", "02:00:00:00:00:@1",
    ])
    func `Any other text is refused`(text: String) {
        #expect(MACAddress(text) == nil)
    }

    @Test func `Any address is read as it is written`() {
        let seed = UInt64.random(in: 0...UInt64.max)
        var generator = SeededGenerator(seed: seed)
        for _ in 0..<1_000 {
            let address = MACAddress(bits: generator.next())
            #expect(MACAddress(address.description) == address, "seed \(seed)")
            #expect(MACAddress(address.description.uppercased()) == address, "seed \(seed)")
            #expect(address.bits < 1 << 48)
        }
    }

    @Test func `Groups, everyone and local addresses are told by their bits`() {
        #expect(MACAddress.broadcast.description == "ff:ff:ff:ff:ff:ff")
        #expect(MACAddress.broadcast.isBroadcast && MACAddress.broadcast.isMulticast)
        let universal = MACAddress(0x00, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF)
        #expect(!universal.isMulticast && !universal.isBroadcast && !universal.isLocallyAdministered)
        let local = MACAddress(0x02, 0, 0, 0, 0, 1)
        #expect(!local.isMulticast && local.isLocallyAdministered)
        let group = MACAddress(0x01, 0, 0, 0, 0, 0)
        #expect(group.isMulticast && !group.isBroadcast && !group.isLocallyAdministered)
        #expect(MACAddress.zero.bits == 0)
    }

    @Test func `IP groups have their Ethernet groups`() {
        #expect(MACAddress.multicast(IPv4Address(224, 0, 0, 251)) == MACAddress("01:00:5e:00:00:fb"))
        #expect(MACAddress.multicast(IPv4Address(239, 255, 255, 255)) == MACAddress("01:00:5e:7f:ff:ff"))
        #expect(MACAddress.multicast(IPv6Address("ff02::1:ff28:9c5a")!) == MACAddress("33:33:ff:28:9c:5a"))
    }
}
