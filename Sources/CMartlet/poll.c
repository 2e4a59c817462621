#define _GNU_SOURCE
#include "martlet_poll.h"

#include <errno.h>
#include <time.h>

int martlet_poll(struct pollfd *descriptors, unsigned count, int64_t timeout_ns) {
    struct timespec timeout = {timeout_ns / 1000000000, timeout_ns % 1000000000};
    int ready = ppoll(descriptors, count, timeout_ns < 0 ? NULL : &timeout, NULL);
    if (ready < 0) return errno == EINTR ? 0 : -errno;
    return ready;
}
