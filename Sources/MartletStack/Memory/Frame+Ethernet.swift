// What forwarders do with an Ethernet header so often that it is worth two loads.

extension Frame {
    /// Swaps the destination and source addresses of an Ethernet frame, which sends it back to where it came from. A frame
    /// that is shorter than an Ethernet header stays as it is.
    @inlinable
    public mutating func swapEthernetAddresses() {
        guard length >= 14 else { return }
        // SAFETY: twelve bytes are read and written, and there are fourteen; access to self is exclusive.
        let start = unsafe pool.address(of: descriptor)
        let first = unsafe UInt64(littleEndian: start.loadUnaligned(as: UInt64.self))
        let rest = unsafe UInt64(UInt32(littleEndian: start.loadUnaligned(fromByteOffset: 8, as: UInt32.self)))
        let destination = first & 0xFFFF_FFFF_FFFF
        let source = first &>> 48 | rest &<< 16
        unsafe start.storeBytes(of: (source | destination &<< 48).littleEndian, as: UInt64.self)
        unsafe start.storeBytes(
            of: UInt32(truncatingIfNeeded: destination &>> 16).littleEndian, toByteOffset: 8, as: UInt32.self)
    }

    /// The destination and source addresses of an Ethernet frame, as numbers whose most significant byte is the first octet.
    ///
    /// - Precondition: the frame has 14 bytes or more.
    @inlinable
    public var ethernetAddressBits: (destination: UInt64, source: UInt64) {
        precondition(length >= 14, "the frame is shorter than an Ethernet header")
        // SAFETY: fourteen bytes are read, and there are so many.
        let start = unsafe pool.address(of: descriptor)
        let first = unsafe UInt64(bigEndian: start.loadUnaligned(as: UInt64.self))
        let second = unsafe UInt64(bigEndian: start.loadUnaligned(fromByteOffset: 6, as: UInt64.self))
        return (first &>> 16, second &>> 16)
    }

    /// Writes the addresses of an Ethernet frame, as ``ethernetAddressBits`` reads them.
    ///
    /// - Precondition: the frame has 14 bytes or more.
    @inlinable
    public mutating func setEthernetAddresses(destination: UInt64, source: UInt64) {
        precondition(length >= 14, "the frame is shorter than an Ethernet header")
        // SAFETY: twelve bytes are written, and there are fourteen; access to self is exclusive.
        let start = unsafe pool.address(of: descriptor)
        let first = destination &<< 16 | source &>> 32 & 0xFFFF
        unsafe start.storeBytes(of: first.bigEndian, as: UInt64.self)
        unsafe start.storeBytes(of: UInt32(truncatingIfNeeded: source).bigEndian, toByteOffset: 8, as: UInt32.self)
    }
}
