// bpf(2), as much of it as an XDP program needs: a map of sockets, a program, and the link that attaches it.
// Every function returns a descriptor (close-on-exec, as all of bpf(2)'s are) or 0, or -errno.
#pragma once

#include <stdint.h>

/// One instruction as the kernel reads it (Documentation/bpf/standardization/instruction-set.rst).
typedef struct {
    uint8_t code;
    uint8_t registers;              // destination in the low half, source in the high one
    int16_t offset;
    int32_t immediate;
} martlet_bpf_instruction;

enum {
    MARTLET_XDP_DROP = 1, MARTLET_XDP_PASS = 2,             // enum xdp_action
    MARTLET_BPF_REDIRECT_MAP = 51,                          // bpf_redirect_map()
    MARTLET_BPF_PSEUDO_MAP_FD = 1,
};

/// Where an attached program runs.
enum {
    MARTLET_XDP_GENERIC = 1 << 1,   // on packet buffers that the kernel has made: every driver
    MARTLET_XDP_NATIVE = 1 << 2,    // in the driver, before there are any
};

/// A map from queue numbers to AF_XDP sockets.
int martlet_bpf_socket_map(uint32_t entries);
int martlet_bpf_map_set(int map, uint32_t key, int value);
int martlet_bpf_map_remove(int map, uint32_t key);
/// Loads an XDP program. What the verifier says is left in `log` (of `log_size` bytes, 0 for none) if it refuses.
int martlet_bpf_load_xdp(
    const martlet_bpf_instruction *instructions, uint32_t count, char *log, uint32_t log_size);
/// Runs a loaded program once over `packet`, as if it had come by queue 0 of the loopback interface: its verdict, or -errno.
int martlet_bpf_run(int program, const void *packet, uint32_t length);
/// Attaches a program for as long as the returned descriptor is open (Linux 5.9).
int martlet_bpf_attach_xdp(int program, uint32_t interface, uint32_t mode);
