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
        unsafe walkBlocks { link, received in
            guard !burst.isFull, let frame = burst.takeFrame() else { return false }
            if unsafe link.take(received, into: frame, of: &burst) { count += 1 }
            return true
        }
        return count
    }

    /// Shows `body` the frames of the blocks that are ready, until it wants no more; that one is the first the next time. A ring's
    /// worth at most.
    @unsafe @inline(__always)
    mutating func walkBlocks(_ body: (inout PacketLink, martlet_packet_frame) -> Bool) {
        for _ in 0..<receiveCount {
            let block = unsafe socket.receive + receiveNext * blockSize
            if blockLeft == 0 {
                guard unsafe martlet_packet_block_ready(block) else { return }
                blockLeft = unsafe Int(martlet_packet_block_count(block))
                blockOffset = unsafe Int(martlet_packet_block_first(block))
            }
            while blockLeft > 0 {
                let place = unsafe block + blockOffset
                guard unsafe body(&self, martlet_packet_v3_frame(place)) else { return }
                blockOffset += unsafe Int(martlet_packet_v3_next(place))
                blockLeft -= 1
            }
            unsafe martlet_packet_block_release(block)
            receiveNext = receiveNext + 1 == receiveCount ? 0 : receiveNext + 1
        }
    }

    // MARK: One frame

    /// Copies a frame out of the ring and appends it to the burst. Returns whether it did; otherwise it is counted as dropped.
    private mutating func take(
        _ received: martlet_packet_frame, into frame: consuming Frame, of burst: inout Burst
    ) -> Bool {
        if let fault = unsafe received.fault { return drop(fault) }
        let (length, whole) = unsafe (Int(received.length), received.lengthWithTag)
        guard whole <= burst.frameRoom else { return drop(.oversize) }
        frame.setLength(whole)
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
        unsafe target.withUnsafeMutableBytes {
            unsafe received.copy(to: $0.baseAddress.unsafelyUnwrapped, count: whole)
        }
        if options.timestamps { frame.timestamp = unsafe received.time }
        burst.append(frame)
        counters.received.count(1, bytes: whole)
        return true
    }

    private mutating func drop(_ reason: LinkDrop) -> Bool {
        counters.received.drops[reason] &+= 1
        return false
    }
}
