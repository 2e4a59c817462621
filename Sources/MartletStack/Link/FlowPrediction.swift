// What a packet begins with if it is of the connection that was heard last: most are, and then a few comparisons of whole words say
// all that link, IP layer and demultiplexer would find out field by field.
//
// What is compared was found to be in order when the last packet of the connection went the longer way through PlainPacket. What
// changes from packet to packet is read and checked: lengths, the marks of routers, and the header's checksum. IPv4 alone: of an
// IPv6 header there is less to check. Hold RFC 791 §3.1 beside it.

/// The fields of an IPv4 packet that are the same for all segments of a connection, as they lie in memory.
struct FlowPrediction: BitwiseCopyable {
    /// The connection; `.max` while none is predicted.
    private(set) var slot = UInt32.max
    /// Of which state of our addresses this is.
    private var addressChanges: UInt32 = 0
    /// The protocol and the source, of the second eight bytes; and the destination and both ports, the third eight.
    private var source: UInt64 = 0
    private var ends: UInt64 = 0
    /// The sum of the addresses and the protocol.
    private var sum: UInt64 = 0

    /// None.
    init() {}

    /// What the packets begin with that are like this one, which has found its connection.
    @inline(__always)
    init(of packet: PlainPacket, in frame: RawSpan, slot: UInt32, addressChanges: UInt32) {
        self.slot = slot
        self.addressChanges = addressChanges
        source = frame.word(at: packet.start &- 12) & Self.sourceMask
        ends = frame.word(at: packet.start &- 4)
        sum = (packet.source.low & 0xFFFF_FFFF) &+ (packet.destination.low & 0xFFFF_FFFF) &+ 6
    }

    // Bits of the words as they lie in memory. The first: version and header length, and where a fragment lies; the mark of a router,
    // which both bits of ECN together are. The second: the protocol and the source. The third: the destination.
    private static var formMask: UInt64 { UInt64(bigEndian: 0xFF00_0000_0000_3FFF) }
    private static var form: UInt64 { UInt64(bigEndian: 0x4500_0000_0000_0000) }
    private static var mark: UInt64 { UInt64(bigEndian: 0x0003_0000_0000_0000) }
    private static var sourceMask: UInt64 { UInt64(bigEndian: 0x00FF_0000_FFFF_FFFF) }
    private static var addressMask: UInt64 { UInt64(bigEndian: 0xFFFF_FFFF_0000_0000) }

    /// The packet's length and the sum of its pseudo-header, if it is of this connection and there is nothing unusual about it.
    @inline(__always)
    func read(_ packet: RawSpan, addressChanges: UInt32) -> (length: Int, pseudoSum: CarrySum)? {
        guard packet.byteCount >= 40 else { return nil }
        let third = packet.word(at: 16)
        guard third == ends, self.addressChanges == addressChanges else { return nil }
        let second = packet.word(at: 8)
        let first = packet.word(at: 0)
        guard second & Self.sourceMask == source, first & Self.formMask == Self.form, first & Self.mark != Self.mark
        else { return nil }
        var header = CarrySum(third & Self.addressMask)
        header.add(first)
        header.add(second)
        let length = Int(packet.uint16(at: 2))
        guard header.folded == 0xFFFF, length >= 40, length <= packet.byteCount else { return nil }
        return (length, CarrySum(sum &+ UInt64(length &- 20)))
    }
}
