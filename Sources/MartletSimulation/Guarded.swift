// A lock for tests, which the thread sanitizer can follow.

internal import Glibc
internal import Synchronization

/// A value behind a lock, as `Mutex` is, for short work in tests.
///
/// The slow path of the standard library's mutex is not instrumented, so after a contended `withLock` the thread sanitizer of
/// Swift 6.3.1 reports a race that is none. Here those who wait turn at a gate in front of the mutex, which is therefore
/// never contended, and the sanitizer sees the gate's atomics.
package struct Guarded<Value: ~Copyable>: ~Copyable, Sendable {
    private let isTaken = Atomic(false)
    private let value: Mutex<Value>

    package init(_ value: consuming sending Value) { self.value = Mutex(value) }

    package borrowing func withLock<Result: ~Copyable, Failure: Error>(
        _ body: (inout sending Value) throws(Failure) -> sending Result
    ) throws(Failure) -> sending Result {
        while isTaken.exchange(true, ordering: .acquiring) { sched_yield() }
        defer { isTaken.store(false, ordering: .releasing) }
        return try value.withLock(body)
    }
}
