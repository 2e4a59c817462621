// io_uring(7) over liburing: the set-up ladder, one wrapper an operation, and the one system call a round.
// liburing 2.3 is enough; constants that newer kernels have and it lacks are defined here.
#pragma once

#if !__has_include(<liburing.h>)
#error "liburing is missing: apt-get install -y liburing-dev"
#endif

#include <errno.h>
#include <liburing.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/socket.h>

#ifndef IORING_ENTER_NO_IOWAIT
#define IORING_ENTER_NO_IOWAIT (1U << 7)            // 6.15: an idle core does not read as iowait
#endif
#ifndef IORING_FEAT_NO_IOWAIT
#define IORING_FEAT_NO_IOWAIT (1U << 17)
#endif

/// Which rung of the ladder held.
enum {
    MARTLET_URING_DEFER_TASKRUN = 1,    // 6.1: completions are made only when the core asks
    MARTLET_URING_COOP_TASKRUN = 2,     // 6.0: completions are made at the core's next system call
    MARTLET_URING_SQPOLL = 3,           // asked for: a kernel thread submits
};

typedef struct {
    struct io_uring ring;
    struct io_uring_buf_ring *buffers;
    uint32_t buffer_count;
    int rung;
    uint32_t enter_flags;
    /// The queue was full and has been submitted before the end of the round.
    bool submitted_early;
} martlet_uring;

/// Sets up a ring on the calling thread, which alone may use it from then on. Returns 0 or -errno.
int martlet_uring_open(martlet_uring *uring, unsigned sq_entries, unsigned cq_entries, bool sqpoll);
void martlet_uring_close(martlet_uring *uring);
/// Registers an empty ring of provided buffers as group 0. `count` is a power of two.
int martlet_uring_register_buffers(martlet_uring *uring, unsigned count);
/// Whether a ring could be set up here now: 0, or the -errno that says why not.
int martlet_uring_probe(void);

/// Submits what is queued, then waits for `wait_for` completions, at most `timeout_ns` (negative: for ever).
/// Returns 0, -ETIME, -EINTR or another -errno. Whatever it returns, the entries went in unless it is -EBUSY or -EAGAIN.
int martlet_uring_enter(martlet_uring *uring, unsigned wait_for, int64_t timeout_ns);

static inline struct io_uring_cqe *martlet_uring_peek(martlet_uring *uring) {
    struct io_uring_cq *cq = &uring->ring.cq;
    unsigned head = *cq->khead;
    unsigned tail = __atomic_load_n(cq->ktail, __ATOMIC_ACQUIRE);
    return head == tail ? NULL : &cq->cqes[head & *cq->kring_mask];
}

static inline void martlet_uring_advance(martlet_uring *uring) {
    struct io_uring_cq *cq = &uring->ring.cq;
    __atomic_store_n(cq->khead, *cq->khead + 1, __ATOMIC_RELEASE);
}

/// Whether the kernel holds completions that only a system call brings out (deferred work, or an overflown CQ).
static inline bool martlet_uring_needs_enter(martlet_uring *uring) {
    unsigned flags = __atomic_load_n(uring->ring.sq.kflags, __ATOMIC_RELAXED);
    return (flags & (IORING_SQ_TASKRUN | IORING_SQ_CQ_OVERFLOW)) != 0;
}

static inline bool martlet_uring_overflown(martlet_uring *uring) {
    return (__atomic_load_n(uring->ring.sq.kflags, __ATOMIC_RELAXED) & IORING_SQ_CQ_OVERFLOW) != 0;
}

static inline unsigned martlet_uring_unsubmitted(martlet_uring *uring) {
    return uring->ring.sq.sqe_tail - __atomic_load_n(uring->ring.sq.khead, __ATOMIC_ACQUIRE);
}

/// The next free submission entry, submitting what is queued when there is none.
static inline struct io_uring_sqe *martlet_uring_sqe(martlet_uring *uring) {
    struct io_uring_sqe *sqe;
    while ((sqe = io_uring_get_sqe(&uring->ring)) == NULL) {
        uring->submitted_early = true;
        martlet_uring_enter(uring, 0, 0);
    }
    return sqe;
}

static inline void martlet_uring_accept(martlet_uring *uring, int fd, bool multishot, uint64_t token) {
    struct io_uring_sqe *sqe = martlet_uring_sqe(uring);
    if (multishot) {
        io_uring_prep_multishot_accept(sqe, fd, NULL, NULL, SOCK_CLOEXEC);
    } else {
        io_uring_prep_accept(sqe, fd, NULL, NULL, SOCK_CLOEXEC);
    }
    io_uring_sqe_set_data64(sqe, token);
}

/// Multishot receive into buffers of group 0.
static inline void martlet_uring_receive(martlet_uring *uring, int fd, uint64_t token) {
    struct io_uring_sqe *sqe = martlet_uring_sqe(uring);
    io_uring_prep_recv_multishot(sqe, fd, NULL, 0, 0);
    sqe->flags |= IOSQE_BUFFER_SELECT;
    sqe->buf_group = 0;
    io_uring_sqe_set_data64(sqe, token);
}

/// Sends the pieces in order. Two ways:
/// - `silent`: the attempt is made inside the coming enter, never waits, and posts a completion only if it did not send
///   everything (the count that went, or an error). No completion after the enter means that all of it went.
/// - otherwise the kernel waits for room as long as it takes, and one completion says how it ended.
/// `message` and the pieces need to live only until the next enter (IORING_FEAT_SUBMIT_STABLE), the bytes until the end.
static inline void martlet_uring_send(
    martlet_uring *uring, int fd, const struct iovec *pieces, int count, struct msghdr *message, bool silent, uint64_t token
) {
    struct io_uring_sqe *sqe = martlet_uring_sqe(uring);
    int flags = MSG_NOSIGNAL | MSG_WAITALL | (silent ? MSG_DONTWAIT : 0);
    if (count == 1) {
        io_uring_prep_send(sqe, fd, pieces[0].iov_base, pieces[0].iov_len, flags);
    } else {
        *message = (struct msghdr){.msg_iov = (struct iovec *)pieces, .msg_iovlen = (size_t)count};
        io_uring_prep_sendmsg(sqe, fd, message, (unsigned)flags);
    }
    if (silent) sqe->flags |= IOSQE_CQE_SKIP_SUCCESS;
    io_uring_sqe_set_data64(sqe, token);
}

static inline void martlet_uring_connect(
    martlet_uring *uring, int fd, const struct sockaddr *address, socklen_t length, uint64_t token
) {
    struct io_uring_sqe *sqe = martlet_uring_sqe(uring);
    io_uring_prep_connect(sqe, fd, address, length);
    io_uring_sqe_set_data64(sqe, token);
}

/// Multishot readiness for input.
static inline void martlet_uring_poll_readable(martlet_uring *uring, int fd, uint64_t token) {
    struct io_uring_sqe *sqe = martlet_uring_sqe(uring);
    io_uring_prep_poll_multishot(sqe, fd, POLLIN);
    io_uring_sqe_set_data64(sqe, token);
}

/// One-shot readiness for output.
static inline void martlet_uring_poll_writable(martlet_uring *uring, int fd, uint64_t token) {
    struct io_uring_sqe *sqe = martlet_uring_sqe(uring);
    io_uring_prep_poll_add(sqe, fd, POLLOUT);
    io_uring_sqe_set_data64(sqe, token);
}

/// One-shot readiness for input, output or both.
static inline void martlet_uring_poll_once(martlet_uring *uring, int fd, bool input, bool output, uint64_t token) {
    struct io_uring_sqe *sqe = martlet_uring_sqe(uring);
    io_uring_prep_poll_add(sqe, fd, (input ? POLLIN : 0) | (output ? POLLOUT : 0));
    io_uring_sqe_set_data64(sqe, token);
}

/// Cancels the operation that carries `target`. Its own completion carries `token`.
static inline void martlet_uring_cancel(martlet_uring *uring, uint64_t target, uint64_t token) {
    struct io_uring_sqe *sqe = martlet_uring_sqe(uring);
    io_uring_prep_cancel64(sqe, target, 0);
    io_uring_sqe_set_data64(sqe, token);
}

static inline void martlet_uring_close_fd(martlet_uring *uring, int fd, uint64_t token) {
    struct io_uring_sqe *sqe = martlet_uring_sqe(uring);
    io_uring_prep_close(sqe, fd);
    io_uring_sqe_set_data64(sqe, token);
}

static inline void martlet_uring_provide(martlet_uring *uring, void *base, uint32_t capacity, uint16_t id, int offset) {
    io_uring_buf_ring_add(uring->buffers, base, capacity, id, io_uring_buf_ring_mask(uring->buffer_count), offset);
}

static inline void martlet_uring_provide_done(martlet_uring *uring, int count) {
    io_uring_buf_ring_advance(uring->buffers, count);
}

static inline bool martlet_cqe_more(const struct io_uring_cqe *cqe) { return (cqe->flags & IORING_CQE_F_MORE) != 0; }
static inline int32_t martlet_cqe_buffer(const struct io_uring_cqe *cqe) {
    return (cqe->flags & IORING_CQE_F_BUFFER) ? (int32_t)(cqe->flags >> IORING_CQE_BUFFER_SHIFT) : -1;
}
/// Whether the socket still held bytes after this receive (IORING_CQE_F_SOCK_NONEMPTY).
static inline bool martlet_cqe_nonempty(const struct io_uring_cqe *cqe) {
    return (cqe->flags & IORING_CQE_F_SOCK_NONEMPTY) != 0;
}
