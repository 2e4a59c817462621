// The only way into a core from elsewhere: one atomic push, and a wake-up only if the core sleeps.
//
//     producer                          core, before it sleeps
//     push                              sleeping = true
//     if sleeping: signal eventfd       if something was pushed: do not sleep
//
// Both sides are sequentially consistent, so one of the two always sees the other (`InboxTests` walks every interleaving).

internal import CMartlet
internal import Synchronization

/// What a core is asked to do besides running jobs. Rare, so each is one allocation.
final class Message: Sendable {
    enum Kind: Sendable {
        /// Cancel the operation parked in this waiter if its ticket still holds.
        case cancel(waiter: Int32, ticket: UInt32)
        /// What the operation parked in this waiter waited for is there, if its ticket still holds.
        case ready(waiter: Int32, ticket: UInt32)
        /// A scope's task was cancelled: cancel whatever it is parked in.
        case cancelScope(TaskScope)
        /// The last handle of a connection is gone.
        case dropConnection(slot: Int32, generation: UInt32)
        case dropListener(slot: Int32, generation: UInt32)
        case dropDatagramSocket(slot: Int32, generation: UInt32)
        /// What to do when a signal has arrived.
        case onSignal(@Sendable () -> Void)
        /// End the thread, and say so.
        case stop(lingerUntil: Int64, @Sendable () -> Void)
    }

    let kind: Kind

    init(_ kind: Kind) { self.kind = kind }
}

/// A many-producer, one-consumer stack of jobs and messages, emptied in one exchange and read in order of arrival.
final class Inbox: Sendable {
    /// A tagged pointer: a job, or with the lowest bit set a `MessageNode`.
    private let top = Atomic<UInt>(0)
    private let sleeping = Atomic<Bool>(false)
    let eventDescriptor: Int32

    init(eventDescriptor: Int32) { self.eventDescriptor = eventDescriptor }

    func push(job: UnsafeMutableRawPointer, origin: JobOrigin) {
        unsafe martlet_job_set_tag(job, origin.rawValue)
        unsafe push(job, tag: 0)
    }

    func push(_ message: Message) {
        let node = UnsafeMutablePointer<MessageNode>.allocate(capacity: 1)
        unsafe node.initialize(to: MessageNode(message: message))
        unsafe push(UnsafeMutableRawPointer(node), tag: 1)
    }

    private func push(_ pointer: UnsafeMutableRawPointer, tag: UInt) {
        let word = UInt(bitPattern: pointer) | tag
        var seen = top.load(ordering: .relaxed)
        while true {
            Self.setNext(of: word, to: seen)
            let (exchanged, original) = top.weakCompareExchange(
                expected: seen, desired: word, ordering: .sequentiallyConsistent)
            if exchanged { break }
            seen = original
        }
        wake()
    }

    /// Wakes the core if it sleeps.
    func wake() {
        if sleeping.load(ordering: .sequentiallyConsistent) { martlet_eventfd_signal(eventDescriptor) }
    }

    /// Declares that the core is about to sleep. Returns false, and takes it back, if something has arrived.
    func prepareToSleep() -> Bool {
        sleeping.store(true, ordering: .sequentiallyConsistent)
        if top.load(ordering: .sequentiallyConsistent) == 0 { return true }
        sleeping.store(false, ordering: .relaxed)
        return false
    }

    func wokeUp() { sleeping.store(false, ordering: .relaxed) }

    var isEmpty: Bool { top.load(ordering: .relaxed) == 0 }

    /// Takes all that has arrived, oldest first.
    func drain(job: (UnsafeMutableRawPointer) -> Void, message: (Message) -> Void) {
        guard !isEmpty else { return }
        var word = top.exchange(0, ordering: .acquiring)
        var ordered: UInt = 0
        while word != 0 {
            let next = Self.next(of: word)
            Self.setNext(of: word, to: ordered)
            ordered = word
            word = next
        }
        while ordered != 0 {
            let next = Self.next(of: ordered)
            let pointer = unsafe Self.pointer(of: ordered)
            if ordered & 1 == 0 {
                unsafe job(pointer)
            } else {
                let node = unsafe pointer.assumingMemoryBound(to: MessageNode.self)
                let content = unsafe node.move().message
                unsafe node.deallocate()
                message(content)
            }
            ordered = next
        }
    }

    private static func pointer(of word: UInt) -> UnsafeMutableRawPointer {
        unsafe UnsafeMutableRawPointer(bitPattern: word & ~1).unsafelyUnwrapped
    }

    private static func next(of word: UInt) -> UInt {
        let pointer = unsafe pointer(of: word)
        if word & 1 == 0 { return UInt(bitPattern: unsafe martlet_job_next(pointer)) }
        return unsafe pointer.assumingMemoryBound(to: MessageNode.self).pointee.next
    }

    private static func setNext(of word: UInt, to next: UInt) {
        let pointer = unsafe pointer(of: word)
        if word & 1 == 0 {
            unsafe martlet_job_set_next(pointer, UnsafeMutableRawPointer(bitPattern: next))
        } else {
            unsafe pointer.assumingMemoryBound(to: MessageNode.self).pointee.next = next
        }
    }
}

/// A message and the link to the one pushed before it.
private struct MessageNode {
    var next: UInt = 0
    var message: Message
}
