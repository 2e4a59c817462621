#define _GNU_SOURCE
#include "martlet_uring.h"

#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

// The ladder: the newest set-up first, one step down whenever the kernel does not know it.
static int open_rung(martlet_uring *uring, int rung, unsigned sq_entries, unsigned cq_entries) {
    struct io_uring_params params;
    memset(&params, 0, sizeof params);
    params.flags = IORING_SETUP_CLAMP | IORING_SETUP_CQSIZE | IORING_SETUP_SUBMIT_ALL | IORING_SETUP_SINGLE_ISSUER;
    params.cq_entries = cq_entries;
    switch (rung) {
    case MARTLET_URING_DEFER_TASKRUN: params.flags |= IORING_SETUP_DEFER_TASKRUN | IORING_SETUP_TASKRUN_FLAG; break;
    case MARTLET_URING_COOP_TASKRUN: params.flags |= IORING_SETUP_COOP_TASKRUN | IORING_SETUP_TASKRUN_FLAG; break;
    case MARTLET_URING_SQPOLL:
        params.flags |= IORING_SETUP_SQPOLL;
        params.sq_thread_idle = 1000;
        break;
    }
    int result = io_uring_queue_init_params(sq_entries, &uring->ring, &params);
    if (result < 0) return result;
    // Every entry of the indirection array names itself once and for all, so that submitting is one store of the tail.
    for (unsigned i = 0; i < params.sq_entries; i++) uring->ring.sq.array[i] = i;
    uring->rung = rung;
    uring->enter_flags = (params.features & IORING_FEAT_NO_IOWAIT) ? IORING_ENTER_NO_IOWAIT : 0;
    return 0;
}

int martlet_uring_open(martlet_uring *uring, unsigned sq_entries, unsigned cq_entries, bool sqpoll) {
    memset(uring, 0, sizeof *uring);
    int result;
    if (sqpoll) {
        result = open_rung(uring, MARTLET_URING_SQPOLL, sq_entries, cq_entries);
    } else {
        result = open_rung(uring, MARTLET_URING_DEFER_TASKRUN, sq_entries, cq_entries);
        if (result == -EINVAL) result = open_rung(uring, MARTLET_URING_COOP_TASKRUN, sq_entries, cq_entries);
    }
    if (result < 0) return result;
    io_uring_ring_dontfork(&uring->ring);
    io_uring_register_ring_fd(&uring->ring);    // failing only costs a table look-up an enter
    return 0;
}

void martlet_uring_close(martlet_uring *uring) {
    if (uring->buffers != NULL) {
        io_uring_unregister_buf_ring(&uring->ring, 0);
        munmap(uring->buffers, uring->buffer_count * sizeof(struct io_uring_buf));
    }
    io_uring_queue_exit(&uring->ring);
}

int martlet_uring_register_buffers(martlet_uring *uring, unsigned count) {
    void *memory = mmap(NULL, count * sizeof(struct io_uring_buf), PROT_READ | PROT_WRITE,
                        MAP_ANONYMOUS | MAP_PRIVATE, -1, 0);
    if (memory == MAP_FAILED) return -errno;
    struct io_uring_buf_reg registration;
    memset(&registration, 0, sizeof registration);
    registration.ring_addr = (uint64_t)(uintptr_t)memory;
    registration.ring_entries = count;
    int result = io_uring_register_buf_ring(&uring->ring, &registration, 0);
    if (result < 0) {
        munmap(memory, count * sizeof(struct io_uring_buf));
        return result;
    }
    uring->buffers = memory;
    uring->buffer_count = count;
    io_uring_buf_ring_init(uring->buffers);
    return 0;
}

int martlet_uring_probe(void) {
    martlet_uring uring;
    int result = martlet_uring_open(&uring, 8, 16, false);
    if (result < 0) return result;
    result = martlet_uring_register_buffers(&uring, 8);
    martlet_uring_close(&uring);
    return result;
}

int martlet_uring_enter(martlet_uring *uring, unsigned wait_for, int64_t timeout_ns) {
    struct io_uring_sq *sq = &uring->ring.sq;
    __atomic_store_n(sq->ktail, sq->sqe_tail, __ATOMIC_RELEASE);
    sq->sqe_head = sq->sqe_tail;

    unsigned flags = IORING_ENTER_GETEVENTS | uring->enter_flags;
    int fd = uring->ring.enter_ring_fd;
    if (fd != uring->ring.ring_fd) flags |= IORING_ENTER_REGISTERED_RING;
    unsigned to_submit;
    for (;;) {
        to_submit = martlet_uring_unsubmitted(uring);
        if (uring->rung == MARTLET_URING_SQPOLL) {
            __atomic_thread_fence(__ATOMIC_SEQ_CST);
            if (__atomic_load_n(sq->kflags, __ATOMIC_RELAXED) & IORING_SQ_NEED_WAKEUP) flags |= IORING_ENTER_SQ_WAKEUP;
            else if (wait_for == 0 && !martlet_uring_needs_enter(uring)) return 0;
        }
        struct __kernel_timespec timeout = {.tv_sec = timeout_ns / 1000000000, .tv_nsec = timeout_ns % 1000000000};
        struct io_uring_getevents_arg argument;
        memset(&argument, 0, sizeof argument);
        argument.sigmask_sz = _NSIG / 8;
        argument.ts = timeout_ns >= 0 && wait_for > 0 ? (uint64_t)(uintptr_t)&timeout : 0;
        long result = syscall(__NR_io_uring_enter, fd, to_submit, wait_for, flags | IORING_ENTER_EXT_ARG,
                              &argument, sizeof argument);
        if (result < 0) return -errno;
        // A short submit leaves entries behind: go round again, or they would wait for the next round.
        if (uring->rung == MARTLET_URING_SQPOLL || (unsigned)result >= to_submit) return 0;
        if (result == 0) return -EAGAIN;
    }
}
