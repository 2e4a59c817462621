// Memory for frames: mmap(2) with MAP_HUGETLB, madvise(2), mlock(2).
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum martlet_pages { MARTLET_PAGES_PLAIN = 0, MARTLET_PAGES_TRANSPARENT_HUGE = 1, MARTLET_PAGES_HUGE = 2 };

typedef struct {
    void *address;
    /// Bytes that are mapped: what was asked for, rounded up to pages.
    size_t size;
    enum martlet_pages pages;
    bool locked;
} martlet_arena;

/// Maps at least `size` bytes: from the machine's huge pages if `pages` allows and there are enough, else aligned for
/// transparent ones if it allows and the kernel takes the advice, else plain. Locks them if the limit allows and `lock` is
/// true. Returns 0 or -errno.
int martlet_arena_map(size_t size, enum martlet_pages pages, bool lock, martlet_arena *out);
void martlet_arena_unmap(void *address, size_t size);
