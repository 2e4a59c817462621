// What a driver tells the transport: a small value an event. io_uring's completion queue entries are already of this shape;
// the epoll driver makes the same from readiness, and the stack's from its events, so that everything above a driver exists
// once.

/// What an operation was.
enum Operation: UInt8 {
    case receive
    case send
    case accept
    case connect
    /// Input waits on a socket that reads for itself (datagrams).
    case readable
    /// A socket that had no room to send has some again.
    case writable
    /// The completion of a cancellation or close: nothing to do.
    case discard
    /// A link is ready, for the waiter in the place of a slot.
    case link
    /// Somebody signalled the core's eventfd.
    case wake
    /// A link of the core's stack is ready: its number is in the place of a slot.
    case interface
}

/// The name of an operation: its kind, its socket's slot, and the slot's generation, so that nothing that arrives late can be
/// taken for something else.
struct Token: BitwiseCopyable {
    let word: UInt64

    init(word: UInt64) { self.word = word }

    init(_ operation: Operation, slot: Int32, generation: UInt32) {
        word =
            UInt64(operation.rawValue) << 56 | UInt64(generation & 0xff_ffff) << 32 | UInt64(UInt32(bitPattern: slot))
    }

    var operation: Operation { Operation(rawValue: UInt8(truncatingIfNeeded: word >> 56)) ?? .discard }
    var slot: Int32 { Int32(truncatingIfNeeded: word) }
    var generation: UInt32 { UInt32(truncatingIfNeeded: word >> 32) & 0xff_ffff }
}

struct Completion: BitwiseCopyable {
    var token: Token
    /// A count or descriptor, or -errno.
    var result: Int32
    /// The slab that was filled, or -1.
    var slab: Int32 = -1
    /// The operation goes on: more completions will carry its token.
    var more = false
}

/// What became of an attempt to send.
enum SendAttempt: BitwiseCopyable {
    /// The driver holds the operation: a completion will say how it ended.
    case pending
    /// The driver makes the attempt in the coming `submit`: it has succeeded unless a completion says otherwise.
    case silent
    /// So many bytes went.
    case done(Int)
    /// No room. A `writable` completion will follow.
    case blocked
    /// -errno.
    case failed(Int32)
}
