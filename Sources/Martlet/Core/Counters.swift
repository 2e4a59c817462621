// What a core has counted. Written by its own thread alone, read by anybody: each is a relaxed atomic in effect, because a
// snapshot is taken on the core's thread.

/// A core's counters since it started.
public struct CoreCounters: Sendable, Hashable {
    /// Turns of the core's loop, and how many of them slept in the kernel.
    public internal(set) var rounds: UInt64 = 0
    public internal(set) var sleeps: UInt64 = 0
    /// Jobs run: parts of tasks between two suspensions.
    public internal(set) var jobs: UInt64 = 0
    /// Rounds that took longer than ``Limits/stallThreshold``.
    public internal(set) var stalls: UInt64 = 0
    /// Jobs and messages that came from other threads.
    public internal(set) var inboxArrivals: UInt64 = 0
    public internal(set) var accepted: UInt64 = 0
    /// Accepts put off because the core or listener had no room, or descriptors were out.
    public internal(set) var acceptPauses: UInt64 = 0
    public internal(set) var descriptorsExhausted: UInt64 = 0
    public internal(set) var connected: UInt64 = 0
    public internal(set) var closed: UInt64 = 0
    /// Connections that the peer, and that this side, reset.
    public internal(set) var resetsReceived: UInt64 = 0
    public internal(set) var resetsSent: UInt64 = 0
    public internal(set) var bytesReceived: UInt64 = 0
    public internal(set) var bytesSent: UInt64 = 0
    /// Receives that found no buffer, and pauses because a connection had too much unread.
    public internal(set) var receiveBuffersExhausted: UInt64 = 0
    public internal(set) var receivePauses: UInt64 = 0
    public internal(set) var sendBuffersExhausted: UInt64 = 0
    /// Buffers replaced because the program kept their bytes.
    public internal(set) var receiveBuffersReplaced: UInt64 = 0
    public internal(set) var completionQueueOverflows: UInt64 = 0
    public internal(set) var idleTimeouts: UInt64 = 0
    public internal(set) var datagramsReceived: UInt64 = 0
    public internal(set) var datagramsSent: UInt64 = 0
    public internal(set) var datagramsDropped: UInt64 = 0
    /// Frames of other cores' flows that came to this core's links and went on to those, and those that came from other cores' links.
    /// Copies of what all cores must see count as well.
    public internal(set) var framesHandedOver: UInt64 = 0
    public internal(set) var framesTakenOver: UInt64 = 0
    /// Frames for other cores that were dropped, because those did not take them in, or there was no memory for a copy.
    public internal(set) var handoversDropped: UInt64 = 0
    /// Open connections, listeners and sockets now.
    public internal(set) var open: Int = 0

    init() {}
}
