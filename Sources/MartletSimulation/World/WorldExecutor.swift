// What runs outside of cores in a simulation: its body, and the bodies of its runtimes. On the simulation's thread like all else.

internal import CMartlet
internal import Synchronization

final class WorldExecutor: TaskExecutor {
    private struct Queue {
        var jobs: [UnownedJob] = []
        var hasBegun = false
        var wasDisturbed = false
    }

    /// Behind a lock, because a job may come from elsewhere, although it should not.
    private let queue = Guarded(Queue())

    func enqueue(_ job: consuming ExecutorJob) {
        let job = UnownedJob(job)
        queue.withLock {
            $0.jobs.append(job)
            if $0.hasBegun, !martlet_world_is_current() { $0.wasDisturbed = true }
        }
    }

    /// From here on jobs come from the simulation's thread only.
    func begin() { queue.withLock { $0.hasBegun = true } }

    var wasDisturbed: Bool { queue.withLock { $0.wasDisturbed } }

    /// Runs all that is there. Returns whether there was any.
    func runJobs() -> Bool {
        let jobs = queue.withLock { queue in
            let jobs = queue.jobs
            queue.jobs = []
            return jobs
        }
        for job in jobs { unsafe job.runSynchronously(on: asUnownedTaskExecutor()) }
        return !jobs.isEmpty
    }
}
