#include "martlet_job.h"

__attribute__((swiftcall)) static void cancelled(__attribute__((swift_context)) void *waiter) {
    martlet_waiter_cancelled(waiter);
}

void *martlet_watch_cancellation(void *waiter) { return swift_task_addCancellationHandler(cancelled, waiter); }
