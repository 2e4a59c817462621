// The run queue: jobs linked through the two words that the Swift runtime leaves to executors.
// One thread owns a queue. It knows nothing about what a job does.

internal import CMartlet

/// Which executor a job was enqueued on. The runtime wants to hear the same one when the job runs.
enum JobOrigin: UInt {
    case task = 0
    case serial = 1
}

/// A first-in, first-out queue of jobs that allocates nothing.
@safe struct JobQueue: ~Copyable {
    private var head: UnsafeMutableRawPointer?
    private var tail: UnsafeMutableRawPointer?

    var isEmpty: Bool { unsafe head == nil }

    mutating func append(_ job: UnsafeMutableRawPointer, origin: JobOrigin) {
        unsafe martlet_job_set_tag(job, origin.rawValue)
        unsafe append(tagged: job)
    }

    /// Appends a job whose origin is set already.
    mutating func append(tagged job: UnsafeMutableRawPointer) {
        unsafe martlet_job_set_next(job, nil)
        if let last = unsafe tail { unsafe martlet_job_set_next(last, job) } else { unsafe head = job }
        unsafe tail = job
    }

    mutating func popFirst() -> UnsafeMutableRawPointer? {
        guard let job = unsafe head else { return nil }
        unsafe head = unsafe martlet_job_next(job)
        if unsafe head == nil { unsafe tail = nil }
        return unsafe job
    }
}

extension UnownedJob {
    /// The job as the pointer that it is, to be linked and to come back through `init(pointer:)`.
    var pointer: UnsafeMutableRawPointer { unsafe unsafeBitCast(self, to: UnsafeMutableRawPointer.self) }

    init(pointer: UnsafeMutableRawPointer) { self = unsafe unsafeBitCast(pointer, to: UnownedJob.self) }
}
