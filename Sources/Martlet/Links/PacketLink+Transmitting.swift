// The transmit ring: frames are copied into it and go back to their pool at once, and one system call sends a burst.

internal import CMartlet
internal import Glibc
public import MartletStack

extension PacketLink {
    /// Bytes of a frame that the kernel copies out of the ring. The rest of a longer one it refers to, until it is sent.
    private static var copiedLength: Int { 2048 }

    public mutating func transmit(_ burst: inout Burst) -> Int {
        guard transmitCount > 0 else { return 0 }
        guard state != .gone else {
            let count = burst.count
            counters.transmitted.drops[.linkDown] &+= UInt64(count)
            burst.removeAll()
            return count
        }
        var (taken, marked, bytes) = (0, 0, 0)
        while !burst.isEmpty {
            let place = unsafe place(transmitNext + marked)
            guard unsafe martlet_packet_transmit_free(place, options.receivesBlocks) else { break }
            if let frame = burst.popFirst() {
                taken += 1
                guard unsafe fill(place, with: frame) else { continue }
                bytes += frame.length
                marked += 1
            }
        }
        if marked > 0 { kick(marked, bytes: bytes) }
        return taken
    }

    /// Whether a frame could be transmitted.
    var hasRoom: Bool {
        unsafe transmitCount > 0 && martlet_packet_transmit_free(place(transmitNext), options.receivesBlocks)
    }

    private func place(_ index: Int) -> UnsafeMutablePointer<UInt8> {
        unsafe socket.transmit + (index >= transmitCount ? index - transmitCount : index) * frameSize
    }

    /// Copies a frame to its place. False if it cannot leave, and is counted as dropped.
    private mutating func fill(_ place: UnsafeMutablePointer<UInt8>, with frame: borrowing Frame) -> Bool {
        let length = frame.length
        guard length >= 14 else { return refuse(.runt) }
        let isCut = frame.segmentSize > 0
        guard length <= (isCut ? .max : properties.largestFrame), length + Int(MARTLET_PACKET_OVERHEAD) <= frameSize
        else {
            return refuse(.oversize)
        }
        let bytes = frame.bytes
        var descriptor = FrameDescriptor()
        (descriptor.offload, descriptor.segmentSize) = (frame.offload, UInt16(frame.segmentSize))
        guard var header = martlet_virtio_header(finishing: bytes, descriptor, medium: .ethernet) else {
            return refuse(.malformed)
        }
        if length <= PacketLink.copiedLength { header.header_length = UInt16(length) }
        let offset = options.receivesBlocks ? MARTLET_PACKET_V3_OFFSET : MARTLET_PACKET_V2_OFFSET
        // SAFETY: the place is this link's while it is free, and has room for so much.
        let start = unsafe UnsafeMutableRawPointer(place + Int(offset))
        unsafe start.storeBytes(of: header, as: martlet_virtio_header.self)
        unsafe bytes.withUnsafeBytes {
            unsafe (start + martlet_virtio_header.length).copyMemory(
                from: $0.baseAddress.unsafelyUnwrapped, byteCount: length)
        }
        unsafe martlet_packet_transmit_mark(
            place, options.receivesBlocks, UInt32(length + martlet_virtio_header.length))
        return true
    }

    private mutating func refuse(_ reason: LinkDrop) -> Bool {
        counters.transmitted.drops[reason] &+= 1
        return false
    }

    /// Has the kernel send what is marked, and sees to what it does not want.
    private mutating func kick(_ marked: Int, bytes: Int) {
        var (marked, left) = (marked, marked)
        var result = unsafe martlet_packet_kick(socket.fd)
        // Each turn takes out one frame that the kernel refuses.
        while result < 0, left > 0 {
            let refused = firstUnsent(of: left)
            guard refused < left, -result != EAGAIN else { break }
            (transmitNext, left) = (wrapped(transmitNext + refused), left - refused)
            if -result == ENETDOWN || -result == ENXIO {
                takeBack(left, counting: .linkDown)
                (marked, left) = (marked - left, 0)
                _ = refresh()
            } else {
                // The driver had no room for it and it is lost, or it was no frame to the kernel's mind.
                takeOutFirst(of: left, counting: -result == ENOBUFS ? .ringFull : .refused)
                (marked, left) = (marked - 1, left - 1)
                if left > 0 { result = unsafe martlet_packet_kick(socket.fd) }
            }
        }
        if left > 0 {
            // Too much may be on its way for the socket: the rest goes with the next kick.
            isOwing = unsafe martlet_packet_transmit_unsent(place(transmitNext + left - 1), options.receivesBlocks)
        }
        transmitNext = wrapped(transmitNext + left)
        counters.transmitted.count(marked, bytes: bytes)
    }

    /// Has the kernel send what it has not come to yet.
    mutating func settle() {
        guard isOwing else { return }
        _ = unsafe martlet_packet_kick(socket.fd)
        isOwing = unsafe martlet_packet_transmit_unsent(
            place(transmitNext == 0 ? transmitCount - 1 : transmitNext - 1), options.receivesBlocks)
    }

    private func wrapped(_ index: Int) -> Int { index >= transmitCount ? index - transmitCount : index }

    /// The place, counted from the next one, of the first frame that the kernel has not taken.
    private func firstUnsent(of count: Int) -> Int {
        for index in 0..<count
        where unsafe martlet_packet_transmit_unsent(place(transmitNext + index), options.receivesBlocks) {
            return index
        }
        return count
    }

    /// The kernel goes on at the place where it stopped: what follows moves up, and the frame that it refused is gone.
    private mutating func takeOutFirst(of count: Int, counting reason: LinkDrop) {
        for index in 0..<count - 1 {
            unsafe UnsafeMutableRawPointer(place(transmitNext + index)).copyMemory(
                from: place(transmitNext + index + 1), byteCount: frameSize)
        }
        unsafe martlet_packet_transmit_reset(place(transmitNext + count - 1), options.receivesBlocks)
        counters.transmitted.drops[reason] &+= 1
    }

    private mutating func takeBack(_ count: Int, counting reason: LinkDrop) {
        for index in 0..<count {
            unsafe martlet_packet_transmit_reset(place(transmitNext + index), options.receivesBlocks)
        }
        counters.transmitted.drops[reason] &+= UInt64(count)
    }
}
