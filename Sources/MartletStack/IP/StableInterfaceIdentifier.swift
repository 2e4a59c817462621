// The lower half of the addresses that are made from advertised prefixes: RFC 7217 §5.
//
// The same on each visit to a network, and different in each network: it follows nobody from one to another, as the
// identifiers made of MAC addresses did.

/// Makes interface identifiers from a secret.
struct StableInterfaceIdentifier: BitwiseCopyable {
    /// secret_key: to be kept, if addresses are to be the same after the next start.
    var secret: SipHash.Key

    /// The identifier for `prefix`, the first 64 bits of the address, on an interface.
    ///
    /// - Parameters:
    ///   - networkInterface: Net_Iface: what names the interface, such as its link address.
    ///   - network: Network_ID: what names the network, 0 if nothing does.
    ///   - duplicates: DAD_Counter: how many identifiers for this prefix turned out to be somebody else's.
    func identifier(prefix: UInt64, networkInterface: UInt64, network: UInt64 = 0, duplicates: UInt8 = 0) -> UInt64 {
        var attempt = UInt64(duplicates)
        // An identifier is reserved once in 2³⁹ times; a second attempt is as good as another key.
        for _ in 0..<8 {
            var hash = KeyedHash(key: secret)
            hash.absorb(prefix)
            hash.absorb(networkInterface)
            hash.absorb(network)
            hash.absorb(attempt)
            let identifier = hash.finish()
            if !Self.isReserved(identifier) { return identifier }
            attempt += 1 << 8
        }
        return 1
    }

    /// RFC 5453: the subnet-router anycast address, the identifiers of RFC 2526, and those of IANA's own MAC addresses.
    static func isReserved(_ identifier: UInt64) -> Bool {
        if identifier == 0 { return true }
        if identifier >= 0xFDFF_FFFF_FFFF_FF80 && identifier <= 0xFDFF_FFFF_FFFF_FFFF { return true }
        return identifier >> 24 == 0x0200_5EFF_FE
    }
}
