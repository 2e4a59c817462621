// Ethernet headers and ARP packets: byte for byte, cut short, and of the wrong kind.

import Testing

@testable import MartletStack

@Suite struct LinkHeaderTests {
    static let untagged = [UInt8](hex: "ffffffffffff 021bab00ff09 86dd")
    static let tagged = [UInt8](hex: "ffffffffffff 021bab00ff09 8100 f123 0800")
    static let reply = [UInt8](hex: "0001 0800 06 04 0002 021bab00ff09 c0000201 02aabbccddee c63364ff")

    // MARK: Ethernet

    @Test func `A header is read field by field`() throws {
        let header = try #require(EthernetHeader(bytes: Self.untagged))
        #expect(header.destination == .broadcast)
        #expect(header.source == MACAddress("02:1b:ab:00:ff:09"))
        #expect(header.etherType == .ipv6)
        #expect(!header.isTagged && header.vlan == 0 && header.length == 14)
    }

    @Test func `One VLAN tag is read, and a second one is not`() throws {
        let header = try #require(EthernetHeader(bytes: Self.tagged))
        #expect(header.isTagged && header.tagControl == 0xF123 && header.vlan == 0x123)
        #expect(header.etherType == .ipv4 && header.length == 18)
        let twice = try #require(
            EthernetHeader(bytes: Self.tagged.dropLast(2) + [UInt8](hex: "8100 0002 0800")))
        #expect(twice.etherType == .vlan && twice.vlan == 0x123 && twice.length == 18)
    }

    @Test func `A header is read at every length that holds it, and at no other`() {
        for length in 0...18 {
            #expect((EthernetHeader(bytes: Array(Self.tagged.prefix(length))) != nil) == (length == 18))
        }
        for length in 0...14 {
            #expect((EthernetHeader(bytes: Array(Self.untagged.prefix(length))) != nil) == (length == 14))
        }
        #expect(EthernetHeader(bytes: Self.untagged + [1, 2, 3])?.length == 14)
    }

    @Test(arguments: [untagged, tagged])
    func `A header is written as it was read, and nothing behind it is touched`(bytes: [UInt8]) throws {
        let header = try #require(EthernetHeader(bytes: bytes))
        #expect([UInt8](count: bytes.count + 2) { header.write(to: &$0) } == bytes + [0xEE, 0xEE])
        let made = EthernetHeader(
            destination: header.destination, source: header.source, etherType: header.etherType)
        #expect((made == header) == !header.isTagged)
    }

    // MARK: ARP

    @Test func `A packet is read field by field`() throws {
        let packet = try #require(ARPPacket(bytes: Self.reply))
        #expect(packet.operation == .reply)
        #expect(packet.senderMAC == MACAddress("02:1b:ab:00:ff:09"))
        #expect(packet.senderIP == IPv4Address(192, 0, 2, 1))
        #expect(packet.targetMAC == MACAddress("02:aa:bb:cc:dd:ee"))
        #expect(packet.targetIP == IPv4Address(198, 51, 100, 255))
        let made = ARPPacket(
            operation: .reply, senderMAC: packet.senderMAC, senderIP: packet.senderIP, targetMAC: packet.targetMAC,
            targetIP: packet.targetIP)
        #expect([UInt8](count: 30) { made.write(to: &$0) } == Self.reply + [0xEE, 0xEE])
    }

    @Test func `A packet may have padding, and none of its bytes may be missing`() {
        #expect(ARPPacket(bytes: Self.reply + [UInt8](repeating: 0, count: 18)) == ARPPacket(bytes: Self.reply))
        for length in 0..<28 { #expect(ARPPacket(bytes: Array(Self.reply.prefix(length))) == nil) }
    }

    @Test func `Any bit flipped in the first eight bytes makes a packet of another kind`() {
        for bit in 0..<64 {
            var bytes = Self.reply
            bytes[bit / 8] ^= 1 << UInt8(bit % 8)
            #expect(ARPPacket(bytes: bytes) == nil, "bit \(bit)")
        }
        var bytes = Self.reply
        bytes[7] = 1
        #expect(ARPPacket(bytes: bytes)?.operation == .request)
    }
}
