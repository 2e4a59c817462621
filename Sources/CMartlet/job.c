#include "martlet_job.h"

#include <stddef.h>

__attribute__((swiftcall)) static void waiter_cancelled(__attribute__((swift_context)) void *waiter) {
    martlet_waiter_cancelled(waiter);
}

__attribute__((swiftcall)) static void scope_cancelled(__attribute__((swift_context)) void *scope) {
    martlet_scope_cancelled(scope);
}

void *martlet_watch_cancellation(void *waiter) { return swift_task_addCancellationHandler(waiter_cancelled, waiter); }

void *martlet_watch_scope(void *scope) { return swift_task_addCancellationHandler(scope_cancelled, scope); }

// A function with Swift's asynchronous calling convention: `martlet_parkTu` is what its callers know it by, a relative pointer to
// the code and the bytes of context to allocate.
typedef struct async_context async_context;
typedef __attribute__((swiftasynccall)) void (*async_function)(__attribute__((swift_async_context)) async_context *);
struct async_context {
    async_context *parent;
    async_function resume;
};

// What compiled Swift code stores in a task as it suspends (the layout of %swift.task in what the compiler emits).
struct task {
    martlet_job job;
    uint32_t flags, id;
    void *reserved[2];
    async_function resume;
    async_context *resume_context;
};
_Static_assert(offsetof(struct task, resume) == 56 && sizeof(void *) == 8, "a task as in Swift 6 on 64 bits");

// Marks the running task as suspended, and the thread as running none. Returns the task.
__attribute__((swiftcall)) extern void *swift_task_suspend(void);

__attribute__((swiftasynccall)) void martlet_park(
    uintptr_t isolation, uintptr_t isolation_witness, void **job,
    __attribute__((swift_async_context)) async_context *context) {
    (void)isolation;
    (void)isolation_witness;
    // Nobody but this thread resumes it, so it may be suspended before it is known where it goes on.
    struct task *task = swift_task_suspend();
    task->resume = context->resume;
    task->resume_context = context;
    *job = task;
}

__asm__(".pushsection .rodata\n"
        ".globl martlet_parkTu\n"
        ".p2align 3\n"
        "martlet_parkTu:\n"
        "    .long martlet_park - .\n"
        "    .long 16\n"
        ".popsection\n");
