// ppoll(2), for threads that sleep on links outside of a core.
#pragma once

#include <poll.h>
#include <stdint.h>

/// Waits until one of `count` descriptors is ready, at most `timeout_ns` (negative: for ever). Returns how many are, or -errno;
/// a signal counts as the time being up.
int martlet_poll(struct pollfd *descriptors, unsigned count, int64_t timeout_ns);
