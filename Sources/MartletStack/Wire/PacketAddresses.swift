// Addresses where they stand in packets: at any alignment, the first octet first.

extension RawSpan {
    /// The six octets at `offset`.
    ///
    /// - Precondition: they are within the span, as for all of these.
    @inlinable
    func macAddress(at offset: Int) -> MACAddress {
        MACAddress(bits: UInt64(uint16(at: offset)) &<< 32 | UInt64(uint32(at: offset &+ 2)))
    }

    /// The four octets at `offset`.
    @inlinable
    func ipv4Address(at offset: Int) -> IPv4Address { IPv4Address(bits: uint32(at: offset)) }

    /// The sixteen octets at `offset`.
    @inlinable
    func ipv6Address(at offset: Int) -> IPv6Address {
        IPv6Address(high: number(at: offset), low: number(at: offset &+ 8))
    }
}

extension MutableRawSpan {
    /// Stores six octets at `offset`.
    ///
    /// - Precondition: there is room for them, as for all of these.
    @inlinable
    @_lifetime(self: copy self)
    mutating func store(_ address: MACAddress, at offset: Int) {
        store(UInt16(truncatingIfNeeded: address.bits &>> 32), at: offset)
        store(UInt32(truncatingIfNeeded: address.bits), at: offset &+ 2)
    }

    /// Stores four octets at `offset`.
    @inlinable
    @_lifetime(self: copy self)
    mutating func store(_ address: IPv4Address, at offset: Int) { store(address.bits, at: offset) }

    /// Stores sixteen octets at `offset`.
    @inlinable
    @_lifetime(self: copy self)
    mutating func store(_ address: IPv6Address, at offset: Int) {
        store(address.high, at: offset)
        store(address.low, at: offset &+ 8)
    }
}
