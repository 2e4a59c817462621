import Testing

@testable import MartletStack

@Suite struct FourTupleTests {
    @Test("addresses of both families come back as they were given")
    func families() {
        for (local, remote) in [("10.0.0.1", "192.0.2.7"), ("2001:db8::1", "fe80::2"), ("0.0.0.0", "255.255.255.255")] {
            let tuple = FourTuple(
                localAddress: IPAddress(local)!, localPort: 1, remoteAddress: IPAddress(remote)!, remotePort: 65_535)
            #expect(tuple.localAddress == IPAddress(local) && tuple.remoteAddress == IPAddress(remote))
            #expect(tuple.localPort == 1 && tuple.remotePort == 65_535)
            #expect(tuple.isIPv4 == IPv4Address(local).map { _ in true } ?? false)
        }
    }

    @Test("an IPv6 packet whose address maps an IPv4 address passes for no connection over IPv4", arguments: [0, 1])
    func forgedFamily(which: Int) {
        var pair = Pair()
        let listener = pair.server.listen(port: 7, backlog: 4)
        let id = pair.client.connect(from: Pair.clientAddress, to: Pair.serverAddress, port: 7)!
        while pair.client.state(of: id) != .established || pair.server.accept(listener) == nil {
            _ = pair.step(until: .distantFuture)
        }
        let (tuple, next) = pair.client.tcp.numbers(of: id)!
        let forged: [IPv6Address] = [tuple.local, tuple.remote]
        let own = IPv6Address("2001:db8::1")!
        // A reset that would be believed, with one address forged or both.
        for (source, destination) in [(forged[0], forged[1]), which == 0 ? (forged[0], own) : (own, forged[1])] {
            let header = TCPHeader(
                sourcePort: tuple.localPort, destinationPort: 7, sequence: next, flags: [.rst])
            var bytes = [UInt8](repeating: 0, count: 20)
            var span = bytes.mutableSpan
            var space = unsafe span.mutableBytes
            header.write(to: &space)
            var sum = Checksum.pseudoHeader(source: source, destination: destination, protocol: 6, length: 20)
            unsafe sum.add(bytes.span.bytes)
            (bytes[16], bytes[17]) = (UInt8(sum.value >> 8), UInt8(sum.value & 255))
            let before = pair.server.counters.tcp.malformed
            unsafe pair.server.tcp.segmentArrives(
                bytes.span.bytes, from: .v6(source), to: .v6(destination), at: pair.now)
            #expect(pair.server.counters.tcp.malformed == before + 1)
            #expect(pair.server.connectionCount == 1)
        }
    }
}
