// The receive ring: frames are copied out of it, because the kernel wants their places back.

internal import CMartlet
internal import Glibc
public import MartletStack

extension PacketLink {
    public mutating func receive(into burst: inout Burst) -> Int {
        guard receiveCount > 0 else { return 0 }
        return options.receivesBlocks ? receiveBlocks(into: &burst) : receiveFrames(into: &burst)
    }

    /// Whether a frame waits.
    var hasFrame: Bool {
        guard receiveCount > 0 else { return false }
        if !options.receivesBlocks { return unsafe martlet_packet_v2_ready(socket.receive + receiveNext * frameSize) }
        return unsafe blockLeft > 0 || martlet_packet_block_ready(socket.receive + receiveNext * blockSize)
    }

    // MARK: Frame by frame

    private mutating func receiveFrames(into burst: inout Burst) -> Int {
        var count = 0
        // A ring's worth at most, so that a flood of frames that are dropped ends too.
        for _ in 0..<receiveCount {
            let place = unsafe socket.receive + receiveNext * frameSize
            guard !burst.isFull, unsafe martlet_packet_v2_ready(place) else { break }
            // Without a free frame it stays where it is: the ring is the queue then.
            guard let frame = burst.takeFrame() else { break }
            if unsafe take(martlet_packet_v2_frame(place), into: frame, of: &burst) { count += 1 }
            unsafe martlet_packet_v2_release(place)
            receiveNext = receiveNext + 1 == receiveCount ? 0 : receiveNext + 1
        }
        return count
    }

    // MARK: In blocks

    private mutating func receiveBlocks(into burst: inout Burst) -> Int {
        var count = 0
        for _ in 0..<receiveCount {
            let block = unsafe socket.receive + receiveNext * blockSize
            if blockLeft == 0 {
                guard unsafe martlet_packet_block_ready(block) else { break }
                blockLeft = unsafe Int(martlet_packet_block_count(block))
                blockOffset = unsafe Int(martlet_packet_block_first(block))
            }
            while blockLeft > 0 {
                guard !burst.isFull, let frame = burst.takeFrame() else { return count }
                let place = unsafe block + blockOffset
                if unsafe take(martlet_packet_v3_frame(place), into: frame, of: &burst) { count += 1 }
                blockOffset += unsafe Int(martlet_packet_v3_next(place))
                blockLeft -= 1
            }
            unsafe martlet_packet_block_release(block)
            receiveNext = receiveNext + 1 == receiveCount ? 0 : receiveNext + 1
        }
        return count
    }

    // MARK: One frame

    /// Copies a frame out of the ring and appends it to the burst. Returns whether it did; otherwise it is counted as dropped.
    private mutating func take(
        _ received: martlet_packet_frame, into frame: consuming Frame, of burst: inout Burst
    ) -> Bool {
        let length = unsafe Int(received.length)
        // The tag of a VLAN is not in the frame: the kernel has put it beside.
        let isTagged = unsafe Int(received.status) & MARTLET_PACKET_TAGGED != 0
        let tagLength = isTagged ? 4 : 0
        guard length >= 14 else { return drop(.runt) }
        guard unsafe received.captured == received.length, length + tagLength <= burst.frameRoom else {
            return drop(.oversize)
        }
        frame.setLength(length + tagLength)
        var descriptor = FrameDescriptor()
        // SAFETY: the place is this link's until it is released, and the kernel has filled so many bytes of it, behind a
        // virtio-net header.
        let bytes = unsafe UnsafeRawPointer(received.bytes.unsafelyUnwrapped)
        let header = unsafe (bytes - martlet_virtio_header.length).loadUnaligned(as: martlet_virtio_header.self)
        guard header.describe(&descriptor, length: length) else { return drop(.malformed) }
        let status = unsafe Int(received.status)
        if status & MARTLET_PACKET_CHECKSUM_NOT_READY != 0 {
            descriptor.offload.formUnion([.checksumVerified, .checksumPartial])
        } else if status & MARTLET_PACKET_CHECKSUM_VALID != 0 {
            descriptor.offload.insert(.checksumVerified)
        }
        frame.offload = descriptor.offload
        frame.segmentSize = Int(descriptor.segmentSize)
        var target = frame.mutableBytes
        unsafe target.withUnsafeMutableBytes { target in
            let start = unsafe target.baseAddress.unsafelyUnwrapped
            guard isTagged else {
                unsafe start.copyMemory(from: bytes, byteCount: length)
                return
            }
            let hasProtocol = status & MARTLET_PACKET_TAG_PROTOCOL != 0
            let tag = unsafe UInt32(hasProtocol ? received.tag_protocol : 0x8100) << 16 | UInt32(received.tag)
            unsafe start.copyMemory(from: bytes, byteCount: 12)
            unsafe (start + 12).storeBytes(of: tag.bigEndian, as: UInt32.self)
            unsafe (start + 16).copyMemory(from: bytes + 12, byteCount: length - 12)
        }
        if options.timestamps {
            frame.timestamp = unsafe Int64(received.seconds) * 1_000_000_000 + Int64(received.nanoseconds)
        }
        burst.append(frame)
        counters.received.count(1, bytes: length + tagLength)
        return true
    }

    private mutating func drop(_ reason: LinkDrop) -> Bool {
        counters.received.drops[reason] &+= 1
        return false
    }
}
