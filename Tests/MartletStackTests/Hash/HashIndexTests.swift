// The keyed hash against its published vectors, and the index against a dictionary.

import Testing

@testable import MartletStack

@Suite struct HashIndexTests {
    /// From the reference implementation of SipHash-2-4: key 00 … 0f, message 00 … (length − 1).
    @Test func `The keyed hash is SipHash`() {
        let key = SipHash.Key(0x0706_0504_0302_0100, 0x0f0e_0d0c_0b0a_0908)
        var hash = KeyedHash(key: key)
        #expect(hash.finish() == 0x726f_db47_dd0e_0e31)
        hash.absorb(0x0706_0504_0302_0100)
        #expect(hash.finish() == 0x93f5_f579_9a93_2462)
        hash.absorb(0x0f0e_0d0c_0b0a_0908)
        #expect(hash.finish() == 0x3f2a_cc7f_57c2_9bdb)
    }

    @Test func `An address and the one that maps it hash differently`() {
        let address = IPv4Address(192, 0, 2, 1)
        var left = KeyedHash(key: SipHash.Key(1, 2))
        var right = left
        left.absorb(IPAddress.v4(address))
        right.absorb(IPAddress.v6(IPv6Address(mapping: address)))
        #expect(left.finish() != right.finish())
    }

    @Test(arguments: [0x3, 0xff, UInt64.max])
    func `Slots come and go as in a dictionary, even if all hashes collide`(mask: UInt64) {
        let seed = UInt64.random(in: 0...UInt64.max)
        var random = SeededGenerator(seed: seed)
        var index = HashIndex(capacity: 33)
        var model: [Int: UInt64] = [:]
        for step in 0..<5_000 {
            let slot = Int.random(in: 0..<33, using: &random)
            if let hash = model.removeValue(forKey: slot) {
                index.remove(slot, hash: hash)
            } else {
                let hash = random.next() & mask
                model[slot] = hash
                index.insert(slot, hash: hash)
            }
            let count = index.count
            #expect(count == model.count)
            for (slot, hash) in model {
                var found = false
                var probe = index.probe(hash)
                while let candidate = index.next(&probe) { found = found || candidate == slot }
                guard found else {
                    Issue.record("seed \(seed), step \(step): slot \(slot) is lost")
                    return
                }
            }
        }
    }
}
