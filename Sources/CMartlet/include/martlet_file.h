// Files that are written from start to end: open(2), write(2), fallocate(2).
#pragma once

#include <stddef.h>
#include <stdint.h>
#include <time.h>

/// Creates or empties a file, readable by all. Returns its descriptor, close-on-exec, or -errno.
int martlet_create_file(const char *path);
/// Writes all of it, however many calls it takes. Returns 0 or -errno.
int martlet_write_all(int fd, const void *bytes, size_t count);
/// Reserves the bytes of a file from `start` on, which its size does not show, so that writing them need not look for room page by page.
/// Only a wish: returns 0 or -errno.
int martlet_reserve(int fd, int64_t start, int64_t count);
/// Gives back what was reserved behind the first `size` bytes.
void martlet_end_reserve(int fd, int64_t size);

/// CLOCK_REALTIME in nanoseconds.
static inline int64_t martlet_realtime_ns(void) {
    struct timespec t;
    clock_gettime(CLOCK_REALTIME, &t);
    return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}
