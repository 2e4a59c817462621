#include "martlet_world.h"

#include <pthread.h>
#include <stddef.h>

#include "martlet_job.h"

typedef __attribute__((swiftcall)) void (*enqueue)(void *job);
typedef __attribute__((swiftcall)) void (*enqueue_hook)(void *job, enqueue original);
extern enqueue_hook swift_task_enqueueGlobal_hook;
// An executor is two words, its identity and its table of functions: both zero for the global one.
extern __attribute__((swiftcall)) void swift_job_run(void *job, void *identity, void *implementation);

static _Thread_local martlet_world *current;
static enqueue_hook next;

static __attribute__((swiftcall)) void enqueue_global(void *job, enqueue original) {
    if (current == NULL) {
        if (next != NULL) next(job, original);
        else original(job);
        return;
    }
    martlet_job_set_next(job, NULL);
    if (current->last != NULL) martlet_job_set_next(current->last, job);
    else current->first = job;
    current->last = job;
}

static void install(void) {
    next = swift_task_enqueueGlobal_hook;
    swift_task_enqueueGlobal_hook = enqueue_global;
}

void martlet_world_enter(martlet_world *world) {
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, install);
    current = world;
}

void martlet_world_leave(void) { current = NULL; }

bool martlet_world_is_current(void) { return current != NULL; }

bool martlet_world_run_job(martlet_world *world) {
    void *job = world->first;
    if (job == NULL) return false;
    world->first = martlet_job_next(job);
    if (world->first == NULL) world->last = NULL;
    swift_job_run(job, NULL, NULL);
    return true;
}
