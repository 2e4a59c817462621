#define _GNU_SOURCE
#include "martlet_batch.h"

#include <errno.h>
#include <liburing.h>
#include <stdlib.h>
#include <string.h>
#include <sys/uio.h>

#ifndef RWF_NOWAIT
#define RWF_NOWAIT 8
#endif

struct martlet_batch {
    struct io_uring ring;
};

// Everything completes inside of the enter, so no thread is tied to the ring and nothing is deferred.
martlet_batch *martlet_batch_open(int fd) {
    martlet_batch *batch = calloc(1, sizeof *batch);
    if (batch == NULL) return NULL;
    struct io_uring_params params;
    memset(&params, 0, sizeof params);
    params.flags = IORING_SETUP_CLAMP | IORING_SETUP_SUBMIT_ALL;
    if (io_uring_queue_init_params(MARTLET_BATCH_ENTRIES, &batch->ring, &params) < 0) goto failed;
    if (io_uring_register_files(&batch->ring, &fd, 1) < 0) {
        io_uring_queue_exit(&batch->ring);
        goto failed;
    }
    io_uring_ring_dontfork(&batch->ring);
    return batch;
failed:
    free(batch);
    return NULL;
}

void martlet_batch_close(martlet_batch *batch) {
    // The kernel takes a ring down later, and would keep the device open until then.
    io_uring_unregister_files(&batch->ring);
    io_uring_queue_exit(&batch->ring);
    free(batch);
}

static int run(martlet_batch *batch, int operation, const struct iovec *pieces, int count, int32_t *results) {
    for (int i = 0; i < count; i++) {
        struct io_uring_sqe *sqe = io_uring_get_sqe(&batch->ring);
        if (sqe == NULL) return -ENOBUFS;
        io_uring_prep_rw(operation, sqe, 0, pieces[i].iov_base, (unsigned)pieces[i].iov_len, 0);
        sqe->flags |= IOSQE_FIXED_FILE;
        sqe->rw_flags = RWF_NOWAIT;
        io_uring_sqe_set_data64(sqe, (uint64_t)i);
    }
    for (int done = 0; done < count;) {
        int result = io_uring_submit_and_wait(&batch->ring, (unsigned)(count - done));
        if (result < 0 && result != -EINTR) return result;
        struct io_uring_cqe *cqe;
        while (io_uring_peek_cqe(&batch->ring, &cqe) == 0) {
            results[cqe->user_data] = cqe->res;
            io_uring_cqe_seen(&batch->ring, cqe);
            done++;
        }
    }
    return 0;
}

int martlet_batch_read(martlet_batch *batch, const struct iovec *pieces, int count, int32_t *results) {
    return run(batch, IORING_OP_READ, pieces, count, results);
}

int martlet_batch_write(martlet_batch *batch, const struct iovec *pieces, int count, int32_t *results) {
    return run(batch, IORING_OP_WRITE, pieces, count, results);
}
