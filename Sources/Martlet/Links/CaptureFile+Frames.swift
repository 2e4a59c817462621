// Bursts into a capture file, and out of it again if they were not taken.

internal import CMartlet
internal import MartletStack

extension CaptureFile {
    private static var overhead: Int { CaptureCursor.overhead }
    private static var commentRoom: Int { 64 }

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
        write(&burst, from: burst.count - count, interface, .received)
    }

    /// Writes the frames of `burst`, which are to leave, or were dropped.
    func write(_ burst: inout Burst, _ interface: UInt32, dropped: LinkDrop? = nil) {
        startCount = 0
        if let dropped {
            burst.changeEach { write($0, interface, dropped) }
        } else {
            write(&burst, from: 0, interface, .transmitted)
        }
    }

    private func write(
        _ burst: inout Burst, from first: Int, _ interface: UInt32, _ direction: CaptureCursor.Direction
    ) {
        let (arena, capacity) = (unsafe burst.arena, burst.frameCapacity)
        let clock = martlet_realtime_ns()
        var cursor = CaptureCursor(self, interface, direction)
        unsafe burst.withDescriptors { frames in
            for index in first..<frames.count {
                let frame = unsafe frames[index]
                // SAFETY: a frame lies within its slot, and so does its time.
                let slot = unsafe arena + Int(frame.slot) &* capacity
                var time = clock
                if direction == .received, frame.offload.contains(.timestamped), frame.start >= 8 {
                    time = unsafe slot.loadUnaligned(as: Int64.self)
                }
                guard let target = unsafe cursor.block(for: Int(frame.length), at: time, in: self) else { continue }
                unsafe target.copyMemory(from: slot + Int(frame.start), byteCount: cursor.length)
                if direction == .transmitted, startCount < Self.startCapacity {
                    unsafe starts[startCount] = cursor.start
                    startCount &+= 1
                }
            }
        }
        cursor.end(in: self)
    }

    func miss(_ count: Int) { missedFrames &+= UInt64(count) }

    /// The last `count` frames that were to leave did not.
    func takeBack(_ count: Int) {
        guard count > 0, startCount >= count else { return }
        unsafe used = starts[startCount - count]
        startCount -= count
        frames &-= UInt64(count)
    }

    /// A frame that was dropped on its way out, with the reason as a comment.
    private func write(_ frame: borrowing Frame, _ interface: UInt32, _ dropped: LinkDrop) {
        let length = min(frame.length, snapLength)
        guard need(Self.overhead + length + 3 + Self.commentRoom) else {
            missedFrames &+= 1
            return
        }
        frames &+= 1
        let time = UInt64(bitPattern: martlet_realtime_ns())
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
        put(UInt32(2 | 4 << 16))
        put(UInt32(CaptureCursor.Direction.transmitted.rawValue))
        putOption(1, "dropped: \(dropped)")
        endBlock()
    }
}
