// The two words that the Swift runtime reserves in each job for the executor that holds it
// (swift/ExecutorImpl.h, SwiftJob::schedulerPrivate): they make a queue of jobs intrusive, so enqueueing allocates nothing.
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct {
    const void *metadata;
    uintptr_t reference_counts;
    void *scheduler_private[2];
} martlet_job;

static inline void *martlet_job_next(const void *job) {
    return ((const martlet_job *)job)->scheduler_private[0];
}

static inline void martlet_job_set_next(void *job, void *next) {
    ((martlet_job *)job)->scheduler_private[0] = next;
}

/// Which executor the job was enqueued on: the runtime wants to be told the same one when the job runs.
static inline uintptr_t martlet_job_tag(const void *job) {
    return (uintptr_t)((const martlet_job *)job)->scheduler_private[1];
}

static inline void martlet_job_set_tag(void *job, uintptr_t tag) {
    ((martlet_job *)job)->scheduler_private[1] = (void *)tag;
}

// The running task without the reference counting of Swift's own way to it: two entry points of the Swift runtime's stable ABI.
__attribute__((swiftcall)) extern void *swift_task_getCurrent(void);
__attribute__((swiftcall)) extern bool swift_task_isCancelled(void *task);

/// The running task as an identity to compare, or 0 outside of tasks.
static inline uintptr_t martlet_task_identity(void) { return (uintptr_t)swift_task_getCurrent(); }

static inline bool martlet_task_is_cancelled(void) {
    void *task = swift_task_getCurrent();
    return task != 0 && swift_task_isCancelled(task);
}

// A cancellation handler without closures: what `withTaskCancellationHandler` compiles to, less its two hops between executors.
// The record lives on the task's own stack-like allocator, so handlers end in the reverse order of their beginnings.
typedef __attribute__((swiftcall)) void (*martlet_cancellation_handler)(__attribute__((swift_context)) void *context);
__attribute__((swiftcall)) extern void *swift_task_addCancellationHandler(
    martlet_cancellation_handler handler, void *context);
__attribute__((swiftcall)) extern void swift_task_removeCancellationHandler(void *record);

/// Calls `martlet_waiter_cancelled(waiter)`, on whatever thread, when the running task is cancelled, or now if it has been.
/// Returns the record to end it with.
void *martlet_watch_cancellation(void *waiter);

/// The same with `martlet_scope_cancelled(scope)`.
void *martlet_watch_scope(void *scope);

static inline void martlet_unwatch_cancellation(void *record) { swift_task_removeCancellationHandler(record); }

/// Defined in Core/Waiter.swift.
extern void martlet_waiter_cancelled(void *waiter);
/// Defined in Core/TaskScope.swift.
extern void martlet_scope_cancelled(void *scope);

// Several references at a time, and how many there are: entry points of the Swift runtime.
extern void *swift_retain_n(void *object, uint32_t count);
extern void swift_release_n(void *object, uint32_t count);
extern size_t swift_retainCount(void *object);

static inline void martlet_retain(void *object, uint32_t count) { swift_retain_n(object, count); }

static inline void martlet_release(void *object, uint32_t count) { swift_release_n(object, count); }

static inline long martlet_reference_count(void *object) { return (long)swift_retainCount(object); }
