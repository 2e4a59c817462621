// epoll(7) and eventfd(2), returning -errno.
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <sys/epoll.h>

enum {
    MARTLET_EPOLL_READABLE = EPOLLIN,
    MARTLET_EPOLL_WRITABLE = EPOLLOUT,
    MARTLET_EPOLL_PEER_FINISHED = EPOLLRDHUP,
    MARTLET_EPOLL_HANGUP = EPOLLHUP,
    MARTLET_EPOLL_ERROR = EPOLLERR,
};

int martlet_eventfd(void);
/// Adds 1 to the counter: whoever sleeps on it wakes.
void martlet_eventfd_signal(int fd);
/// Reads the counter and sets it to 0. Never blocks.
void martlet_eventfd_drain(int fd);

int martlet_epoll_create(void);
/// Watches `fd`; `edge` asks for EPOLLET with input, output and peer-finished edges, otherwise level-triggered input.
int martlet_epoll_add(int epoll, int fd, uint64_t token, int edge);
/// Watches a descriptor that was added, level-triggered, for other things than before.
int martlet_epoll_modify(int epoll, int fd, uint64_t token, uint32_t flags);
/// Watches `fd` for one level-triggered event, whether it was watched before or not.
int martlet_epoll_watch_once(int epoll, int fd, bool input, bool output, uint64_t token);
int martlet_epoll_remove(int epoll, int fd);
/// Waits at most `timeout_ns` (negative: for ever). Returns the number of events or -errno.
int martlet_epoll_wait(int epoll, struct epoll_event *events, int capacity, int64_t timeout_ns);

static inline uint64_t martlet_epoll_token(const struct epoll_event *event) { return event->data.u64; }
static inline uint32_t martlet_epoll_flags(const struct epoll_event *event) { return event->events; }
