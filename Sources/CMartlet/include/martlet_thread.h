// Core threads: creation, pinning, and the thread-local word that says which core this thread is (pthread(7), sched_setaffinity(2)).
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <time.h>

/// The core that owns the calling thread, or NULL on every other thread.
extern _Thread_local void *martlet_current_core_storage;

static inline void *martlet_current_core(void) { return martlet_current_core_storage; }
static inline void martlet_set_current_core(void *core) { martlet_current_core_storage = core; }

/// CLOCK_MONOTONIC in nanoseconds.
static inline int64_t martlet_monotonic_ns(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

/// CLOCK_MONOTONIC_COARSE in nanoseconds: the kernel's last tick, a few nanoseconds to read.
static inline int64_t martlet_coarse_ns(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC_COARSE, &t);
    return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

/// Starts a detached thread that runs `body(argument)` with all signals blocked. Returns 0 or -errno.
int martlet_thread_start(void (*body)(void *), void *argument);
/// Names the calling thread (at most 15 bytes).
void martlet_thread_name(const char *name);
/// Pins the calling thread to one CPU. Returns 0 or -errno.
int martlet_thread_pin(int cpu);
/// Fills `cpus` with up to `capacity` CPUs this process may use, ascending; returns how many there are.
int martlet_usable_cpus(int *cpus, int capacity);
/// CPU time the calling thread has used, in nanoseconds.
int64_t martlet_thread_cpu_ns(void);
/// Moves the calling thread to the network namespace that `path` names (setns(2)). Returns 0 or -errno.
int martlet_thread_enter_namespace(const char *path);
