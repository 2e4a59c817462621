// The buffers between a core that captures and the thread that writes them, handed over by a ring of their numbers: one producer and
// one consumer.
//
// The buffer that came back last is the one filled next, because it is the one still in the cache: as long as the disk keeps up, two of
// them go to and fro, and the rest is for when it does not.

internal import CMartlet
internal import Glibc
internal import Synchronization

@safe final class CaptureBuffers: @unchecked Sendable {
    /// Bytes of a buffer: the longest frame that is written, with its block, fits.
    static let size = 1 << 18 + 4096

    /// A turn of the ring: which buffer was handed over, and how much is in it.
    private struct Turn: BitwiseCopyable {
        var buffer = 0
        var bytes = 0
    }

    // SAFETY: `memory` has `count` buffers, `turns` and `spare` as many places, allocated here and freed in the deinit, which runs when
    // the core and the writer have both let go. A buffer is the core's until it publishes `filled` with a turn that names it, and then
    // the writer's until it publishes `written`; `spare` and what `reclaimed` counts are the core's alone. No more turns are under way
    // than there are buffers.
    private let memory: UnsafeMutableRawPointer
    private let turns: UnsafeMutablePointer<Turn>
    private let spare: UnsafeMutablePointer<Int>
    private var spareCount: Int
    private var reclaimed = 0
    private var current = 0
    private let count: Int
    private let filled = Atomic<Int>(0)
    private let written = Atomic<Int>(0)
    private let isFinished = Atomic<Bool>(false)
    private let isAsleep = Atomic<Bool>(false)
    /// errno of the write that failed, after which nothing more is written.
    let error = Atomic<Int32>(0)
    private let descriptor: Int32
    private let wakeWriter: Int32
    private let ended: Int32

    init(path: String, count: Int) throws(LinkError) {
        unsafe descriptor = martlet_create_file(path)
        guard descriptor >= 0 else {
            throw .system(link: path, errno: -descriptor, during: "creating the capture file")
        }
        wakeWriter = martlet_eventfd()
        ended = martlet_eventfd()
        self.count = count
        unsafe memory = .allocate(byteCount: count * Self.size, alignment: 4096)
        unsafe turns = .allocate(capacity: count)
        unsafe turns.initialize(repeating: Turn(), count: count)
        unsafe spare = .allocate(capacity: count)
        for place in 0..<count { unsafe (spare + place).initialize(to: count - 1 - place) }
        spareCount = count
        var failure = min(wakeWriter, ended)
        if failure >= 0 {
            let own = unsafe Unmanaged.passRetained(self)
            failure = unsafe martlet_thread_start(
                { unsafe Unmanaged<CaptureBuffers>.fromOpaque($0!).takeRetainedValue().run() }, own.toOpaque())
            if failure < 0 { unsafe own.release() }
        }
        guard failure >= 0 else {
            throw .system(link: path, errno: -failure, during: "starting the writer of captures")
        }
    }

    deinit {
        for open in [descriptor, wakeWriter, ended] where open >= 0 { _ = martlet_close(open) }
        unsafe memory.deallocate()
        unsafe turns.deallocate()
        unsafe spare.deallocate()
    }

    // MARK: The core's side

    /// The buffer to be filled next; nil if the writer has not got round to any.
    func free() -> UnsafeMutableRawPointer? {
        let done = written.load(ordering: .acquiring)
        while reclaimed < done {
            unsafe spare[spareCount] = turns[reclaimed % count].buffer
            (spareCount, reclaimed) = (spareCount + 1, reclaimed + 1)
        }
        guard spareCount > 0 else { return nil }
        spareCount -= 1
        current = unsafe spare[spareCount]
        return unsafe memory + current * Self.size
    }

    /// Hands over the buffer that ``free()`` gave, with so many bytes in it.
    func fill(_ bytes: Int) {
        let next = filled.load(ordering: .relaxed)
        unsafe turns[next % count] = Turn(buffer: current, bytes: bytes)
        filled.store(next + 1, ordering: .sequentiallyConsistent)
        if isAsleep.load(ordering: .sequentiallyConsistent) { martlet_eventfd_signal(wakeWriter) }
    }

    /// Says that nothing more comes, and waits until all of it is written. It may be said twice.
    func finish() {
        isFinished.store(true, ordering: .sequentiallyConsistent)
        martlet_eventfd_signal(wakeWriter)
        var poll = pollfd(fd: ended, events: Int16(POLLIN), revents: 0)
        while unsafe martlet_poll(&poll, 1, -1) == 0 {}
    }

    // MARK: The writer's side

    private func run() {
        unsafe martlet_thread_name("martlet-capture")
        while true {
            let next = written.load(ordering: .relaxed)
            if next < filled.load(ordering: .acquiring) {
                write(next)
                written.store(next + 1, ordering: .releasing)
                continue
            }
            if isFinished.load(ordering: .sequentiallyConsistent), next == filled.load(ordering: .acquiring) { break }
            isAsleep.store(true, ordering: .sequentiallyConsistent)
            if next == filled.load(ordering: .sequentiallyConsistent),
                !isFinished.load(ordering: .sequentiallyConsistent)
            {
                var poll = pollfd(fd: wakeWriter, events: Int16(POLLIN), revents: 0)
                _ = unsafe martlet_poll(&poll, 1, -1)
                martlet_eventfd_drain(wakeWriter)
            }
            isAsleep.store(false, ordering: .relaxed)
        }
        if reserved > size, reserved < .max { martlet_end_reserve(descriptor, size) }
        martlet_eventfd_signal(ended)
    }

    /// Bytes that are in the file, and that are reserved for it; .max if its file system does not reserve any. The writer's alone.
    private var size: Int64 = 0
    private var reserved: Int64 = 0
    /// Bytes to reserve at once. It saves a third of what a page costs to write: 800 ns become 540 (ext4).
    private static let reserve: Int64 = 64 << 20

    private func write(_ index: Int) {
        guard error.load(ordering: .relaxed) == 0 else { return }
        let turn = unsafe turns[index % count]
        // A small file is not worth it.
        if size > 0, size + Int64(turn.bytes) > reserved {
            let start = max(size, reserved)
            reserved = martlet_reserve(descriptor, start, Self.reserve) == 0 ? start + Self.reserve : .max
        }
        size += Int64(turn.bytes)
        let failure = unsafe martlet_write_all(descriptor, memory + turn.buffer * Self.size, turn.bytes)
        if failure < 0 { error.store(-failure, ordering: .relaxed) }
    }
}
