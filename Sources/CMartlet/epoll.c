#define _GNU_SOURCE
#include "martlet_epoll.h"

#include <errno.h>
#include <sys/eventfd.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

int martlet_eventfd(void) {
    int fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    return fd < 0 ? -errno : fd;
}

void martlet_eventfd_signal(int fd) {
    uint64_t one = 1;
    ssize_t written = write(fd, &one, sizeof one);
    (void)written;
}

void martlet_eventfd_drain(int fd) {
    uint64_t count;
    ssize_t got = read(fd, &count, sizeof count);
    (void)got;
}

int martlet_epoll_create(void) {
    int fd = epoll_create1(EPOLL_CLOEXEC);
    return fd < 0 ? -errno : fd;
}

int martlet_epoll_add(int epoll, int fd, uint64_t token, int edge) {
    struct epoll_event event = {
        .events = edge ? (EPOLLIN | EPOLLOUT | EPOLLRDHUP | (uint32_t)EPOLLET) : EPOLLIN,
        .data.u64 = token,
    };
    return epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event) == 0 ? 0 : -errno;
}

int martlet_epoll_modify(int epoll, int fd, uint64_t token, uint32_t flags) {
    struct epoll_event event = {.events = flags, .data.u64 = token};
    return epoll_ctl(epoll, EPOLL_CTL_MOD, fd, &event) == 0 ? 0 : -errno;
}

int martlet_epoll_watch_once(int epoll, int fd, bool input, bool output, uint64_t token) {
    struct epoll_event event = {.events = EPOLLONESHOT | (input ? EPOLLIN : 0) | (output ? EPOLLOUT : 0)};
    event.data.u64 = token;
    if (epoll_ctl(epoll, EPOLL_CTL_MOD, fd, &event) == 0) return 0;
    if (errno == ENOENT && epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event) == 0) return 0;
    return -errno;
}

int martlet_epoll_remove(int epoll, int fd) {
    struct epoll_event event = {0};
    return epoll_ctl(epoll, EPOLL_CTL_DEL, fd, &event) == 0 ? 0 : -errno;
}

int martlet_epoll_wait(int epoll, struct epoll_event *events, int capacity, int64_t timeout_ns) {
    int count;
    if (timeout_ns <= 0) {
        count = epoll_wait(epoll, events, capacity, timeout_ns < 0 ? -1 : 0);
    } else {
        struct timespec timeout = {.tv_sec = timeout_ns / 1000000000, .tv_nsec = timeout_ns % 1000000000};
#ifdef SYS_epoll_pwait2
        count = (int)syscall(SYS_epoll_pwait2, epoll, events, capacity, &timeout, NULL, 0);
        if (count < 0 && errno == ENOSYS)
#endif
        {
            int64_t milliseconds = (timeout_ns + 999999) / 1000000;
            count = epoll_wait(epoll, events, capacity, milliseconds > 1000000 ? 1000000 : (int)milliseconds);
        }
    }
    return count < 0 ? -errno : count;
}
