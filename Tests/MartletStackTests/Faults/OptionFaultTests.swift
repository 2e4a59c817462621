// Options of every kind, length and place, in segments of a connection: none stops it, and the bytes of the segment count unless
// PAWS or the checksum says otherwise. How each is read is tested in Wire/TCPOptionsTests.

import MartletSimulation
import Testing

@testable import MartletStack

@Suite struct OptionFaultTests {
    /// A segment of the victim's with these bytes for options.
    private static func segment(
        _ flags: UInt8, at sequence: UInt32, _ length: Int, ack: UInt32, options: [UInt8], _ peer: FaultStage.Peer
    ) -> [UInt8] {
        precondition(options.count <= 40 && options.count.isMultiple(of: 4))
        let absolute = peer.end.initialSequence &+ sequence
        var bytes: [UInt8] = []
        bytes.append(number: peer.end.port)
        bytes.append(number: peer.local.port)
        bytes.append(number: absolute)
        bytes.append(number: peer.local.initialSequence &+ ack)
        bytes += [UInt8(20 + options.count) << 2, flags, 0xEA, 0x60, 0, 0, 0, 0]
        bytes += options + SegmentBytes.data(from: sequence, count: length)
        let isIPv4 = peer.end.address.bitWidth == 32
        let ends = FuzzEnds(
            isIPv4: isIPv4, local: FrameBytes.octets(peer.local.address), remote: FrameBytes.octets(peer.end.address))
        ends.complete(&bytes, 6)
        return ends.packet(bytes, 6)
    }

    @Test(
        "MUST-5, MUST-6, MUST-7: an option of any kind and length, at any place, is read or skipped and its segment counts",
        arguments: Family.allCases, [false, true])
    func everyPlace(family: Family, isAfterEnd: Bool) {
        var stage = FaultStage(family)
        let id = stage[.victim].id!
        var segments = 0
        for kind in [2, 3, 4, 5, 8, 28, 34, 6, 14, 19, 30, 69, 253, 254, 255] as [UInt8] {
            for place in 0..<12 {
                for length in 0...(40 - place) {
                    // What is behind the length is the option's, as far as there is room, and looks like others.
                    var options = [UInt8](repeating: 1, count: place)
                    if isAfterEnd, place > 0 { options[place - 1] = 0 }
                    options += [kind, UInt8(length)]
                    while options.count < place + max(length, 2) { options.append(UInt8(8)) }
                    options = Array(options.prefix(40))
                    while !options.count.isMultiple(of: 4) { options.append(0) }
                    let peer = stage[.victim]
                    stage.arrives(
                        Self.segment(0x18, at: peer.p, 1, ack: peer.n, options: options, peer), from: peer.mac)
                    let bytes = stage.host.stack.receiveAll(id)
                    guard bytes == SegmentBytes.data(from: peer.p, count: 1) else {
                        Issue.record("kind \(kind), length \(length) at \(place): \(bytes)")
                        return
                    }
                    stage[.victim].p &+= 1
                    segments += 1
                }
            }
        }
        #expect(segments == 15 * (0..<12).reduce(0) { $0 + 41 - $1 })
        #expect(stage.host.stack.counters.tcp.malformed == 0)
        stage.goesOn(.victim)
        stage.goesOn()
    }

    @Test("a SYN with an option of any kind and length, at any place, opens a connection", arguments: Family.allCases)
    func everySYN(family: Family) {
        var stage = FaultStage(family)
        for kind in [2, 3, 4, 5, 8, 28, 34, 254] as [UInt8] {
            for place in 0..<4 {
                for length in 0...(40 - place) {
                    var options = [UInt8](repeating: 1, count: place) + [kind, UInt8(length)]
                    while options.count < place + max(length, 2) { options.append(UInt8.max) }
                    options = Array(options.prefix(40))
                    while !options.count.isMultiple(of: 4) { options.append(0) }
                    stage[.victim].n = 0
                    stage[.victim].end.port &+= 1
                    var peer = stage[.victim]
                    stage.arrives(Self.segment(0x02, at: 0, 0, ack: 0, options: options, peer), from: peer.mac)
                    peer = stage[.victim]
                    guard peer.n == 1 else {
                        Issue.record("no SYN,ACK for kind \(kind), length \(length) at \(place)")
                        return
                    }
                    stage.arrives(.victim, .ack, at: 1, 0, ack: 1)
                    guard let id = stage.host.stack.accept(stage.listener) else {
                        Issue.record("no connection for kind \(kind), length \(length) at \(place)")
                        return
                    }
                    // Segments are of a size that makes sense, whatever was asked for.
                    let mss = stage.host.stack.tcp.number("mss", of: id)!
                    #expect(mss >= 52 && mss <= 1460, "kind \(kind), length \(length) at \(place)")
                    stage.arrives(.victim, .rst, at: 1)
                    stage.host.stack.release(id)
                    stage.wait(.zero)
                }
            }
        }
        #expect(stage.host.stack.connectionCount == 2)
        stage.goesOn()
    }

    @Test("MUST-7: a header longer than its segment, or shorter than 20 bytes, is malformed, whatever the options")
    func headerLengths() {
        var stage = FaultStage()
        let peer = stage[.victim]
        let packet = Self.segment(0x18, at: peer.p, 0, ack: peer.n, options: [UInt8](repeating: 1, count: 8), peer)
        var malformed: UInt64 = 0
        for offset in 0..<16 as Range<UInt8> where offset < 5 || offset > 7 {
            var segment = Array(packet[20...])
            segment[12] = offset << 4
            let ends = FuzzEnds(isIPv4: true, local: Array(packet[16..<20]), remote: Array(packet[12..<16]))
            ends.complete(&segment, 6)
            stage.arrives(ends.packet(segment, 6))
            malformed += 1
            #expect(stage.host.stack.counters.tcp.malformed == malformed, "data offset \(offset)")
        }
        stage.goesOn(.victim)
        stage.goesOn()
    }
}
