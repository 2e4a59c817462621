#define _GNU_SOURCE
#include "martlet_packet.h"

#include <arpa/inet.h>
#include <errno.h>
#include <linux/if_ether.h>
#include <net/if.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

static int set(int fd, int option, const void *value, socklen_t length) {
    return setsockopt(fd, SOL_PACKET, option, value, length) < 0 ? -errno : 0;
}

static int set_number(int fd, int option, int value) { return set(fd, option, &value, sizeof value); }

static int map_rings(martlet_packet *packet, const martlet_packet_options *options, martlet_packet_step *step) {
    *step = MARTLET_PACKET_RING;
    uint32_t per_block = options->block_size / options->frame_size;
    size_t receive_size = (size_t)options->block_size * options->block_count;
    size_t transmit_size = (size_t)options->block_size * options->transmit_blocks;
    int result = 0;
    if (receive_size > 0) {
        struct tpacket_req3 ring = {
            .tp_block_size = options->block_size, .tp_block_nr = options->block_count, .tp_frame_size = options->frame_size,
            .tp_frame_nr = per_block * options->block_count, .tp_retire_blk_tov = options->block_timeout_ms};
        result = set(packet->fd, PACKET_RX_RING, &ring, options->blocks ? sizeof ring : sizeof(struct tpacket_req));
        if (result < 0) return result;
    }
    if (transmit_size > 0) {
        struct tpacket_req3 ring = {
            .tp_block_size = options->block_size, .tp_block_nr = options->transmit_blocks,
            .tp_frame_size = options->frame_size, .tp_frame_nr = per_block * options->transmit_blocks};
        result = set(packet->fd, PACKET_TX_RING, &ring, options->blocks ? sizeof ring : sizeof(struct tpacket_req));
        if (result < 0) return result;
    }
    *step = MARTLET_PACKET_MAP;
    packet->size = receive_size + transmit_size;
    void *memory = mmap(NULL, packet->size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_POPULATE, packet->fd, 0);
    if (memory == MAP_FAILED) return -errno;
    packet->memory = memory;
    packet->receive = packet->memory;
    packet->transmit = packet->memory + receive_size;
    return 0;
}

static int join(int fd, uint32_t interface) {
    struct packet_mreq member = {.mr_ifindex = (int)interface, .mr_type = PACKET_MR_PROMISC};
    return set(fd, PACKET_ADD_MEMBERSHIP, &member, sizeof member);
}

static int prepare(
    martlet_packet *packet, const martlet_packet_options *options, const struct sock_filter *filter, uint16_t length,
    martlet_packet_step *step
) {
    int fd = packet->fd;
    *step = MARTLET_PACKET_SETTING;
    int result = set_number(fd, PACKET_VERSION, options->blocks ? TPACKET_V3 : TPACKET_V2);
    if (result == 0) result = set_number(fd, PACKET_VNET_HDR, 1);
    if (result == 0 && options->bypass_queueing) result = set_number(fd, PACKET_QDISC_BYPASS, 1);
    if (result == 0 && options->ignore_outgoing) result = set_number(fd, PACKET_IGNORE_OUTGOING, 1);
    if (result < 0) return result;
    // What is on its way counts against the socket's buffer, and a ring holds more than the usual one. Only a wish.
    int on_its_way = 8 << 20;
    if (setsockopt(fd, SOL_SOCKET, SO_SNDBUFFORCE, &on_its_way, sizeof on_its_way) < 0) {
        setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &on_its_way, sizeof on_its_way);
    }
    if (length > 0) {
        *step = MARTLET_PACKET_FILTER;
        result = martlet_filter_attach(fd, filter, length);
        if (result < 0) return result;
    }
    result = map_rings(packet, options, step);
    if (result < 0) return result;
    // Only now, with its filter and its ring, does the socket begin to receive.
    *step = MARTLET_PACKET_BIND;
    struct sockaddr_ll address = {
        .sll_family = AF_PACKET, .sll_ifindex = (int)options->interface,
        .sll_protocol = options->block_count > 0 ? htons(ETH_P_ALL) : 0};
    if (bind(fd, (struct sockaddr *)&address, sizeof address) < 0) return -errno;
    if (options->fanout_group >= 0 && options->block_count > 0) {
        *step = MARTLET_PACKET_FANOUT;
        int mode = options->fanout_mode | (options->fanout_defragment ? PACKET_FANOUT_FLAG_DEFRAG : 0);
        result = set_number(fd, PACKET_FANOUT, (options->fanout_group & 0xFFFF) | mode << 16);
        if (result < 0) return result;
    }
    *step = MARTLET_PACKET_PROMISCUOUS;
    return options->promiscuous ? join(fd, options->interface) : 0;
}

int martlet_packet_open(
    martlet_packet *packet, const martlet_packet_options *options, const struct sock_filter *filter, uint16_t length,
    martlet_packet_step *step
) {
    memset(packet, 0, sizeof *packet);
    *step = MARTLET_PACKET_SOCKET;
    // Without a protocol it receives nothing yet.
    packet->fd = socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (packet->fd < 0) return -errno;
    int result = prepare(packet, options, filter, length, step);
    if (result < 0) martlet_packet_close(packet);
    return result;
}

void martlet_packet_close(martlet_packet *packet) {
    if (packet->memory != NULL) munmap(packet->memory, packet->size);
    close(packet->fd);
}

int martlet_packet_kick(int fd) {
    ssize_t sent = sendto(fd, NULL, 0, MSG_DONTWAIT | MSG_NOSIGNAL, NULL, 0);
    return sent < 0 ? -errno : (int)sent;
}

int martlet_packet_drops(int fd, uint32_t *drops) {
    struct tpacket_stats_v3 counted;
    socklen_t length = sizeof counted;
    if (getsockopt(fd, SOL_PACKET, PACKET_STATISTICS, &counted, &length) < 0) return -errno;
    *drops = counted.tp_drops;
    return 0;
}

int martlet_packet_error(int fd) {
    int error = 0;
    socklen_t length = sizeof error;
    return getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &length) < 0 ? -errno : error;
}

int martlet_filter_attach(int fd, const struct sock_filter *filter, uint16_t length) {
    struct sock_fprog program = {.len = length, .filter = (struct sock_filter *)filter};
    return setsockopt(fd, SOL_SOCKET, SO_ATTACH_FILTER, &program, sizeof program) < 0 ? -errno : 0;
}

int martlet_packet_interface_name(int fd, uint32_t index, char *name_out) {
    struct ifreq about;
    memset(&about, 0, sizeof about);
    about.ifr_ifindex = (int)index;
    if (ioctl(fd, SIOCGIFNAME, &about) < 0) return -errno;
    memcpy(name_out, about.ifr_name, IFNAMSIZ);
    return 0;
}
