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
    private var buffer: UnsafeMutableRawPointer?
    private var used = 0
    private var interfaces: UInt32 = 0
    /// Where the frames of the last call begin, so that they can be taken back.
    private let starts: UnsafeMutablePointer<Int>
    private var startCount = 0
    private static let startCapacity = 65_536
    /// Bytes of a block besides the frame: header, direction, end of options, length again.
    private static let overhead = 28 + 8 + 4 + 4
    private static let commentRoom = 64
    /// Bytes of a frame that are written at most.
    public let snapLength: Int

    /// Frames in the file.
    public private(set) var frames: UInt64 = 0
    /// Frames that were left out because the disk did not keep up, or failed.
    public private(set) var missedFrames: UInt64 = 0
    /// The error that ended the writing, as errno; 0 if there was none.
    public var writeError: Int32 { buffers.error.load(ordering: .relaxed) }

    /// Creates the file, or empties one that is there.
    ///
    /// - Parameters:
    ///   - snapLength: bytes of a frame that are written at most.
    ///   - buffers: how many buffers of 1 MiB wait for the disk.
    /// - Throws: ``LinkError/system(link:errno:during:)`` with the path as the link.
    public init(
        path: String, snapLength: Int = 262_144, buffers count: Int = 16, application: String = "Martlet"
    ) throws(LinkError) {
        precondition(snapLength > 0 && snapLength <= 262_144 && count >= 2, "a capture has two buffers or more")
        self.snapLength = snapLength
        buffers = try CaptureBuffers(path: path, count: count)
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

    private func handOver() {
        buffers.fill(used)
        unsafe buffer = buffers.free()
        used = 0
        startCount = 0
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
    private func need(_ count: Int) -> Bool {
        if unsafe buffer == nil, !isFinished { unsafe buffer = buffers.free() }
        if unsafe buffer != nil, used + count > CaptureBuffers.size, used > 0 { handOver() }
        return unsafe buffer != nil && used + count <= CaptureBuffers.size
    }

    private var blockStart = 0

    private func beginBlock(_ type: UInt32) {
        blockStart = used
        put(type)
        put(UInt32(0))
    }

    private func endBlock() {
        put(UInt32(0))  // opt_endofopt
        let length = UInt32(used + 4 - blockStart)
        put(length)
        unsafe buffer?.storeBytes(of: length.littleEndian, toByteOffset: blockStart + 4, as: UInt32.self)
    }

    private func put<Number: FixedWidthInteger & BitwiseCopyable>(_ number: Number) {
        // SAFETY: every caller has seen to room.
        unsafe buffer?.storeBytes(of: number.littleEndian, toByteOffset: used, as: Number.self)
        used &+= MemoryLayout<Number>.size
    }

    /// An option; what does not fit its length field is cut.
    private func putOption(_ code: UInt16, _ text: String) {
        let bytes = Array(text.utf8.prefix(32_768))
        put(code)
        put(UInt16(bytes.count))
        for byte in bytes { put(byte) }
        for _ in 0..<(-bytes.count & 3) { put(UInt8(0)) }
    }

    // MARK: Frames

    /// How many frames from the beginning of `burst` can be written so that they can be taken back.
    func makeRoom(for burst: inout Burst) -> Int {
        var count = fitting(&burst)
        if count == 0 || count < burst.count && used > CaptureBuffers.size / 2 {
            if need(CaptureBuffers.size) { count = fitting(&burst) }
        }
        return count
    }

    private func fitting(_ burst: inout Burst) -> Int {
        guard unsafe buffer != nil else { return 0 }
        var room = CaptureBuffers.size - used
        return unsafe burst.withDescriptors { frames in
            for index in 0..<frames.count {
                room -= unsafe Self.overhead + min(Int(frames[index].length), snapLength) + 3
                if room < 0 { return index }
            }
            return frames.count
        }
    }

    /// Writes the last `count` frames of `burst`, which have come in.
    func write(_ burst: inout Burst, last count: Int, _ interface: UInt32) {
        let skipped = burst.count - count
        let clock = martlet_realtime_ns()
        var index = 0
        burst.changeEach { frame in
            index &+= 1
            if index > skipped { write(frame, interface, 1, clock, nil) }
        }
    }

    /// Writes the frames of `burst`, which are to leave, or were dropped.
    func write(_ burst: inout Burst, _ interface: UInt32, dropped: LinkDrop? = nil) {
        startCount = 0
        let clock = martlet_realtime_ns()
        burst.changeEach { write($0, interface, 2, clock, dropped) }
    }

    func miss(_ count: Int) { missedFrames &+= UInt64(count) }

    /// The last `count` frames that were to leave did not.
    func takeBack(_ count: Int) {
        guard count > 0, startCount >= count else { return }
        unsafe used = starts[startCount - count]
        startCount -= count
        frames &-= UInt64(count)
    }

    private func write(
        _ frame: borrowing Frame, _ interface: UInt32, _ direction: UInt32, _ clock: Int64, _ dropped: LinkDrop?
    ) {
        let length = min(frame.length, snapLength)
        guard need(Self.overhead + length + 3 + Self.commentRoom) else {
            missedFrames &+= 1
            return
        }
        if startCount < Self.startCapacity {
            unsafe starts[startCount] = used
            startCount &+= 1
        }
        frames &+= 1
        let time = UInt64(bitPattern: direction == 1 ? frame.timestamp ?? clock : clock)
        beginBlock(6)
        put(interface)
        put(UInt32(truncatingIfNeeded: time &>> 32))
        put(UInt32(truncatingIfNeeded: time))
        put(UInt32(truncatingIfNeeded: length))
        put(UInt32(truncatingIfNeeded: frame.length))
        unsafe frame.bytes.withUnsafeBytes { bytes in
            // SAFETY: `need` has seen to room for the frame and its padding.
            guard let source = bytes.baseAddress, let target = unsafe buffer else { return }
            unsafe (target + used).copyMemory(from: source, byteCount: length)
            unsafe target.storeBytes(of: 0, toByteOffset: used &+ length, as: UInt32.self)
        }
        used &+= (length &+ 3) & ~3
        put(UInt32(2 | 4 << 16))  // epb_flags, whose lowest bits are the direction
        put(direction)
        if let dropped { putOption(1, "dropped: \(dropped)") }
        endBlock()
    }
}
