// A frame as it lies in the receive ring of a packet socket.

internal import CMartlet
internal import Glibc

extension martlet_packet_frame {
    /// The tag of a VLAN is not in the frame: the kernel has put it beside.
    @inline(__always)
    var isTagged: Bool { unsafe Int(status) & MARTLET_PACKET_TAGGED != 0 }

    /// Bytes of the frame with its tag.
    @inline(__always)
    var lengthWithTag: Int { unsafe Int(length) &+ (isTagged ? 4 : 0) }

    /// Why it is none that can be had; nil if it is.
    @inline(__always)
    var fault: LinkDrop? {
        if unsafe length < 14 { return .runt }
        return unsafe captured == length ? nil : .oversize
    }

    /// When it was received, in nanoseconds since 1970.
    @inline(__always)
    var time: Int64 { unsafe Int64(seconds) &* 1_000_000_000 &+ Int64(nanoseconds) }

    /// Copies the first `count` bytes of the frame, with its tag in its place.
    ///
    /// The place is the link's until it is released, and the kernel has filled ``length`` bytes of it; `count` is no more than
    /// ``lengthWithTag``, and `target` has room for them.
    @unsafe @inline(__always)
    func copy(to target: UnsafeMutableRawPointer, count: Int) {
        let source = unsafe UnsafeRawPointer(bytes.unsafelyUnwrapped)
        if unsafe !isTagged { return unsafe target.copyMemory(from: source, byteCount: count) }
        let hasProtocol = unsafe Int(status) & MARTLET_PACKET_TAG_PROTOCOL != 0
        let value = unsafe (UInt32(hasProtocol ? tag_protocol : 0x8100) << 16 | UInt32(tag)).bigEndian
        unsafe target.copyMemory(from: source, byteCount: min(count, 12))
        if count <= 12 { return }
        unsafe withUnsafeBytes(of: value) {
            unsafe (target + 12).copyMemory(from: $0.baseAddress.unsafelyUnwrapped, byteCount: min(count - 12, 4))
        }
        if count > 16 { unsafe (target + 16).copyMemory(from: source + 12, byteCount: count - 16) }
    }
}
