// From one link to another: the loop that forwarders, benchmarks and the tool share.

public import MartletStack

/// What becomes of a frame on its way from one link to another.
public enum ForwardingMode: String, Sendable, CaseIterable {
    /// Nothing: not a byte of it is looked at.
    case io
    /// Its two Ethernet addresses are swapped, which sends it back to where it came from.
    case macswap
    /// It is copied to another frame: what forwarding costs between links that do not share an arena.
    case copy
}

extension Burst {
    /// Makes of the frames what the mode says. For ``ForwardingMode/copy`` they go through another burst of the same pool, and
    /// what the pool has no room to copy is given back.
    @inlinable
    public mutating func rewrite(_ mode: ForwardingMode, through copies: inout Burst) {
        switch mode {
        case .io: break
        case .macswap: changeEach { $0.swapEthernetAddresses() }
        case .copy:
            _ = copies.copyFrames(from: &self)
            removeAll()
            moveFrames(from: &copies)
        }
    }
}

extension Link where Self: ~Copyable {
    /// Receives once, and transmits to another link what has come. What there is no room for is dropped and counted there.
    ///
    /// - Parameters:
    ///   - burst: An empty burst, which is empty again afterwards. Its room is how many frames are forwarded at once.
    ///   - copies: Another one of the same pool, for ``ForwardingMode/copy``.
    /// - Returns: how many frames have come.
    @inlinable
    public mutating func forward<Other: Link & ~Copyable>(
        to other: inout Other, _ mode: ForwardingMode, through burst: inout Burst, _ copies: inout Burst
    ) -> Int {
        let count = receive(into: &burst)
        guard count > 0 else { return 0 }
        burst.rewrite(mode, through: &copies)
        other.transmitOrDrop(&burst)
        return count
    }
}
