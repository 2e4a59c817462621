// The buffers between a core that captures and the thread that writes them: a ring of pages, one producer and one consumer.

internal import CMartlet
internal import Glibc
internal import Synchronization

@safe final class CaptureBuffers: @unchecked Sendable {
    /// Bytes of a buffer.
    static let size = 1 << 20

    // SAFETY: `memory` has `count` buffers and `sizes` as many places, allocated here and freed in the deinit, which runs when the
    // core and the writer have both let go. Buffer n is the core's from `written` on until it publishes `filled`, and then
    // the writer's until it publishes `written`.
    private let memory: UnsafeMutableRawPointer
    private let sizes: UnsafeMutablePointer<Int>
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
        unsafe sizes = .allocate(capacity: count)
        unsafe sizes.initialize(repeating: 0, count: count)
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
        unsafe sizes.deallocate()
    }

    // MARK: The core's side

    /// The buffer to be filled next; nil if the writer has not got round to any.
    func free() -> UnsafeMutableRawPointer? {
        let next = filled.load(ordering: .relaxed)
        guard next - written.load(ordering: .acquiring) < count else { return nil }
        return unsafe memory + next % count * Self.size
    }

    /// Hands over the buffer that ``free()`` gave, with so many bytes in it.
    func fill(_ bytes: Int) {
        let next = filled.load(ordering: .relaxed)
        unsafe sizes[next % count] = bytes
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
        martlet_eventfd_signal(ended)
    }

    private func write(_ index: Int) {
        guard error.load(ordering: .relaxed) == 0 else { return }
        let failure = unsafe martlet_write_all(descriptor, memory + index % count * Self.size, sizes[index % count])
        if failure < 0 { error.store(-failure, ordering: .relaxed) }
    }
}
