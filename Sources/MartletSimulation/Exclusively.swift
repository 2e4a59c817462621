// A lock for tests, which the thread sanitizer can follow.

internal import Glibc
package import Synchronization

extension Mutex where Value: ~Copyable {
    /// As `withLock`, for short work in tests: turns in place of waiting in the kernel.
    ///
    /// The standard library's slow path is not instrumented, so after a contended `withLock` the thread sanitizer of Swift
    /// 6.3.1 reports a race that is none. The path that only tries is inlined, and the sanitizer sees its atomics.
    package borrowing func exclusively<Result: ~Copyable, Failure: Error>(
        _ body: (inout sending Value) throws(Failure) -> sending Result
    ) throws(Failure) -> sending Result {
        while true {
            if let result = try withLockIfAvailable(body) { return result }
            sched_yield()
        }
    }
}
