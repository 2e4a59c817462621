#define _GNU_SOURCE
#include "martlet_xdp.h"

#include <errno.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#ifndef AF_XDP
#define AF_XDP 44
#endif
#ifndef SOL_XDP
#define SOL_XDP 283
#endif
#ifndef SO_BUSY_POLL
#define SO_BUSY_POLL 46
#endif
#ifndef SO_PREFER_BUSY_POLL
#define SO_PREFER_BUSY_POLL 69
#endif
#ifndef SO_BUSY_POLL_BUDGET
#define SO_BUSY_POLL_BUDGET 70
#endif
#ifndef XDP_MAX_TX_SKB_BUDGET
#define XDP_MAX_TX_SKB_BUDGET 9
#endif

_Static_assert(sizeof(martlet_xdp_descriptor) == sizeof(struct xdp_desc), "an entry as the kernel lays it out");

int martlet_xdp_socket(void) {
    int fd = socket(AF_XDP, SOCK_RAW | SOCK_CLOEXEC, 0);
    return fd < 0 ? -errno : fd;
}

static int set(int fd, int level, int option, const void *value, socklen_t length) {
    return setsockopt(fd, level, option, value, length) < 0 ? -errno : 0;
}

int martlet_xdp_register(int fd, void *arena, uint64_t length, uint32_t chunk) {
    struct xdp_umem_reg umem;
    memset(&umem, 0, sizeof umem);
    umem.addr = (uintptr_t)arena;
    umem.len = length;
    umem.chunk_size = chunk;
    return set(fd, SOL_XDP, XDP_UMEM_REG, &umem, sizeof umem);
}

int martlet_xdp_set_ring_size(int fd, int ring, uint32_t entries) {
    static const int options[] = {
        [MARTLET_XDP_FILL] = XDP_UMEM_FILL_RING, [MARTLET_XDP_COMPLETION] = XDP_UMEM_COMPLETION_RING,
        [MARTLET_XDP_RECEIVE] = XDP_RX_RING, [MARTLET_XDP_TRANSMIT] = XDP_TX_RING,
    };
    return set(fd, SOL_XDP, options[ring], &entries, sizeof entries);
}

int martlet_xdp_map_ring(int fd, int ring, uint32_t entries, martlet_xdp_ring *out) {
    struct xdp_mmap_offsets offsets;
    socklen_t length = sizeof offsets;
    if (getsockopt(fd, SOL_XDP, XDP_MMAP_OFFSETS, &offsets, &length) < 0) return -errno;
    if (length != sizeof offsets) return -EOPNOTSUPP;       // before Linux 5.4 the rings had no flags
    const struct xdp_ring_offset *at;
    off_t page;
    size_t entry = sizeof(uint64_t);
    switch (ring) {
    case MARTLET_XDP_FILL: at = &offsets.fr; page = (off_t)XDP_UMEM_PGOFF_FILL_RING; break;
    case MARTLET_XDP_COMPLETION: at = &offsets.cr; page = (off_t)XDP_UMEM_PGOFF_COMPLETION_RING; break;
    case MARTLET_XDP_RECEIVE:
        at = &offsets.rx; page = XDP_PGOFF_RX_RING; entry = sizeof(struct xdp_desc);
        break;
    default: at = &offsets.tx; page = XDP_PGOFF_TX_RING; entry = sizeof(struct xdp_desc); break;
    }
    size_t size = at->desc + entries * entry;
    char *map = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_POPULATE, fd, page);
    if (map == MAP_FAILED) return -errno;
    madvise(map, size, MADV_DONTFORK);
    out->producer = (uint32_t *)(map + at->producer);
    out->consumer = (uint32_t *)(map + at->consumer);
    out->flags = (uint32_t *)(map + at->flags);
    out->entries = map + at->desc;
    out->map = map;
    out->map_length = size;
    return 0;
}

void martlet_xdp_unmap_ring(martlet_xdp_ring *ring) {
    if (ring->map != NULL) munmap(ring->map, ring->map_length);
    ring->map = NULL;
}

int martlet_xdp_bind(int fd, uint32_t interface, uint32_t queue, int umem, uint16_t flags) {
    struct sockaddr_xdp address;
    memset(&address, 0, sizeof address);
    address.sxdp_family = AF_XDP;
    address.sxdp_flags = flags;
    address.sxdp_ifindex = interface;
    address.sxdp_queue_id = queue;
    if (flags & MARTLET_XDP_BIND_SHARED) address.sxdp_shared_umem_fd = (uint32_t)umem;
    return bind(fd, (struct sockaddr *)&address, sizeof address) < 0 ? -errno : 0;
}

int martlet_xdp_is_zero_copy(int fd) {
    struct xdp_options options;
    socklen_t length = sizeof options;
    if (getsockopt(fd, SOL_XDP, XDP_OPTIONS, &options, &length) < 0) return -errno;
    return (options.flags & XDP_OPTIONS_ZEROCOPY) != 0;
}

int martlet_xdp_busy_poll(int fd, int microseconds, int budget) {
    int on = 1;
    int result = set(fd, SOL_SOCKET, SO_PREFER_BUSY_POLL, &on, sizeof on);
    if (result == 0) result = set(fd, SOL_SOCKET, SO_BUSY_POLL, &microseconds, sizeof microseconds);
    if (result == 0) result = set(fd, SOL_SOCKET, SO_BUSY_POLL_BUDGET, &budget, sizeof budget);
    return result;
}

int martlet_xdp_set_transmit_budget(int fd, int frames) {
    return set(fd, SOL_XDP, XDP_MAX_TX_SKB_BUDGET, &frames, sizeof frames);
}

int martlet_xdp_get_statistics(int fd, martlet_xdp_statistics *out) {
    struct xdp_statistics statistics;
    memset(&statistics, 0, sizeof statistics);
    socklen_t length = sizeof statistics;
    if (getsockopt(fd, SOL_XDP, XDP_STATISTICS, &statistics, &length) < 0) return -errno;
    *out = (martlet_xdp_statistics){
        .receive_dropped = statistics.rx_dropped, .receive_invalid = statistics.rx_invalid_descs,
        .transmit_invalid = statistics.tx_invalid_descs, .receive_ring_full = statistics.rx_ring_full,
        .fill_ring_empty = statistics.rx_fill_ring_empty_descs,
        .transmit_ring_empty = statistics.tx_ring_empty_descs,
    };
    return 0;
}

int martlet_xdp_wake_transmit(int fd) {
    return sendto(fd, NULL, 0, MSG_DONTWAIT, NULL, 0) < 0 ? -errno : 0;
}

int martlet_xdp_wake_receive(int fd) {
    return recvfrom(fd, NULL, 0, MSG_DONTWAIT, NULL, NULL) < 0 ? -errno : 0;
}

uint64_t martlet_raise_lock_limit(void) {
    struct rlimit limit;
    if (getrlimit(RLIMIT_MEMLOCK, &limit) != 0) return 0;
    if (limit.rlim_cur < limit.rlim_max) {
        struct rlimit raised = {.rlim_cur = limit.rlim_max, .rlim_max = limit.rlim_max};
        if (setrlimit(RLIMIT_MEMLOCK, &raised) == 0) limit = raised;
    }
    return limit.rlim_cur;
}
