#define _GNU_SOURCE
#include "martlet_bpf.h"

#include <errno.h>
#include <linux/bpf.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

// These are values of enums in <linux/bpf.h>, which no `#ifdef` sees: as numbers, older headers do as well.
enum {
    COMMAND_MAP_CREATE = 0, COMMAND_MAP_UPDATE = 2, COMMAND_MAP_DELETE = 3, COMMAND_PROG_LOAD = 5,
    COMMAND_PROG_TEST_RUN = 10, COMMAND_LINK_CREATE = 28,
    MAP_TYPE_XSKMAP = 17, PROG_TYPE_XDP = 6, ATTACH_XDP = 37,
};

static int bpf(int command, union bpf_attr *attributes) {
    for (;;) {
        long result = syscall(SYS_bpf, command, attributes, sizeof *attributes);
        if (result >= 0) return (int)result;
        if (errno != EAGAIN && errno != EINTR) return -errno;   // the verifier was interrupted by a signal
    }
}

int martlet_bpf_socket_map(uint32_t entries) {
    union bpf_attr attributes;
    memset(&attributes, 0, sizeof attributes);
    attributes.map_type = MAP_TYPE_XSKMAP;
    attributes.key_size = sizeof(uint32_t);
    attributes.value_size = sizeof(int);
    attributes.max_entries = entries;
    strcpy(attributes.map_name, "martlet_queues");
    return bpf(COMMAND_MAP_CREATE, &attributes);
}

int martlet_bpf_map_set(int map, uint32_t key, int value) {
    union bpf_attr attributes;
    memset(&attributes, 0, sizeof attributes);
    attributes.map_fd = (uint32_t)map;
    attributes.key = (uintptr_t)&key;
    attributes.value = (uintptr_t)&value;
    return bpf(COMMAND_MAP_UPDATE, &attributes);
}

int martlet_bpf_map_remove(int map, uint32_t key) {
    union bpf_attr attributes;
    memset(&attributes, 0, sizeof attributes);
    attributes.map_fd = (uint32_t)map;
    attributes.key = (uintptr_t)&key;
    return bpf(COMMAND_MAP_DELETE, &attributes);
}

int martlet_bpf_load_xdp(
    const martlet_bpf_instruction *instructions, uint32_t count, char *log, uint32_t log_size
) {
    union bpf_attr attributes;
    memset(&attributes, 0, sizeof attributes);
    attributes.prog_type = PROG_TYPE_XDP;
    attributes.expected_attach_type = ATTACH_XDP;
    attributes.insns = (uintptr_t)instructions;
    attributes.insn_cnt = count;
    attributes.license = (uintptr_t) "Apache-2.0";
    strcpy(attributes.prog_name, "martlet_xdp");
    if (log_size > 0) {
        log[0] = 0;
        attributes.log_buf = (uintptr_t)log;
        attributes.log_size = log_size;
        attributes.log_level = 1;
    }
    return bpf(COMMAND_PROG_LOAD, &attributes);
}

int martlet_bpf_run(int program, const void *packet, uint32_t length) {
    union bpf_attr attributes;
    memset(&attributes, 0, sizeof attributes);
    attributes.test.prog_fd = (uint32_t)program;
    attributes.test.data_in = (uintptr_t)packet;
    attributes.test.data_size_in = length;
    int result = bpf(COMMAND_PROG_TEST_RUN, &attributes);
    return result < 0 ? result : (int)attributes.test.retval;
}

int martlet_bpf_attach_xdp(int program, uint32_t interface, uint32_t mode) {
    union bpf_attr attributes;
    memset(&attributes, 0, sizeof attributes);
    attributes.link_create.prog_fd = (uint32_t)program;
    attributes.link_create.target_ifindex = interface;
    attributes.link_create.attach_type = ATTACH_XDP;
    attributes.link_create.flags = mode;
    return bpf(COMMAND_LINK_CREATE, &attributes);
}
