// A thread that simulates: what the Swift runtime would give to its own pool of threads is run there instead, in order. Through the
// hooks that the runtime has for this (swift/ABI: swift_task_enqueueGlobal_hook).
#pragma once

#include <stdbool.h>

/// The jobs of a simulation that prefer no executor: unstructured tasks, and actors of the program's.
typedef struct {
    void *first;
    void *last;
} martlet_world;

/// Makes the calling thread the one of a simulation. There is one a thread, until `martlet_world_leave`.
void martlet_world_enter(martlet_world *world);
void martlet_world_leave(void);
/// Whether the calling thread is that of a simulation.
bool martlet_world_is_current(void);
/// Runs the oldest job. Returns false if there is none.
bool martlet_world_run_job(martlet_world *world);
