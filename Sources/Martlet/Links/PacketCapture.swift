// AF_PACKET into a file: frames go from the kernel's ring into the buffer that is written next, in one copy, and are nobody's in between.

internal import CMartlet
public import MartletStack

/// A packet socket whose frames all go into a ``CaptureFile``, and to nobody else.
///
/// It is a link that receives no frames: ``receive(into:)`` writes down as many as the burst has room for, and always returns 0. What has
/// been written down is in ``counters``. A ``CaptureLink`` around a ``PacketLink`` has the same in its file, with the direction of each
/// frame, and passes the frames on.
public struct PacketCapture: Link, ~Copyable {
    private var socket: PacketLink
    private let file: CaptureFile
    private let interface: UInt32

    /// - Parameter file: the file, which other captures of the same core may write to.
    /// - Precondition: the link receives in blocks (``PacketLink/Options/receivesBlocks``).
    public init(_ socket: consuming PacketLink, to file: CaptureFile) {
        precondition(socket.options.receivesBlocks && socket.options.receives, "a capture receives in blocks")
        interface = file.addInterface(socket.name, medium: .ethernet)
        self.socket = socket
        self.file = file
    }

    deinit { file.writeStatistics(interface, socket.counters) }

    public var name: String { socket.name }
    public var properties: LinkProperties { socket.properties }
    public var state: LinkState { socket.state }
    public var counters: LinkCounters {
        get { socket.counters }
        set { socket.counters = newValue }
    }

    public mutating func receive(into burst: inout Burst) -> Int {
        socket.capture(atMost: burst.room, to: file, interface)
        return 0
    }

    public mutating func transmit(_ burst: inout Burst) -> Int { socket.transmit(&burst) }
    public mutating func prepareToSleep(for wish: LinkWish) -> LinkSleep {
        var sleep = socket.prepareToSleep(for: wish)
        if let due = file.flushIfDue(now: martlet_monotonic_ns()) { sleep.deadline = min(sleep.deadline, due) }
        return sleep
    }
    public mutating func wokeUp() { socket.wokeUp() }
    public mutating func refresh() -> Bool { socket.refresh() }
}

extension PacketLink {
    /// Writes down the next frames.
    fileprivate mutating func capture(atMost limit: Int, to file: CaptureFile, _ interface: UInt32) {
        guard hasFrame else { return }
        let clock = options.timestamps ? 0 : martlet_realtime_ns()
        var cursor = CaptureCursor(file, interface, .unknown)
        var (count, passed, bytes) = (0, 0, 0)
        unsafe walkBlocks { link, frame in
            guard count < limit else { return false }
            count &+= 1
            if let fault = unsafe frame.fault {
                link.counters.received.drops[fault] &+= 1
                return true
            }
            let length = unsafe frame.lengthWithTag
            let time = unsafe link.options.timestamps ? frame.time : clock
            passed &+= 1
            bytes &+= length
            // SAFETY: a block has room for so many bytes as the cursor says.
            if let target = unsafe cursor.block(for: length, at: time, in: file) {
                unsafe frame.copy(to: target, count: cursor.length)
            }
            return true
        }
        cursor.end(in: file)
        counters.received.count(passed, bytes: bytes)
    }
}
