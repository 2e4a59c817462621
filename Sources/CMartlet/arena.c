#define _GNU_SOURCE
#include "martlet_arena.h"

#include <errno.h>
#include <sys/mman.h>

static const size_t huge = 2u << 20;

static size_t rounded(size_t size, size_t unit) { return (size + unit - 1) / unit * unit; }

int martlet_arena_map(size_t size, enum martlet_pages pages, bool lock, martlet_arena *out) {
    const int protection = PROT_READ | PROT_WRITE, flags = MAP_PRIVATE | MAP_ANONYMOUS;
    if (size == 0 || size > SIZE_MAX - 2 * huge) return -EINVAL;
    *out = (martlet_arena){.pages = MARTLET_PAGES_PLAIN, .address = MAP_FAILED};
    if (pages == MARTLET_PAGES_HUGE) {
        out->size = rounded(size, huge);
        // 21 << MAP_HUGE_SHIFT: pages of 2 MiB. The kernel reserves them here, so that no access fails later.
        out->address = mmap(NULL, out->size, protection, flags | MAP_HUGETLB | 21 << 26, -1, 0);
        if (out->address != MAP_FAILED) out->pages = MARTLET_PAGES_HUGE;
    }
    if (out->address == MAP_FAILED && pages != MARTLET_PAGES_PLAIN && size >= huge) {
        // Huge pages are aligned to their size: map one more, and give back what sticks out at both ends.
        out->size = rounded(size, huge);
        char *start = mmap(NULL, out->size + huge, protection, flags, -1, 0);
        if (start != MAP_FAILED) {
            char *aligned = (char *)rounded((size_t)start, huge);
            if (aligned > start) munmap(start, aligned - start);
            munmap(aligned + out->size, start + huge - aligned);
            out->address = aligned;
            if (madvise(aligned, out->size, MADV_HUGEPAGE) == 0) out->pages = MARTLET_PAGES_TRANSPARENT_HUGE;
        }
    }
    if (out->address == MAP_FAILED) {
        out->size = rounded(size, 4096);
        out->address = mmap(NULL, out->size, protection, flags, -1, 0);
        if (out->address == MAP_FAILED) return -errno;
    }
    // A child has no use for it, and would make pages that a device writes to copies of its own.
    madvise(out->address, out->size, MADV_DONTFORK);
    out->locked = lock && mlock(out->address, out->size) == 0;
    return 0;
}

void martlet_arena_unmap(void *address, size_t size) { munmap(address, size); }
