// AF_XDP sockets: Documentation/networking/af_xdp.rst. Every function returns a value >= 0, or -errno.
#pragma once

#include <linux/if_xdp.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/// The four rings of a socket. In fill and transmit the program is the producer, in completion and receive the consumer.
enum { MARTLET_XDP_FILL = 0, MARTLET_XDP_COMPLETION = 1, MARTLET_XDP_RECEIVE = 2, MARTLET_XDP_TRANSMIT = 3 };

enum {
    MARTLET_XDP_BIND_SHARED = 1 << 0,       // XDP_SHARED_UMEM
    MARTLET_XDP_BIND_COPY = 1 << 1,         // XDP_COPY
    MARTLET_XDP_BIND_ZERO_COPY = 1 << 2,    // XDP_ZEROCOPY
    MARTLET_XDP_BIND_NEED_WAKEUP = 1 << 3,  // XDP_USE_NEED_WAKEUP
};

/// A ring in memory that the kernel maps too. Indices count up for ever and wrap at 2³².
typedef struct {
    uint32_t *producer;
    uint32_t *consumer;
    uint32_t *flags;
    /// `uint64_t` in fill and completion, `martlet_xdp_descriptor` in receive and transmit.
    void *entries;
    void *map;
    size_t map_length;
} martlet_xdp_ring;

typedef struct {
    uint64_t address;                       // bytes from the start of the UMEM
    uint32_t length;
    uint32_t options;
} martlet_xdp_descriptor;

int martlet_xdp_socket(void);
/// Registers memory as the socket's UMEM, which locks its pages. `arena` is aligned to a page, `chunk` 2048 or a page.
int martlet_xdp_register(int fd, void *arena, uint64_t length, uint32_t chunk);
int martlet_xdp_set_ring_size(int fd, int ring, uint32_t entries);
int martlet_xdp_map_ring(int fd, int ring, uint32_t entries, martlet_xdp_ring *out);
void martlet_xdp_unmap_ring(martlet_xdp_ring *ring);
/// Binds to a queue. `umem` is another bound socket, whose UMEM is shared if the flags say so.
int martlet_xdp_bind(int fd, uint32_t interface, uint32_t queue, int umem, uint16_t flags);
/// 1 if the kernel moves no bytes between driver and UMEM.
int martlet_xdp_is_zero_copy(int fd);

/// Prefers busy polling (Linux 5.11): the socket's own calls drive the driver, at most `budget` frames a time.
int martlet_xdp_busy_poll(int fd, int microseconds, int budget);
/// How many frames one call transmits in copy mode (Linux 6.17; 32 without it).
int martlet_xdp_set_transmit_budget(int fd, int frames);

/// The kernel's counts since the socket was made, cumulative. Those that old kernels lack are 0.
typedef struct {
    uint64_t receive_dropped;               // no room in the chunk, or no memory
    uint64_t receive_invalid;               // a fill entry outside of the UMEM
    uint64_t transmit_invalid;              // a transmit entry outside of the UMEM, or one that crosses chunks
    uint64_t receive_ring_full;
    uint64_t fill_ring_empty;
    uint64_t transmit_ring_empty;
} martlet_xdp_statistics;

int martlet_xdp_get_statistics(int fd, martlet_xdp_statistics *out);

/// Asks the kernel to transmit what is in the ring: sendto(2) with nothing. Never blocks.
int martlet_xdp_wake_transmit(int fd);
/// Asks the kernel to look at the fill ring: recvfrom(2) of nothing. Never blocks.
int martlet_xdp_wake_receive(int fd);

/// Raises RLIMIT_MEMLOCK to its hard limit and returns it.
uint64_t martlet_raise_lock_limit(void);

// An index is published after the entries it covers, and read before them.

static inline uint32_t martlet_ring_load(const uint32_t *index) { return __atomic_load_n(index, __ATOMIC_ACQUIRE); }

static inline void martlet_ring_store(uint32_t *index, uint32_t value) {
    __atomic_store_n(index, value, __ATOMIC_RELEASE);
}

/// Whether the kernel sleeps on this ring until it is woken (XDP_RING_NEED_WAKEUP).
static inline bool martlet_ring_needs_wakeup(const uint32_t *flags) {
    return (__atomic_load_n(flags, __ATOMIC_RELAXED) & 1) != 0;
}
