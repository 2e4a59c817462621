// Where a capture is being written: enhanced packet blocks (draft-ietf-opsawg-pcapng §4.3), each written in one go.
//
//     type │ length │ interface │ time, high │ time, low │ bytes here │ bytes it had │ frame, padding │ [direction │ end] │ length

internal import MartletStack

/// A place in a file's buffer, kept beside the file for the length of a burst: what a class holds is looked at once a burst then, and
/// not at each frame.
@safe struct CaptureCursor {
    /// epb_flags, whose lowest bits are the direction.
    enum Direction: UInt64 {
        /// There are no options then.
        case unknown = 0
        case received = 1
        case transmitted = 2
    }

    /// Bytes of a block besides the frame, at most: header, direction, end of options, length again.
    static var overhead: Int { 28 + 8 + 4 + 4 }

    // SAFETY: `target` is the file's buffer, which stays its own until `need` hands it over, and is asked for again then.
    private var target: UnsafeMutableRawPointer?
    private var used: Int
    private var written: UInt64 = 0
    private let snapLength: Int
    private let interface: UInt32
    private let direction: Direction
    /// Where the last block begins.
    private(set) var start = 0
    /// Bytes that are written of its frame.
    private(set) var length = 0

    init(_ file: CaptureFile, _ interface: UInt32, _ direction: Direction) {
        unsafe target = file.buffer
        used = file.used
        snapLength = file.snapLength
        self.interface = interface
        self.direction = direction
    }

    /// A block for a frame of so many bytes that passed at `time`, all but the ``length`` bytes of the frame, which go to where it says;
    /// nil if there is no room, and the frame is missed.
    @inline(__always)
    mutating func block(for whole: Int, at time: Int64, in file: CaptureFile) -> UnsafeMutableRawPointer? {
        length = min(whole, snapLength)
        let size = (direction == .unknown ? 28 + 4 : Self.overhead) &+ (length &+ 3) & ~3
        if unsafe target == nil || used &+ size > CaptureBuffers.size { turn(for: size, in: file) }
        guard let target = unsafe target else { return nil }
        start = used
        used &+= size
        written &+= 1
        // SAFETY: there is room for `size` bytes.
        let block = unsafe target + start
        let time = UInt64(bitPattern: time)
        unsafe Self.put(6, UInt64(size), to: block)
        unsafe Self.put(UInt64(interface), time &>> 32, to: block + 8)
        unsafe Self.put(time & 0xFFFF_FFFF, UInt64(length), to: block + 16)
        unsafe (block + 24).storeBytes(of: UInt32(truncatingIfNeeded: whole).littleEndian, as: UInt32.self)
        // The padding; of what is overwritten here, the rest comes now.
        unsafe (block + 28 + length).storeBytes(of: 0, as: UInt32.self)
        if direction != .unknown {
            unsafe Self.put(2 | 4 &<< 16, direction.rawValue, to: block + size - 16)
            unsafe (block + size - 8).storeBytes(of: 0, as: UInt32.self)
        }
        unsafe (block + size - 4).storeBytes(of: UInt32(truncatingIfNeeded: size).littleEndian, as: UInt32.self)
        return unsafe block + 28
    }

    /// Another buffer, if the file has one.
    @inline(never)
    private mutating func turn(for size: Int, in file: CaptureFile) {
        file.used = used
        if file.need(size) {
            unsafe target = file.buffer
        } else {
            unsafe target = nil
            file.miss(1)
        }
        used = file.used
    }

    /// The burst is over: the file goes on where the cursor is.
    func end(in file: CaptureFile) {
        file.used = used
        file.frames &+= written
    }

    /// Two words of 32 bits.
    @inline(__always)
    private static func put(_ first: UInt64, _ second: UInt64, to target: UnsafeMutableRawPointer) {
        unsafe target.storeBytes(of: (first | second &<< 32).littleEndian, as: UInt64.self)
    }
}
