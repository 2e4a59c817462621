// Many reads or writes of one descriptor in one system call: a small io_uring(7) that only does that and never waits.
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <sys/uio.h>

typedef struct martlet_batch martlet_batch;

enum { MARTLET_BATCH_ENTRIES = 128 };

/// A ring for batches on `fd`, or NULL where the kernel refuses one. Any thread may use it, one at a time.
martlet_batch *martlet_batch_open(int fd);
void martlet_batch_close(martlet_batch *batch);

/// One read or write for each of `count` pieces, MARTLET_BATCH_ENTRIES at most, in their order. `results` gets the bytes or -errno of
/// each: -EAGAIN where it would have had to wait. Returns 0, or -errno if the ring does not work any more.
int martlet_batch_read(martlet_batch *batch, const struct iovec *pieces, int count, int32_t *results);
int martlet_batch_write(martlet_batch *batch, const struct iovec *pieces, int count, int32_t *results);
