// A capture file under construction: blocks are put into large buffers on the core, and a thread writes these to the disk.
//
// Hold draft-ietf-opsawg-pcapng beside it: §4.1 section header, §4.2 interface description, §4.3 enhanced packet, §4.6
// interface statistics, §3.5 options.
//
//     core    ─▶ │ buffer being filled │ ──▶ handed over ──▶ │ writer thread │ ─▶ write(2)
//                          ▲───────────────────────────────────────┘ free again

internal import CMartlet
internal import Glibc
internal import MartletStack
internal import Synchronization

/// A pcapng file that the ``CaptureLink``s of one core write to. It opens in Wireshark and tshark.
///
/// Writing a frame down is one copy. If the disk does not keep up, so that all buffers are full, frames are left out and
/// counted in ``missedFrames``; the links are never held up. The file is complete when it has been dropped, with its links.
@safe public final class CaptureFile: @unchecked Sendable {
    // `@unchecked`: all but the buffers' hand-over is touched by the core of the links alone.
    private let buffers: CaptureBuffers
    var buffer: UnsafeMutableRawPointer?
    var used = 0
    private var interfaces: UInt32 = 0
    /// Where the frames of the last call begin, so that they can be taken back.
    let starts: UnsafeMutablePointer<Int>
    var startCount = 0
    static let startCapacity = 65_536
    /// Bytes of a frame that are written at most.
    public let snapLength: Int

    /// Frames in the file.
    public internal(set) var frames: UInt64 = 0
    /// Frames that were left out because the disk did not keep up, or failed.
    public internal(set) var missedFrames: UInt64 = 0
    /// The error that ended the writing, as errno; 0 if there was none.
    public var writeError: Int32 { buffers.error.load(ordering: .relaxed) }

    /// Creates the file, or empties one that is there.
    ///
    /// - Parameters:
    ///   - snapLength: bytes of a frame that are written at most.
    ///   - buffers: how many mebibytes may wait for the disk.
    /// - Throws: ``LinkError/system(link:errno:during:)`` with the path as the link.
    public init(
        path: String, snapLength: Int = 262_144, buffers count: Int = 16, application: String = "Martlet"
    ) throws(LinkError) {
        precondition(snapLength > 0 && snapLength <= 262_144 && count >= 2, "a capture has two buffers or more")
        self.snapLength = snapLength
        buffers = try CaptureBuffers(path: path, count: (count << 20) / CaptureBuffers.size)
        unsafe starts = .allocate(capacity: Self.startCapacity)
        unsafe buffer = buffers.free()
        beginBlock(0x0A0D_0D0A)
        put(UInt32(0x1A2B_3C4D))
        put(UInt32(1))  // version 1.0
        put(UInt64.max)  // the section's length is not known
        putOption(4, application)
        endBlock()
    }

    deinit {
        finish()
        unsafe starts.deallocate()
    }

    /// Writes what there is, and waits until the disk has it. Frames that pass later are missed. It also happens when the file
    /// is dropped; this way a program hears of an error (``writeError``).
    public func finish() {
        flush()
        isFinished = true
        unsafe buffer = nil
        buffers.finish()
    }

    private var isFinished = false

    /// Hands over what there is to be written to the disk.
    public func flush() {
        guard unsafe buffer != nil, used > 0 else { return }
        handOver()
    }

    /// Hands over what has waited for a tenth of a second. Returns when what waits now has; nil if nothing does.
    ///
    /// Who captures at a high rate falls asleep many times a second, and a buffer that is nearly empty costs the writer as much as a
    /// full one.
    func flushIfDue(now: Int64) -> Int64? {
        guard unsafe buffer != nil, used > 0 else { return nil }
        if waitingSince == 0 { waitingSince = now }
        guard now - waitingSince >= Self.patience else { return waitingSince + Self.patience }
        handOver()
        return nil
    }

    private static var patience: Int64 { 100_000_000 }
    /// When it was first seen that something waits to be handed over; 0 if nothing does.
    private var waitingSince: Int64 = 0

    private func handOver() {
        buffers.fill(used)
        unsafe buffer = buffers.free()
        used = 0
        startCount = 0
        waitingSince = 0
    }

    // MARK: Blocks that are rare

    func addInterface(_ name: String, medium: LinkProperties.Medium) -> UInt32 {
        if need(64 + name.utf8.count) {
            beginBlock(1)
            put(UInt32(medium == .ethernet ? 1 : 101))  // LINKTYPE_ETHERNET, LINKTYPE_RAW; 16 reserved bits
            put(UInt32(snapLength))
            putOption(2, name)  // if_name
            put(UInt32(9 | 1 << 16))  // if_tsresol: 10⁻⁹ s
            put(UInt32(9))
            endBlock()
        }
        interfaces += 1
        return interfaces - 1
    }

    /// Says what passed an interface, and why what did not was dropped.
    func writeStatistics(_ interface: UInt32, _ counters: LinkCounters) {
        let drops = LinkDrop.allCases.flatMap { reason in
            let (came, went) = (counters.received.drops[reason], counters.transmitted.drops[reason])
            return (came > 0 ? ["\(came) received frames dropped: \(reason)"] : [])
                + (went > 0 ? ["\(went) frames to transmit dropped: \(reason)"] : [])
        }
        let comment = drops.joined(separator: "\n")
        guard need(96 + comment.utf8.count) else { return }
        beginBlock(5)
        put(interface)
        let now = UInt64(martlet_realtime_ns())
        put(UInt32(now >> 32))
        put(UInt32(truncatingIfNeeded: now))
        if !comment.isEmpty { putOption(1, comment) }
        put(UInt32(4 | 8 << 16))  // isb_ifrecv
        put(counters.received.frames)
        put(UInt32(5 | 8 << 16))  // isb_ifdrop
        put(counters.received.drops.total)
        endBlock()
    }

    /// Sees to room for `count` bytes. Returns false if there is none.
    func need(_ count: Int) -> Bool {
        if unsafe buffer == nil, !isFinished { unsafe buffer = buffers.free() }
        if unsafe buffer != nil, used + count > CaptureBuffers.size, used > 0 { handOver() }
        return unsafe buffer != nil && used + count <= CaptureBuffers.size
    }

    private var blockStart = 0

    func beginBlock(_ type: UInt32) {
        blockStart = used
        put(type)
        put(UInt32(0))
    }

    func endBlock() {
        put(UInt32(0))  // opt_endofopt
        let length = UInt32(used + 4 - blockStart)
        put(length)
        unsafe buffer?.storeBytes(of: length.littleEndian, toByteOffset: blockStart + 4, as: UInt32.self)
    }

    func put<Number: FixedWidthInteger & BitwiseCopyable>(_ number: Number) {
        // SAFETY: every caller has seen to room.
        unsafe buffer?.storeBytes(of: number.littleEndian, toByteOffset: used, as: Number.self)
        used &+= MemoryLayout<Number>.size
    }

    /// An option; what does not fit its length field is cut.
    func putOption(_ code: UInt16, _ text: String) {
        let bytes = Array(text.utf8.prefix(32_768))
        put(code)
        put(UInt16(bytes.count))
        for byte in bytes { put(byte) }
        for _ in 0..<(-bytes.count & 3) { put(UInt8(0)) }
    }
}
