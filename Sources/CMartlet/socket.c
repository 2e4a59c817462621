#define _GNU_SOURCE
#include "martlet_socket.h"

#include <arpa/inet.h>
#include <endian.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/filter.h>
#include <linux/sockios.h>
#include <linux/tcp.h>
#include <netdb.h>
#include <netinet/in.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/resource.h>
#include <sys/un.h>
#include <unistd.h>

static int checked(int result) { return result < 0 ? -errno : result; }

martlet_address martlet_address_ipv4(uint32_t bits, uint16_t port) {
    martlet_address address = {.length = sizeof(struct sockaddr_in)};
    struct sockaddr_in *in = (struct sockaddr_in *)&address.storage;
    in->sin_family = AF_INET;
    in->sin_port = htons(port);
    in->sin_addr.s_addr = htonl(bits);
    return address;
}

martlet_address martlet_address_ipv6(uint64_t high, uint64_t low, uint16_t port, uint32_t scope) {
    martlet_address address = {.length = sizeof(struct sockaddr_in6)};
    struct sockaddr_in6 *in = (struct sockaddr_in6 *)&address.storage;
    uint64_t halves[2] = {htobe64(high), htobe64(low)};
    in->sin6_family = AF_INET6;
    in->sin6_port = htons(port);
    in->sin6_scope_id = scope;
    memcpy(&in->sin6_addr, halves, sizeof halves);
    return address;
}

martlet_address martlet_address_unix(const char *path, size_t length) {
    martlet_address address = {.length = 0};
    struct sockaddr_un *un = (struct sockaddr_un *)&address.storage;
    if (length == 0 || length >= sizeof un->sun_path) return address;
    un->sun_family = AF_UNIX;
    memcpy(un->sun_path, path, length);
    if (path[0] == '@') {
        un->sun_path[0] = 0;
        address.length = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + length);
    } else {
        address.length = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + length + 1);
    }
    return address;
}

int martlet_address_family(const martlet_address *address) {
    if (address->length < sizeof(sa_family_t)) return MARTLET_FAMILY_NONE;
    switch (address->storage.ss_family) {
    case AF_INET: return MARTLET_FAMILY_IPV4;
    case AF_INET6: return MARTLET_FAMILY_IPV6;
    case AF_UNIX: return MARTLET_FAMILY_UNIX;
    default: return MARTLET_FAMILY_NONE;
    }
}

uint16_t martlet_address_port(const martlet_address *address) {
    switch (address->storage.ss_family) {
    case AF_INET: return ntohs(((const struct sockaddr_in *)&address->storage)->sin_port);
    case AF_INET6: return ntohs(((const struct sockaddr_in6 *)&address->storage)->sin6_port);
    default: return 0;
    }
}

uint32_t martlet_address_ipv4_bits(const martlet_address *address) {
    return ntohl(((const struct sockaddr_in *)&address->storage)->sin_addr.s_addr);
}

static uint64_t half(const martlet_address *address, int index) {
    uint64_t halves[2];
    memcpy(halves, &((const struct sockaddr_in6 *)&address->storage)->sin6_addr, sizeof halves);
    return be64toh(halves[index]);
}

uint64_t martlet_address_ipv6_high(const martlet_address *address) { return half(address, 0); }
uint64_t martlet_address_ipv6_low(const martlet_address *address) { return half(address, 1); }

uint32_t martlet_address_ipv6_scope(const martlet_address *address) {
    return ((const struct sockaddr_in6 *)&address->storage)->sin6_scope_id;
}

size_t martlet_address_unix_path(const martlet_address *address, char *out) {
    const struct sockaddr_un *un = (const struct sockaddr_un *)&address->storage;
    size_t header = offsetof(struct sockaddr_un, sun_path);
    if (address->length <= header) return 0;
    size_t length = address->length - header;
    if (length > sizeof un->sun_path) length = sizeof un->sun_path;
    memcpy(out, un->sun_path, length);
    if (out[0] == 0) {
        out[0] = '@';
        return length;
    }
    return strnlen(out, length);
}

int martlet_socket_local(int fd, martlet_address *out) {
    memset(out, 0, sizeof *out);
    out->length = sizeof out->storage;
    return checked(getsockname(fd, (struct sockaddr *)&out->storage, &out->length));
}

int martlet_socket_peer(int fd, martlet_address *out) {
    memset(out, 0, sizeof *out);
    out->length = sizeof out->storage;
    return checked(getpeername(fd, (struct sockaddr *)&out->storage, &out->length));
}

static int set_int(int fd, int level, int option, int value) {
    return checked(setsockopt(fd, level, option, &value, sizeof value));
}

static int open_socket(const martlet_address *address, int type, bool nonblocking) {
    return checked(socket(address->storage.ss_family, type | SOCK_CLOEXEC | (nonblocking ? SOCK_NONBLOCK : 0), 0));
}

// Binds and keeps the first error: the socket is closed when there was one.
static int bind_or_close(int fd, const martlet_address *address) {
    if (bind(fd, (const struct sockaddr *)&address->storage, address->length) == 0) return 0;
    int error = errno;
    close(fd);
    return -error;
}

int martlet_listen(const martlet_address *address, int backlog, bool reuse_port, bool v6_only, bool nonblocking) {
    int fd = open_socket(address, SOCK_STREAM, nonblocking);
    if (fd < 0) return fd;
    if (address->storage.ss_family != AF_UNIX) {
        set_int(fd, SOL_SOCKET, SO_REUSEADDR, 1);
        if (reuse_port) set_int(fd, SOL_SOCKET, SO_REUSEPORT, 1);
    }
    if (address->storage.ss_family == AF_INET6) set_int(fd, IPPROTO_IPV6, IPV6_V6ONLY, v6_only);
    int bound = bind_or_close(fd, address);
    if (bound < 0) return bound;
    if (listen(fd, backlog) != 0) {
        int error = errno;
        close(fd);
        return -error;
    }
    return fd;
}

int martlet_listen_steer_by_cpu(int fd, const int *cpus, int count) {
    struct sock_filter code[2 * 64 + 2];
    int length = 0;
    if (count > 64) return -EINVAL;
    code[length++] = (struct sock_filter)BPF_STMT(BPF_LD | BPF_W | BPF_ABS, (uint32_t)(SKF_AD_OFF + SKF_AD_CPU));
    for (int i = 0; i < count; i++) {
        code[length++] = (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (uint32_t)cpus[i], 0, 1);
        code[length++] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, (uint32_t)i);
    }
    // Any other CPU: an index out of range makes the kernel fall back to its hash.
    code[length++] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, 0xffffffff);
    struct sock_fprog program = {.len = (unsigned short)length, .filter = code};
    return checked(setsockopt(fd, SOL_SOCKET, SO_ATTACH_REUSEPORT_CBPF, &program, sizeof program));
}

int martlet_stream_socket(const martlet_address *address, bool nonblocking) {
    return open_socket(address, SOCK_STREAM, nonblocking);
}

int martlet_connect(int fd, const martlet_address *address) {
    return checked(connect(fd, (const struct sockaddr *)&address->storage, address->length));
}

int martlet_datagram_socket(const martlet_address *address, bool reuse_port) {
    int fd = open_socket(address, SOCK_DGRAM, true);
    if (fd < 0) return fd;
    if (reuse_port && address->storage.ss_family != AF_UNIX) set_int(fd, SOL_SOCKET, SO_REUSEPORT, 1);
    int bound = bind_or_close(fd, address);
    return bound < 0 ? bound : fd;
}

int martlet_accept(int fd, bool nonblocking) {
    return checked(accept4(fd, NULL, NULL, SOCK_CLOEXEC | (nonblocking ? SOCK_NONBLOCK : 0)));
}

int martlet_set_nonblocking(int fd) { return checked(fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK)); }
int martlet_duplicate(int fd) { return checked(fcntl(fd, F_DUPFD_CLOEXEC, 0)); }
int martlet_close(int fd) { return checked(close(fd)); }

int martlet_reset_on_close(int fd) {
    struct linger linger = {.l_onoff = 1, .l_linger = 0};
    return checked(setsockopt(fd, SOL_SOCKET, SO_LINGER, &linger, sizeof linger));
}

int martlet_shutdown_write(int fd) { return checked(shutdown(fd, SHUT_WR)); }
int martlet_shutdown_both(int fd) { return checked(shutdown(fd, SHUT_RDWR)); }
int martlet_set_nodelay(int fd, bool on) { return set_int(fd, IPPROTO_TCP, TCP_NODELAY, on); }

int martlet_set_keepalive(int fd, int idle_seconds, int interval_seconds, int count) {
    int result = set_int(fd, SOL_SOCKET, SO_KEEPALIVE, 1);
    if (result == 0 && idle_seconds > 0) result = set_int(fd, IPPROTO_TCP, TCP_KEEPIDLE, idle_seconds);
    if (result == 0 && interval_seconds > 0) result = set_int(fd, IPPROTO_TCP, TCP_KEEPINTVL, interval_seconds);
    if (result == 0 && count > 0) result = set_int(fd, IPPROTO_TCP, TCP_KEEPCNT, count);
    return result;
}

int martlet_set_buffers(int fd, int receive_bytes, int send_bytes) {
    int result = receive_bytes > 0 ? set_int(fd, SOL_SOCKET, SO_RCVBUF, receive_bytes) : 0;
    if (result == 0 && send_bytes > 0) result = set_int(fd, SOL_SOCKET, SO_SNDBUF, send_bytes);
    return result;
}

int martlet_socket_error(int fd) {
    int error = 0;
    socklen_t length = sizeof error;
    return getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &length) == 0 ? error : errno;
}

static int queued(int fd, unsigned long request) {
    int count = 0;
    return ioctl(fd, request, &count) == 0 ? count : -errno;
}

int martlet_unacknowledged(int fd) { return queued(fd, SIOCOUTQ); }
int martlet_unread(int fd) { return queued(fd, SIOCINQ); }

ptrdiff_t martlet_receive(int fd, void *buffer, size_t capacity) {
    ssize_t count = recv(fd, buffer, capacity, MSG_DONTWAIT);
    return count < 0 ? -errno : count;
}

ptrdiff_t martlet_send(int fd, const struct iovec *pieces, int count) {
    ssize_t sent;
    if (count == 1) {
        sent = send(fd, pieces[0].iov_base, pieces[0].iov_len, MSG_DONTWAIT | MSG_NOSIGNAL);
    } else {
        struct msghdr message = {.msg_iov = (struct iovec *)pieces, .msg_iovlen = (size_t)count};
        sent = sendmsg(fd, &message, MSG_DONTWAIT | MSG_NOSIGNAL);
    }
    return sent < 0 ? -errno : sent;
}

int martlet_receive_datagrams(int fd, martlet_datagram *datagrams, int count) {
    struct mmsghdr messages[MARTLET_DATAGRAM_BATCH];
    struct iovec pieces[MARTLET_DATAGRAM_BATCH];
    if (count > MARTLET_DATAGRAM_BATCH) count = MARTLET_DATAGRAM_BATCH;
    memset(messages, 0, sizeof(struct mmsghdr) * (size_t)count);
    for (int i = 0; i < count; i++) {
        pieces[i] = (struct iovec){datagrams[i].buffer, datagrams[i].capacity};
        messages[i].msg_hdr.msg_name = &datagrams[i].peer.storage;
        messages[i].msg_hdr.msg_namelen = sizeof datagrams[i].peer.storage;
        messages[i].msg_hdr.msg_iov = &pieces[i];
        messages[i].msg_hdr.msg_iovlen = 1;
    }
    int received = recvmmsg(fd, messages, (unsigned)count, MSG_DONTWAIT, NULL);
    if (received < 0) return -errno;
    for (int i = 0; i < received; i++) {
        datagrams[i].count = messages[i].msg_len;
        datagrams[i].peer.length = messages[i].msg_hdr.msg_namelen;
    }
    return received;
}

int martlet_send_datagrams(int fd, const martlet_datagram *datagrams, int count) {
    struct mmsghdr messages[MARTLET_DATAGRAM_BATCH];
    struct iovec pieces[MARTLET_DATAGRAM_BATCH];
    if (count > MARTLET_DATAGRAM_BATCH) count = MARTLET_DATAGRAM_BATCH;
    memset(messages, 0, sizeof(struct mmsghdr) * (size_t)count);
    for (int i = 0; i < count; i++) {
        pieces[i] = (struct iovec){datagrams[i].buffer, datagrams[i].count};
        messages[i].msg_hdr.msg_name = datagrams[i].peer.length ? (void *)&datagrams[i].peer.storage : NULL;
        messages[i].msg_hdr.msg_namelen = datagrams[i].peer.length;
        messages[i].msg_hdr.msg_iov = &pieces[i];
        messages[i].msg_hdr.msg_iovlen = 1;
    }
    return checked(sendmmsg(fd, messages, (unsigned)count, MSG_DONTWAIT | MSG_NOSIGNAL));
}

int martlet_socket_tcp_info(int fd, martlet_tcp_info *out) {
    struct tcp_info info;
    memset(&info, 0, sizeof info);
    socklen_t length = sizeof info;
    if (getsockopt(fd, IPPROTO_TCP, TCP_INFO, &info, &length) != 0) return -errno;
    *out = (martlet_tcp_info){
        .state = info.tcpi_state,
        .retransmits = info.tcpi_retransmits,
        .sender_mss = info.tcpi_snd_mss,
        .receiver_mss = info.tcpi_rcv_mss,
        .rto_us = info.tcpi_rto,
        .rtt_us = info.tcpi_rtt,
        .rtt_variance_us = info.tcpi_rttvar,
        .min_rtt_us = info.tcpi_min_rtt,
        .congestion_window = info.tcpi_snd_cwnd,
        .slow_start_threshold = info.tcpi_snd_ssthresh,
        .unacked = info.tcpi_unacked,
        .lost = info.tcpi_lost,
        .retransmitting = info.tcpi_retrans,
        .total_retransmits = info.tcpi_total_retrans,
        .reordering = info.tcpi_reordering,
        .receive_space = info.tcpi_rcv_space,
        .notsent_bytes = info.tcpi_notsent_bytes,
        .path_mtu = info.tcpi_pmtu,
        .bytes_acked = info.tcpi_bytes_acked,
        .bytes_received = info.tcpi_bytes_received,
        .segments_out = info.tcpi_segs_out,
        .segments_in = info.tcpi_segs_in,
        .delivery_rate = info.tcpi_delivery_rate,
        .pacing_rate = info.tcpi_pacing_rate,
    };
    return 0;
}

int martlet_resolve(const char *name, martlet_address *addresses, int capacity) {
    struct addrinfo hints = {.ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM, .ai_flags = AI_ADDRCONFIG};
    struct addrinfo *list = NULL;
    int error = getaddrinfo(name, NULL, &hints, &list);
    if (error != 0) return error < 0 ? error : -error;
    int count = 0;
    for (struct addrinfo *entry = list; entry != NULL && count < capacity; entry = entry->ai_next) {
        if (entry->ai_addrlen > sizeof addresses[count].storage) continue;
        memset(&addresses[count], 0, sizeof addresses[count]);
        memcpy(&addresses[count].storage, entry->ai_addr, entry->ai_addrlen);
        addresses[count].length = entry->ai_addrlen;
        count++;
    }
    freeaddrinfo(list);
    return count;
}

const char *martlet_resolve_error(int code) { return gai_strerror(code); }

uint64_t martlet_raise_file_limit(void) {
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) != 0) return 0;
    if (limit.rlim_cur < limit.rlim_max) {
        struct rlimit raised = {limit.rlim_max, limit.rlim_max};
        if (setrlimit(RLIMIT_NOFILE, &raised) == 0) limit = raised;
    }
    return limit.rlim_cur;
}
