// The headers of a segment that goes, put before a payload that is in its frame already.

enum SegmentOut {
    /// Prepends the TCP and IP headers, and fills in both checksums, where `payloadSum` is the one's complement sum of the payload.
    /// If the link is to complete that of TCP, its field holds the sum of the pseudo-header.
    ///
    /// - Precondition: the frame has 100 bytes of headroom.
    static func prepend(
        _ header: TCPHeader, _ options: TCPOptions, _ tuple: FourTuple, ecn: ECN = .notCapable,
        payloadSum: UInt16 = 0, _ frame: inout Frame
    ) {
        if options.isTimestampsAlone {
            let timestamps = UInt64(options.timestampValue) &<< 32 | UInt64(options.timestampEcho)
            return prependPlain(header, timestamps: timestamps, tuple, ecn: ecn, payloadSum: payloadSum, &frame)
        }
        if options.isUsualSYN {
            return prependSYN(header, options, tuple, ecn: ecn, payloadSum: payloadSum, &frame)
        }
        let optionsLength = options.length
        var header = header
        header.headerLength = UInt8(truncatingIfNeeded: 20 + optionsLength)
        frame.prepend(Int(header.headerLength))
        let length = frame.length
        let isPartial = frame.offload.contains(.checksumPartial)
        var bytes = frame.mutableBytes
        header.write(to: &bytes)
        if optionsLength > 0 {
            var space = bytes._mutatingExtracting(20..<Int(header.headerLength))
            options.write(to: &space)
        }
        var checksum = pseudoHeader(tuple, length)
        if isPartial {
            bytes.store(~checksum.value, at: 16)
        } else {
            checksum.add(bytes.bytes.extracting(0..<Int(header.headerLength)))
            checksum.add(payloadSum)
            bytes.store(checksum.value, at: 16)
        }
        if tuple.isIPv4 {
            IPOut.prepend(from: .v4(tuple.localIPv4), to: .v4(tuple.remoteIPv4), protocol: .tcp, ecn: ecn, &frame)
        } else {
            IPOut.prepend(from: .v6(tuple.local), to: .v6(tuple.remote), protocol: .tcp, ecn: ecn, &frame)
        }
    }

    /// The sum of addresses, protocol and length, which is the same in both directions and for both families.
    @inline(__always)
    static func pseudoHeader(_ tuple: FourTuple, _ length: Int) -> Checksum {
        // The sum of a mapped IPv4 address is that of the address and 0xFFFF, which is nothing (RFC 1071 §2).
        Checksum.pseudoHeader(
            source: tuple.local, destination: tuple.remote, protocol: IPProtocol.tcp.rawValue, length: length)
    }
}

// MARK: - What nearly all segments are

extension SegmentOut {
    /// The same for a segment with timestamps and no other option, TSval in the upper half of `timestamps`: each word of the
    /// headers is summed in the register that it is written from, and no packet is made that is not sent.
    @inline(__always)
    static func prependPlain(
        _ header: TCPHeader, timestamps: UInt64, _ tuple: FourTuple, ecn: ECN, payloadSum: UInt16,
        _ frame: inout Frame
    ) {
        var sum = CarrySum(UInt64(TCPOptions.timestampsPrefix))
        sum.add(timestamps)
        prepend(header, options: 12, sum, tuple, ecn: ecn, payloadSum: payloadSum, &frame) { space, start in
            space.store(TCPOptions.timestampsPrefix, at: start)
            space.store(timestamps, at: start &+ 4)
        }
    }

    /// The same for a SYN or SYN-ACK with all options that agree on something, as nearly all have them.
    private static func prependSYN(
        _ header: TCPHeader, _ options: TCPOptions, _ tuple: FourTuple, ecn: ECN, payloadSum: UInt16,
        _ frame: inout Frame
    ) {
        let first = UInt64(TCPOptions.segmentSizePrefix | UInt32(options.maximumSegmentSize)) &<< 32
        let segmentSize = first | UInt64(TCPOptions.permittedTimestampsPrefix)
        let timestamps = UInt64(options.timestampValue) &<< 32 | UInt64(options.timestampEcho)
        let scale = TCPOptions.scalePrefix | UInt32(options.windowScale)
        var sum = CarrySum(UInt64(scale))
        sum.add(segmentSize)
        sum.add(timestamps)
        prepend(header, options: 20, sum, tuple, ecn: ecn, payloadSum: payloadSum, &frame) { space, start in
            space.store(segmentSize, at: start)
            space.store(timestamps, at: start &+ 8)
            space.store(scale, at: start &+ 16)
        }
    }

    /// Headers whose options have a length that is known when this is compiled, and this sum; `write` writes them at its place.
    @inline(__always)
    private static func prepend(
        _ header: TCPHeader, options optionsLength: Int, _ optionsSum: CarrySum, _ tuple: FourTuple, ecn: ECN,
        payloadSum: UInt16, _ frame: inout Frame, _ write: (inout MutableRawSpan, Int) -> Void
    ) {
        let length = UInt64(frame.length &+ 20 &+ optionsLength)
        let ports = UInt64(header.sourcePort) &<< 48 | UInt64(header.destinationPort) &<< 32
        let first = ports | UInt64(header.sequence.bits)
        let offset = UInt64(5 &+ optionsLength / 4) &<< 28
        let control = offset | UInt64(header.flags.rawValue & 0x1FF) &<< 16 | UInt64(header.window)
        let second = UInt64(header.acknowledgment.bits) &<< 32 | control
        let isPartial = frame.offload.contains(.checksumPartial)
        // As in `pseudoHeader`, what makes a mapped address of one adds nothing.
        var sum = CarrySum(length &+ UInt64(IPProtocol.tcp.rawValue))
        sum.add(tuple.local.high)
        sum.add(tuple.local.low)
        sum.add(tuple.remote.high)
        sum.add(tuple.remote.low)
        if !isPartial {
            sum.add(first)
            sum.add(second)
            sum.add(UInt64(header.urgentPointer) &+ UInt64(payloadSum))
            sum.add(optionsSum.bits)
        }
        let checksum = isPartial ? sum.folded : ~sum.folded
        let third = UInt32(checksum) &<< 16 | UInt32(header.urgentPointer)
        let start = tuple.isIPv4 ? 20 : 40
        frame.prepend(start &+ 20 &+ optionsLength)
        var bytes = frame.mutableBytes
        var space = bytes._mutatingExtracting(0..<start &+ 20 &+ optionsLength)
        if tuple.isIPv4 {
            IPOut.writeTCPHeader(from: tuple.localIPv4, to: tuple.remoteIPv4, segmentLength: length, ecn: ecn, &space)
        } else {
            IPOut.writeTCPHeader(from: tuple.local, to: tuple.remote, segmentLength: length, ecn: ecn, &space)
        }
        space.store(first, at: start)
        space.store(second, at: start &+ 8)
        space.store(third, at: start &+ 16)
        write(&space, start &+ 20)
    }
}
