// ICMP for both versions: meanings, codes and checksums.

import Testing

@testable import MartletStack

@Suite struct ICMPMessageTests {
    static let echo = ICMPEcho(identifier: 0x1234, sequence: 0xABCD)

    static let v4: [(bytes: String, meaning: ICMPv4Message.Meaning)] = [
        ("0800 0000 1234abcd", .echoRequest(echo)),
        ("0000 0000 1234abcd", .echoReply(echo)),
        ("0301 0000 00000000", .unreachable(code: 1, nextHopMTU: 0)),
        ("0304 0000 000005dc", .unreachable(code: 4, nextHopMTU: 1_500)),
        ("0b01 0000 00000000", .timeExceeded(code: 1)),
        ("0c00 0000 09000000", .parameterProblem(code: 0, pointer: 9)),
    ]

    static let v6: [(bytes: String, meaning: ICMPv6Message.Meaning)] = [
        ("8000 0000 1234abcd", .echoRequest(echo)),
        ("8100 0000 1234abcd", .echoReply(echo)),
        ("0104 0000 00000000", .unreachable(code: 4)),
        ("0200 0000 00010500", .packetTooBig(mtu: 66_816)),
        ("0301 0000 00000000", .timeExceeded(code: 1)),
        ("0402 0000 0000012c", .parameterProblem(code: 2, pointer: 300)),
    ]

    @Test func `ICMPv4 messages have their meanings, and are made from them`() throws {
        for (hex, meaning) in Self.v4 {
            let bytes = [UInt8](hex: hex)
            let message = try #require(ICMPv4Message(bytes: bytes))
            #expect(message.meaning == meaning)
            #expect(ICMPv4Message(meaning) == message)
            #expect([UInt8](count: 10) { message.write(to: &$0) } == bytes + [0xEE, 0xEE])
            for length in 0..<8 { #expect(ICMPv4Message(bytes: Array(bytes.prefix(length))) == nil) }
        }
    }

    @Test func `ICMPv6 messages have their meanings, and are made from them`() throws {
        for (hex, meaning) in Self.v6 {
            let bytes = [UInt8](hex: hex)
            let message = try #require(ICMPv6Message(bytes: bytes))
            #expect(message.meaning == meaning)
            #expect(ICMPv6Message(meaning) == message)
            #expect([UInt8](count: 10) { message.write(to: &$0) } == bytes + [0xEE, 0xEE])
            for length in 0..<8 { #expect(ICMPv6Message(bytes: Array(bytes.prefix(length))) == nil) }
        }
    }

    @Test func `The rest of an ICMPv4 message means nothing where RFC 792 does not use it`() throws {
        for code in UInt8.min...UInt8.max where code != 4 {
            let message = try #require(ICMPv4Message(bytes: [3, code, 0, 0, 1, 2, 3, 4]))
            #expect(message.meaning == .unreachable(code: code, nextHopMTU: 0))
        }
        #expect(ICMPv4Message(bytes: [3, 4, 0, 0, 1, 2, 3, 4])?.meaning == .unreachable(code: 4, nextHopMTU: 0x0304))
        #expect(ICMPv4Message(bytes: [8, 1, 0, 0, 1, 2, 3, 4])?.meaning == .other)
    }

    @Test func `Types without a meaning here are other, and errors are not answered with errors`() {
        let known: Set<UInt8> = [0, 3, 8, 11, 12]
        let errors: Set<UInt8> = [3, 4, 5, 11, 12]
        for type in UInt8.min...UInt8.max {
            let v4 = ICMPv4Message(bytes: [type, 0, 0, 0, 0, 0, 0, 0])
            #expect((v4?.meaning != .other) == known.contains(type))
            #expect(v4?.isError == errors.contains(type))
            let v6 = ICMPv6Message(bytes: [type, 0, 0, 0, 0, 0, 0, 0])
            #expect((v6?.meaning == .neighborDiscovery) == (133...137).contains(type))
            #expect((v6?.meaning == .membership) == [130, 131, 132, 143].contains(type))
            let isKnown = (1...4).contains(type) || (128...137).contains(type) || type == 143
            #expect((v6?.meaning == .other) == !isKnown)
            #expect(v6?.isError == (type < 128 || type == 137))
        }
    }

    @Test func `A checksum covers the message, and in ICMPv6 the addresses`() {
        var bytes = [UInt8](hex: "0800 0000 1234abcd 01020304 05")
        bytes.put(~bytes.naiveSum, at: 2)
        #expect(ICMPv4Message.isIntact(bytes: bytes))
        bytes[12] ^= 1
        #expect(!ICMPv4Message.isIntact(bytes: bytes))

        let (source, destination) = (IPv6HeaderTests.source, IPv6HeaderTests.destination)
        var message = [UInt8](hex: "8000 0000 1234abcd 01020304 05")
        let pseudo = [UInt8](
            hex: """
                20010db8 00000000 00000000 00000001
                fe800000 00000000 0000ffff 12345678
                0000000d 0000003a
                """)
        message.put(~(pseudo + message).naiveSum, at: 2)
        #expect(ICMPv6Message.isIntact(bytes: message, source: source, destination: destination))
        #expect(!ICMPv6Message.isIntact(bytes: message, source: source, destination: .loopback))
        message[12] ^= 1
        #expect(!ICMPv6Message.isIntact(bytes: message, source: source, destination: destination))
    }
}
