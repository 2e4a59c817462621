// The virtio-net header that goes before a frame through a TAP or a packet socket: what is left to the other side to finish.
// Hold virtio 1.2 §5.1.6.2 and §5.1.6.4 beside it.

internal import CMartlet
internal import MartletStack

extension martlet_virtio_header {
    /// Bytes of the header.
    static var length: Int { MemoryLayout<martlet_virtio_header>.size }

    /// Bytes of the longest packet that a large frame may hold: what IPv4's length can say.
    static var largestPacket: Int { 65_535 }

    /// What the kernel is to finish of this frame; nil if the frame has no header that it could be done to.
    ///
    /// Most frames are complete, and have a header of zeros.
    init?(finishing packet: RawSpan, _ descriptor: FrameDescriptor, medium: LinkProperties.Medium) {
        self.init()
        guard descriptor.offload.contains(.checksumPartial) || descriptor.segmentSize > 0 else { return }
        guard let transport = Transport(in: packet, medium: medium) else { return nil }
        flags = UInt8(MARTLET_VIRTIO_NEEDS_CHECKSUM)
        checksum_start = UInt16(transport.start)
        checksum_offset = UInt16(transport.checksumOffset)
        let headers = transport.start + transport.headerLength
        guard packet.byteCount >= headers else { return nil }
        header_length = UInt16(clamping: headers)
        if descriptor.segmentSize > 0, packet.byteCount - headers > Int(descriptor.segmentSize) {
            segments = transport.segmentation
            segment_size = descriptor.segmentSize
        }
    }

    /// What is known of a received frame. False if the header says what cannot be.
    ///
    /// A checksum that is not filled in is that of a frame which never was on a wire: it counts as verified, and whoever
    /// transmits the frame completes it.
    func describe(_ descriptor: inout FrameDescriptor, length: Int) -> Bool {
        if Int(flags) & MARTLET_VIRTIO_NEEDS_CHECKSUM != 0 {
            guard Int(checksum_start) + Int(checksum_offset) + 2 <= length else { return false }
            descriptor.offload.formUnion([.checksumVerified, .checksumPartial])
        } else if Int(flags) & MARTLET_VIRTIO_CHECKSUM_VALID != 0 {
            descriptor.offload.insert(.checksumVerified)
        }
        guard Int(segments) != MARTLET_VIRTIO_SEGMENTS_NONE else { return true }
        guard segment_size > 0 else { return false }
        descriptor.segmentSize = segment_size
        return true
    }

    /// Where the transport header is, and what it is.
    private struct Transport {
        var start: Int
        var headerLength: Int
        var checksumOffset: Int
        var segmentation: UInt8

        init?(in packet: RawSpan, medium: LinkProperties.Medium) {
            var network = 0
            if medium == .ethernet {
                network = 14
                while packet.byteCount >= network, [0x8100, 0x88A8].contains(packet.uint16(at: network - 2)) {
                    network += 4
                }
            }
            guard packet.byteCount >= network + 20 else { return nil }
            let isIPv4 = packet.byte(at: network) >> 4 == 4
            guard isIPv4 || packet.byte(at: network) >> 4 == 6 else { return nil }
            start = network + (isIPv4 ? Int(packet.byte(at: network) & 0xF) * 4 : 40)
            switch packet.byte(at: network + (isIPv4 ? 9 : 6)) {
            case 6:
                guard packet.byteCount >= start + 20 else { return nil }
                headerLength = Int(packet.byte(at: start + 12) >> 4) * 4
                guard headerLength >= 20 else { return nil }
                checksumOffset = 16
                segmentation = UInt8(isIPv4 ? MARTLET_VIRTIO_SEGMENTS_TCP4 : MARTLET_VIRTIO_SEGMENTS_TCP6)
                // A cut segment with CWR has it in the first piece only.
                if packet.byte(at: start + 13) & 0x80 != 0 { segmentation |= UInt8(MARTLET_VIRTIO_SEGMENTS_ECN) }
            case 17:
                guard packet.byteCount >= start + 8 else { return nil }
                (headerLength, checksumOffset) = (8, 6)
                segmentation = UInt8(MARTLET_VIRTIO_SEGMENTS_UDP)
            default: return nil
            }
        }
    }
}
