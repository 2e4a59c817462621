// A link to nowhere: a source of frames that never ends, and a sink that takes everything. It is what is left when the wire is
// taken away, and so the measure of what everything around a link costs.

public import MartletStack

/// A link that always has frames to be received and takes all that are transmitted.
public struct NullLink: Link, ~Copyable {
    public let name: String
    public private(set) var properties: LinkProperties
    public private(set) var state = LinkState.up
    public var counters = LinkCounters()

    /// Bytes of each frame that is received. Their content is whatever the memory holds.
    private let frameLength: Int
    /// Frames that are still to be received, if they are to end.
    private var remaining: Int

    /// - Parameters:
    ///   - frameLength: Bytes of each frame that is received.
    ///   - frames: How many there are to receive: 0 makes a sink. Without end if nil.
    public init(name: String = "null", frameLength: Int = 64, frames: Int? = nil) {
        precondition(frameLength >= 14, "a frame has an Ethernet header at least")
        self.name = name
        self.frameLength = frameLength
        remaining = frames ?? .max
        properties = LinkProperties(mtu: max(1500, frameLength - 18))
    }

    /// What a link that was closed is to those who still hold it.
    init(closed name: String) {
        self.init(name: name, frames: 0)
        state = .gone
    }

    public mutating func receive(into burst: inout Burst) -> Int {
        let count = burst.appendFrames(remaining, length: frameLength)
        if remaining != .max { remaining &-= count }
        counters.received.count(count, bytes: count &* frameLength)
        return count
    }

    public mutating func transmit(_ burst: inout Burst) -> Int {
        let count = burst.count
        guard state == .up else {
            counters.transmitted.drops[.linkDown] &+= UInt64(count)
            burst.removeAll()
            return count
        }
        counters.transmitted.count(count, bytes: burst.byteCount)
        burst.removeAll()
        return count
    }

    public mutating func prepareToSleep(for wish: LinkWish) -> LinkSleep {
        remaining > 0 || wish.room > 0 ? .ready : LinkSleep(descriptor: -1, forInput: false)
    }
}
