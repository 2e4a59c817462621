// AF_PACKET sockets with rings in shared memory: packet(7), and the kernel's Documentation/networking/packet_mmap.rst.
// Every function returns a value >= 0, or -errno.
#pragma once

#include <linux/filter.h>
#include <linux/if_packet.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
    MARTLET_PACKET_FANOUT_HASH = PACKET_FANOUT_HASH,
    MARTLET_PACKET_FANOUT_CPU = PACKET_FANOUT_CPU,
    MARTLET_PACKET_FANOUT_QUEUE = PACKET_FANOUT_QM,
    MARTLET_PACKET_FANOUT_LEAST_LOADED = PACKET_FANOUT_LB,
};

typedef struct {
    uint32_t interface;
    /// Receive in blocks (TPACKET_V3); otherwise frame by frame (TPACKET_V2).
    bool blocks;
    /// Bytes of a block, a multiple of the page size and of frame_size, and how many there are. No receiving if that is 0.
    uint32_t block_size, block_count;
    /// Bytes of a frame's place in either ring, a multiple of 16.
    uint32_t frame_size;
    /// The longest that a block waits to be filled.
    uint32_t block_timeout_ms;
    /// Blocks of the transmit ring, of block_size too. No transmitting if it is 0.
    uint32_t transmit_blocks;
    bool bypass_queueing, ignore_outgoing, promiscuous;
    /// A group to share what is received with, or -1; how; and whether its fragments stay together.
    int fanout_group, fanout_mode;
    bool fanout_defragment;
} martlet_packet_options;

typedef struct {
    int fd;
    uint8_t *memory;
    size_t size;
    uint8_t *receive, *transmit;
} martlet_packet;

/// What went wrong in which call, where a call failed.
typedef enum {
    MARTLET_PACKET_SOCKET, MARTLET_PACKET_SETTING, MARTLET_PACKET_FILTER, MARTLET_PACKET_RING, MARTLET_PACKET_MAP,
    MARTLET_PACKET_BIND, MARTLET_PACKET_FANOUT, MARTLET_PACKET_PROMISCUOUS,
} martlet_packet_step;

/// A socket with its rings, bound to the interface; its filter, if it has instructions, runs before anything is received.
/// Says which step failed in `step`.
int martlet_packet_open(
    martlet_packet *packet, const martlet_packet_options *options, const struct sock_filter *filter, uint16_t length,
    martlet_packet_step *step);
void martlet_packet_close(martlet_packet *packet);
/// Sends what is marked in the transmit ring: bytes, or -errno. Never waits.
int martlet_packet_kick(int fd);
/// Packets that the ring had no room for, since this was last asked.
int martlet_packet_drops(int fd, uint32_t *drops);
/// The error that waits on the socket, as a positive errno or 0. -ENETDOWN waits there once when the interface went down.
int martlet_packet_error(int fd);
/// The name of the interface with that index in the socket's namespace, into 16 bytes; -ENODEV if there is none.
int martlet_packet_interface_name(int fd, uint32_t index, char *name_out);

/// Attaches a filter to any socket (SO_ATTACH_FILTER).
int martlet_filter_attach(int fd, const struct sock_filter *filter, uint16_t length);

/// A received frame, wherever it lies.
typedef struct {
    const uint8_t *bytes;           // behind a virtio-net header of 10 bytes
    uint32_t length, captured;
    uint32_t status;
    uint16_t tag, tag_protocol;
    uint32_t seconds, nanoseconds;
} martlet_packet_frame;

enum {
    MARTLET_PACKET_TAGGED = TP_STATUS_VLAN_VALID,
    MARTLET_PACKET_TAG_PROTOCOL = TP_STATUS_VLAN_TPID_VALID,
    MARTLET_PACKET_CHECKSUM_NOT_READY = TP_STATUS_CSUMNOTREADY,
    MARTLET_PACKET_CHECKSUM_VALID = TP_STATUS_CSUM_VALID,
};

// Frame by frame (TPACKET_V2).

static inline bool martlet_packet_v2_ready(const uint8_t *slot) {
    return (__atomic_load_n(&((const struct tpacket2_hdr *)slot)->tp_status, __ATOMIC_ACQUIRE) & TP_STATUS_USER) != 0;
}

static inline martlet_packet_frame martlet_packet_v2_frame(const uint8_t *slot) {
    const struct tpacket2_hdr *header = (const struct tpacket2_hdr *)slot;
    return (martlet_packet_frame){
        .bytes = slot + header->tp_mac, .length = header->tp_len, .captured = header->tp_snaplen, .status = header->tp_status,
        .tag = header->tp_vlan_tci, .tag_protocol = header->tp_vlan_tpid, .seconds = header->tp_sec,
        .nanoseconds = header->tp_nsec};
}

static inline void martlet_packet_v2_release(uint8_t *slot) {
    __atomic_store_n(&((struct tpacket2_hdr *)slot)->tp_status, TP_STATUS_KERNEL, __ATOMIC_RELEASE);
}

// In blocks (TPACKET_V3).

static inline bool martlet_packet_block_ready(const uint8_t *block) {
    const struct tpacket_block_desc *description = (const struct tpacket_block_desc *)block;
    return (__atomic_load_n(&description->hdr.bh1.block_status, __ATOMIC_ACQUIRE) & TP_STATUS_USER) != 0;
}

static inline uint32_t martlet_packet_block_count(const uint8_t *block) {
    return ((const struct tpacket_block_desc *)block)->hdr.bh1.num_pkts;
}

static inline uint32_t martlet_packet_block_first(const uint8_t *block) {
    return ((const struct tpacket_block_desc *)block)->hdr.bh1.offset_to_first_pkt;
}

static inline void martlet_packet_block_release(uint8_t *block) {
    __atomic_store_n(&((struct tpacket_block_desc *)block)->hdr.bh1.block_status, TP_STATUS_KERNEL, __ATOMIC_RELEASE);
}

static inline uint32_t martlet_packet_v3_next(const uint8_t *place) { return ((const struct tpacket3_hdr *)place)->tp_next_offset; }

static inline martlet_packet_frame martlet_packet_v3_frame(const uint8_t *place) {
    const struct tpacket3_hdr *header = (const struct tpacket3_hdr *)place;
    return (martlet_packet_frame){
        .bytes = place + header->tp_mac, .length = header->tp_len, .captured = header->tp_snaplen, .status = header->tp_status,
        .tag = (uint16_t)header->hv1.tp_vlan_tci, .tag_protocol = header->hv1.tp_vlan_tpid, .seconds = header->tp_sec,
        .nanoseconds = header->tp_nsec};
}

// Transmitting. A place holds a header, then a virtio-net header of 10 bytes, then the frame.

enum {
    MARTLET_PACKET_V2_OFFSET = TPACKET2_HDRLEN - sizeof(struct sockaddr_ll),
    MARTLET_PACKET_V3_OFFSET = TPACKET3_HDRLEN - sizeof(struct sockaddr_ll),
    /// Bytes that a place needs besides the frame, both ways: headers, their alignment, and a virtio-net header.
    MARTLET_PACKET_OVERHEAD = 160,
};

static inline uint32_t *martlet_packet_status(uint8_t *place, bool blocks) {
    return blocks ? &((struct tpacket3_hdr *)place)->tp_status : &((struct tpacket2_hdr *)place)->tp_status;
}

static inline bool martlet_packet_transmit_free(uint8_t *place, bool blocks) {
    return __atomic_load_n(martlet_packet_status(place, blocks), __ATOMIC_ACQUIRE) == TP_STATUS_AVAILABLE;
}

/// Whether the kernel has not taken what is in this place: it has not come to it, or does not want it.
static inline bool martlet_packet_transmit_unsent(uint8_t *place, bool blocks) {
    uint32_t status = __atomic_load_n(martlet_packet_status(place, blocks), __ATOMIC_ACQUIRE);
    return (status & (TP_STATUS_SEND_REQUEST | TP_STATUS_WRONG_FORMAT)) != 0;
}

/// Marks `length` bytes, the virtio-net header included, to be sent with the next kick.
static inline void martlet_packet_transmit_mark(uint8_t *place, bool blocks, uint32_t length) {
    if (blocks) {
        ((struct tpacket3_hdr *)place)->tp_next_offset = 0;
        ((struct tpacket3_hdr *)place)->tp_len = length;
    } else {
        ((struct tpacket2_hdr *)place)->tp_len = length;
    }
    __atomic_store_n(martlet_packet_status(place, blocks), TP_STATUS_SEND_REQUEST, __ATOMIC_RELEASE);
}

/// Takes a place back that the kernel did not want, or that is not to be sent after all.
static inline void martlet_packet_transmit_reset(uint8_t *place, bool blocks) {
    __atomic_store_n(martlet_packet_status(place, blocks), TP_STATUS_AVAILABLE, __ATOMIC_RELEASE);
}
