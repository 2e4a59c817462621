#define _GNU_SOURCE
#include "martlet_interface.h"

#include <errno.h>
#include <linux/ethtool.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <linux/sockios.h>
#include <net/if.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

static int ask(int fd, unsigned long request, struct ifreq *about, const char *name) {
    strncpy(about->ifr_name, name, IFNAMSIZ - 1);
    return ioctl(fd, request, about) < 0 ? -errno : 0;
}

int martlet_interface_look(int watch, const char *name, martlet_interface *out) {
    memset(out, 0, sizeof *out);
    if (strlen(name) >= IFNAMSIZ) return -ENODEV;
    int fd = watch >= 0 ? watch : socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (fd < 0) return -errno;
    struct ifreq about;
    memset(&about, 0, sizeof about);
    int result = ask(fd, SIOCGIFINDEX, &about, name);
    if (result == 0) {
        out->index = (uint32_t)about.ifr_ifindex;
        result = ask(fd, SIOCGIFMTU, &about, name);
    }
    if (result == 0) {
        out->mtu = (uint32_t)about.ifr_mtu;
        result = ask(fd, SIOCGIFFLAGS, &about, name);
    }
    if (result == 0) {
        out->is_up = (about.ifr_flags & IFF_UP) != 0;
        out->is_running = (about.ifr_flags & IFF_RUNNING) != 0;
        result = ask(fd, SIOCGIFHWADDR, &about, name);
    }
    if (result == 0) {
        memcpy(out->address, about.ifr_hwaddr.sa_data, 6);
        struct ethtool_channels channels = {.cmd = ETHTOOL_GCHANNELS};
        about.ifr_data = (char *)&channels;
        if (ask(fd, SIOCETHTOOL, &about, name) == 0) {
            out->receive_queues = channels.rx_count + channels.combined_count;
            out->transmit_queues = channels.tx_count + channels.combined_count;
        }
    }
    if (fd != watch) close(fd);
    return result;
}

uint64_t martlet_network_namespace(void) {
    struct stat status;
    return stat("/proc/thread-self/ns/net", &status) == 0 ? (uint64_t)status.st_ino : 0;
}

int martlet_interface_watch(void) {
    int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_NONBLOCK | SOCK_CLOEXEC, NETLINK_ROUTE);
    if (fd < 0) return -errno;
    struct sockaddr_nl address = {.nl_family = AF_NETLINK, .nl_groups = RTMGRP_LINK};
    if (bind(fd, (struct sockaddr *)&address, sizeof address) < 0) {
        int error = errno;
        close(fd);
        return -error;
    }
    return fd;
}

int martlet_interface_changes(int watch, uint32_t index) {
    _Alignas(struct nlmsghdr) char buffer[16384];
    int found = MARTLET_INTERFACE_UNCHANGED;
    for (;;) {
        ssize_t length = recv(watch, buffer, sizeof buffer, MSG_DONTWAIT);
        if (length < 0) {
            if (errno == EINTR) continue;
            // Messages were lost: whether any was of this interface is not known.
            if (errno == ENOBUFS) {
                if (found == MARTLET_INTERFACE_UNCHANGED) found = MARTLET_INTERFACE_CHANGED;
                continue;
            }
            return errno == EAGAIN ? found : -errno;
        }
        if (length == 0) return found;
        size_t left = (size_t)length;
        for (struct nlmsghdr *message = (struct nlmsghdr *)buffer; NLMSG_OK(message, left);
             message = NLMSG_NEXT(message, left)) {
            if (message->nlmsg_type != RTM_NEWLINK && message->nlmsg_type != RTM_DELLINK) continue;
            if (message->nlmsg_len < NLMSG_LENGTH(sizeof(struct ifinfomsg))) continue;
            const struct ifinfomsg *link = NLMSG_DATA(message);
            if ((uint32_t)link->ifi_index != index) continue;
            if (message->nlmsg_type == RTM_DELLINK) found = MARTLET_INTERFACE_REMOVED;
            else if (found == MARTLET_INTERFACE_UNCHANGED) found = MARTLET_INTERFACE_CHANGED;
        }
    }
}
