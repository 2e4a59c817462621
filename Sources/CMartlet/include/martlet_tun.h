// TAP and TUN devices (the kernel's Documentation/networking/tuntap.rst), and virtio-net headers (virtio 1.2 §5.1.6).
// Every function returns a value >= 0, or -errno.
#pragma once

#include <linux/virtio_net.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

// Names of newer kernels than the C library's headers.
#ifndef VIRTIO_NET_HDR_GSO_UDP_L4
#define VIRTIO_NET_HDR_GSO_UDP_L4 5
#endif

enum { MARTLET_TUN_NAME = 16 };

typedef struct {
    /// Whole Ethernet frames (TAP); otherwise IP packets (TUN).
    bool ethernet;
    bool multiqueue;
    /// A virtio-net header precedes each frame, both ways.
    bool virtio;
} martlet_tun_options;

/// Opens a queue of the device `name`, making it if there is none ("tap%d" lets the kernel choose the number), without blocking.
/// `name_out` has room for MARTLET_TUN_NAME bytes. Returns a descriptor.
int martlet_tun_open(const char *name, martlet_tun_options options, char *name_out);

/// What the kernel may hand over unfinished: checksums; large TCP segments; large UDP datagrams (6.2 and later).
int martlet_tun_set_offload(int fd, bool checksum, bool tcp, bool udp);
/// Whether the device stays when the last descriptor is closed.
int martlet_tun_set_persistent(int fd, bool persistent);
/// The user who may open the device without privileges.
int martlet_tun_set_owner(int fd, uint32_t user);
/// The device's name, into MARTLET_TUN_NAME bytes; -EBADFD if it was deleted.
int martlet_tun_name(int fd, char *name_out);
/// The Ethernet address of a TAP's kernel side.
int martlet_tun_address(int fd, uint8_t *out);

/// read(2) and write(2) of one frame.
ptrdiff_t martlet_tun_read(int fd, void *buffer, size_t capacity);
ptrdiff_t martlet_tun_write(int fd, const void *frame, size_t length);

enum {
    MARTLET_VIRTIO_NEEDS_CHECKSUM = VIRTIO_NET_HDR_F_NEEDS_CSUM,
    MARTLET_VIRTIO_CHECKSUM_VALID = VIRTIO_NET_HDR_F_DATA_VALID,
    MARTLET_VIRTIO_SEGMENTS_NONE = VIRTIO_NET_HDR_GSO_NONE,
    MARTLET_VIRTIO_SEGMENTS_TCP4 = VIRTIO_NET_HDR_GSO_TCPV4,
    MARTLET_VIRTIO_SEGMENTS_TCP6 = VIRTIO_NET_HDR_GSO_TCPV6,
    MARTLET_VIRTIO_SEGMENTS_UDP = VIRTIO_NET_HDR_GSO_UDP_L4,
    MARTLET_VIRTIO_SEGMENTS_ECN = VIRTIO_NET_HDR_GSO_ECN,
};

/// The header in the byte order of this machine, as the kernel wants it of TAP and AF_PACKET: 10 bytes.
typedef struct {
    uint8_t flags;
    uint8_t segments;
    uint16_t header_length;
    uint16_t segment_size;
    uint16_t checksum_start;
    uint16_t checksum_offset;
} martlet_virtio_header;

_Static_assert(sizeof(martlet_virtio_header) == sizeof(struct virtio_net_hdr), "the layout of virtio-net");
