// How the options of a TCP header are laid out when written.
//
// Each option is filled with NOPs to a multiple of four bytes, so that every number is aligned. The order is that of the
// most common stacks, because middleboxes know it, and because a receiver's header prediction looks for it:
//
//     SYN       │ MSS │ SACK permitted, timestamps │ NOP, window scale │ …
//     other     │ NOP, NOP, timestamps │ NOP, NOP, SACK │
//
// SACK-permitted takes the place of the two NOPs before the timestamps, if both are there.

extension TCPOptions {
    /// Bytes that ``write(to:)`` writes: a multiple of four, and of no use to a header above 40.
    @inlinable
    @inline(__always)
    var length: Int {
        if isTimestampsAlone { return 12 }
        return lengthWithoutSACK &+ (sackCount == 0 ? 0 : 4 &+ 8 &* Int(sackCount))
    }

    /// Whether these are the options that nearly every segment of an established connection has.
    @inlinable
    @inline(__always)
    var isTimestampsAlone: Bool {
        hasTimestamps && !isSACKPermitted && sackCount == 0 && windowScale == 255 && maximumSegmentSize == 0
            && userTimeout == 0 && fastOpenLength == 255
    }

    /// Whether these are the options of nearly every SYN, all of which agree on something.
    @inlinable
    @inline(__always)
    var isUsualSYN: Bool {
        hasTimestamps && isSACKPermitted && sackCount == 0 && windowScale != 255 && maximumSegmentSize != 0
            && userTimeout == 0 && fastOpenLength == 255
    }

    /// How many SACK blocks fit beside the other options: 3 with timestamps, 4 without.
    @inlinable
    var sackCapacity: Int {
        let left = TCPOptions.maximumLength &- lengthWithoutSACK &- 4
        return left < 0 ? 0 : min(left &>> 3, 4)
    }

    @inlinable
    var lengthWithoutSACK: Int {
        var length = hasTimestamps ? 12 : isSACKPermitted ? 4 : 0
        if maximumSegmentSize != 0 { length &+= 4 }
        if windowScale != 255 { length &+= 4 }
        if userTimeout != 0 { length &+= 4 }
        if fastOpenLength != 255 { length &+= (Int(fastOpenLength) &+ 2 &+ 3) & ~3 }
        return length
    }

    /// Writes ``length`` bytes to the start of `bytes`.
    ///
    /// - Precondition: `length` is at most 40 and at most the length of `bytes`; there are at most 4 SACK blocks, and the
    ///   cookie has at most 16 bytes.
    @inlinable
    @inline(__always)
    func write(to bytes: inout MutableRawSpan) {
        if isTimestampsAlone {
            bytes.store(TCPOptions.timestampsPrefix, at: 0)
            bytes.store(timestampValue, at: 4)
            bytes.store(timestampEcho, at: 8)
        } else {
            writeAll(to: &bytes)
        }
    }

    @usableFromInline
    func writeAll(to bytes: inout MutableRawSpan) {
        precondition(length <= TCPOptions.maximumLength, "a header has 40 bytes for options")
        var offset = 0
        if maximumSegmentSize != 0 {
            bytes.store(TCPOptions.segmentSizePrefix | UInt32(maximumSegmentSize), at: offset)
            offset &+= 4
        }
        if hasTimestamps {
            let prefix = isSACKPermitted ? TCPOptions.permittedTimestampsPrefix : TCPOptions.timestampsPrefix
            bytes.store(prefix, at: offset)
            bytes.store(timestampValue, at: offset &+ 4)
            bytes.store(timestampEcho, at: offset &+ 8)
            offset &+= 12
        } else if isSACKPermitted {
            bytes.store(0x0101_0402 as UInt32, at: offset)
            offset &+= 4
        }
        if windowScale != 255 {
            bytes.store(TCPOptions.scalePrefix | UInt32(windowScale), at: offset)
            offset &+= 4
        }
        if userTimeout != 0 {
            bytes.store(0x1C04_0000 | UInt32(userTimeout), at: offset)
            offset &+= 4
        }
        if sackCount > 0 {
            bytes.store(0x0101_0502 &+ UInt32(sackCount) &* 8, at: offset)
            offset &+= 4
            for index in 0..<Int(sackCount) {
                bytes.store(sackBlocks[index].start.bits, at: offset)
                bytes.store(sackBlocks[index].end.bits, at: offset &+ 4)
                offset &+= 8
            }
        }
        if fastOpenLength != 255 { writeFastOpen(to: &bytes, at: offset) }
    }

    private func writeFastOpen(to bytes: inout MutableRawSpan, at start: Int) {
        bytes.store(Kind.fastOpen, at: start)
        bytes.store(fastOpenLength &+ 2, at: start &+ 1)
        var offset = start &+ 2
        for index in 0..<Int(fastOpenLength) {
            bytes.store(fastOpenCookie[index], at: offset)
            offset &+= 1
        }
        while offset < length {
            bytes.store(Kind.noOperation, at: offset)
            offset &+= 1
        }
    }
}
