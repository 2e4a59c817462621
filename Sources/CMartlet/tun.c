#define _GNU_SOURCE
#include "martlet_tun.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/if_tun.h>
#include <net/if.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#ifndef TUN_F_USO4
#define TUN_F_USO4 0x20
#define TUN_F_USO6 0x40
#endif

int martlet_tun_open(const char *name, martlet_tun_options options, char *name_out) {
    struct ifreq request;
    memset(&request, 0, sizeof request);
    if (strlen(name) >= IFNAMSIZ) return -ENAMETOOLONG;
    strcpy(request.ifr_name, name);
    int fd = open("/dev/net/tun", O_RDWR | O_NONBLOCK | O_CLOEXEC);
    if (fd < 0) return -errno;
    request.ifr_flags = (short)((options.ethernet ? IFF_TAP : IFF_TUN) | IFF_NO_PI
                                | (options.multiqueue ? IFF_MULTI_QUEUE : 0) | (options.virtio ? IFF_VNET_HDR : 0));
    if (ioctl(fd, TUNSETIFF, &request) < 0) goto failed;
    if (options.virtio) {
        int size = sizeof(martlet_virtio_header);
        if (ioctl(fd, TUNSETVNETHDRSZ, &size) < 0) goto failed;
    }
    memcpy(name_out, request.ifr_name, IFNAMSIZ);
    return fd;
failed:;
    int error = errno;
    close(fd);
    return -error;
}

static int control(int fd, unsigned long request, unsigned long argument) {
    return ioctl(fd, request, argument) < 0 ? -errno : 0;
}

int martlet_tun_set_offload(int fd, bool checksum, bool tcp, bool udp) {
    unsigned long flags = checksum ? TUN_F_CSUM : 0;
    if (tcp) flags |= TUN_F_TSO4 | TUN_F_TSO6 | TUN_F_TSO_ECN;
    if (udp) flags |= TUN_F_USO4 | TUN_F_USO6;
    return control(fd, TUNSETOFFLOAD, flags);
}

int martlet_tun_set_persistent(int fd, bool persistent) { return control(fd, TUNSETPERSIST, persistent ? 1 : 0); }

int martlet_tun_set_owner(int fd, uint32_t user) { return control(fd, TUNSETOWNER, user); }

static int ask(int fd, unsigned long request, struct ifreq *about) {
    memset(about, 0, sizeof *about);
    return ioctl(fd, request, about) < 0 ? -errno : 0;
}

int martlet_tun_name(int fd, char *name_out) {
    struct ifreq about;
    int result = ask(fd, TUNGETIFF, &about);
    if (result == 0) memcpy(name_out, about.ifr_name, IFNAMSIZ);
    return result;
}

int martlet_tun_address(int fd, uint8_t *out) {
    struct ifreq about;
    int result = ask(fd, SIOCGIFHWADDR, &about);
    if (result == 0) memcpy(out, about.ifr_hwaddr.sa_data, 6);
    return result;
}

ptrdiff_t martlet_tun_read(int fd, void *buffer, size_t capacity) {
    ptrdiff_t count;
    while ((count = read(fd, buffer, capacity)) < 0 && errno == EINTR) {}
    return count < 0 ? -errno : count;
}

ptrdiff_t martlet_tun_write(int fd, const void *frame, size_t length) {
    ptrdiff_t count;
    while ((count = write(fd, frame, length)) < 0 && errno == EINTR) {}
    return count < 0 ? -errno : count;
}
