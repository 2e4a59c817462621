// A link may say that it has verified a checksum (`FrameOffload.checksumVerified`): then it is not summed again, on any of the
// three ways in. Without that a wrong one is dropped on each of them.

import MartletSimulation
import Testing

@testable import MartletStack

@Suite struct VerifiedChecksumTests {
    /// The ways in: header prediction, the long way of a connection, and that of a segment for no connection.
    enum Way: CaseIterable { case predicted, long, stranger }

    @Test("a wrong checksum is dropped, unless the link has verified it", arguments: Way.allCases, [false, true])
    func wrongSum(way: Way, isVerified: Bool) throws {
        var pair = Pair()
        let listener = pair.server.listen(port: 7, backlog: 8)
        let client = try pair.client.connect(to: Pair.serverAddress, port: 7)
        pair.rest(until: pair.now + .milliseconds(50))
        let accepted = pair.server.accept(listener)
        let server = try #require(accepted)
        let numbers = pair.client.tcp.numbers(of: client)
        let (tuple, next) = try #require(numbers)
        let ends = pair.server.tcp.numbers(of: server)
        let acknowledgment = try #require(ends).1
        var header = TCPHeader(
            sourcePort: tuple.localPort, destinationPort: 7, sequence: next, flags: [.ack, .psh])
        header.acknowledgment = acknowledgment
        header.window = 1000
        switch way {
        case .predicted: break
        case .long: header.flags.insert(.fin)
        case .stranger:
            header = TCPHeader(sourcePort: 1234, destinationPort: 7, sequence: next, flags: .syn)
            header.window = 1000
        }
        let before = pair.server.counters.tcp
        let recent = pair.server.tcp.table[UInt32(server.index)].recentTimestamp
        Self.deliver(header, recent, tuple, isVerified: isVerified, &pair)
        let after = pair.server.counters.tcp
        #expect(after.badChecksum - before.badChecksum == (isVerified ? 0 : 1))
        let bytes = pair.server.receiveAll(server)
        let state = pair.server.state(of: server)
        let waiting = pair.server.tcp.synQueue.count
        switch way {
        case .predicted:
            #expect(bytes == (isVerified ? [1, 2, 3, 4] : []))
            #expect(after.fastPath - before.fastPath == (isVerified ? 1 : 0))
        case .long:
            #expect(bytes == (isVerified ? [1, 2, 3, 4] : []))
            #expect(state == (isVerified ? .closeWait : .established))
        case .stranger: #expect(waiting == (isVerified ? 1 : 0))
        }
    }

    /// Hands the server a segment from the client's address, with four bytes if it is not a SYN, and a checksum that is wrong.
    private static func deliver(
        _ header: TCPHeader, _ timestamp: UInt32, _ tuple: FourTuple, isVerified: Bool, _ pair: inout Pair
    ) {
        var burst = pair.pool.makeBurst()
        var frame = burst.takeFrame()!
        if !header.flags.contains(.syn) {
            let payload: [UInt8] = [1, 2, 3, 4]
            unsafe frame.copyBytes(from: payload.span.bytes)
        }
        var options = TCPOptions()
        if !header.flags.contains(.syn) {
            options.hasTimestamps = true
            options.timestampValue = timestamp
        }
        var ends = tuple
        ends.localPort = header.sourcePort
        SegmentOut.prepend(header, options, ends, &frame)
        var bytes = frame.bytes.array
        bytes[36] ^= 0x55  // the checksum's first byte, behind 20 bytes of IPv4
        unsafe frame.copyBytes(from: bytes.span.bytes)
        if isVerified { frame.offload.insert(.checksumVerified) }
        burst.append(frame)
        pair.server.ingress(&burst, at: pair.now)
    }
}
