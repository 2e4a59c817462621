// Sockets: ip(7), ipv6(7), unix(7), tcp(7), udp(7), socket(7). Every function returns a value >= 0, or -errno.
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>
#include <sys/uio.h>

typedef struct {
    socklen_t length;
    struct sockaddr_storage storage;
} martlet_address;

enum { MARTLET_FAMILY_NONE = 0, MARTLET_FAMILY_IPV4 = 4, MARTLET_FAMILY_IPV6 = 6, MARTLET_FAMILY_UNIX = 1 };

/// `bits` in host byte order.
martlet_address martlet_address_ipv4(uint32_t bits, uint16_t port);
/// `high` and `low` are the address's two halves in host byte order.
martlet_address martlet_address_ipv6(uint64_t high, uint64_t low, uint16_t port, uint32_t scope);
/// Returns a zero length if the path does not fit sun_path. A leading '@' names the abstract namespace.
martlet_address martlet_address_unix(const char *path, size_t length);
int martlet_address_family(const martlet_address *address);
uint16_t martlet_address_port(const martlet_address *address);
uint32_t martlet_address_ipv4_bits(const martlet_address *address);
uint64_t martlet_address_ipv6_high(const martlet_address *address);
uint64_t martlet_address_ipv6_low(const martlet_address *address);
uint32_t martlet_address_ipv6_scope(const martlet_address *address);
/// Copies the path (with '@' for an abstract name) into `out` of 110 bytes; returns its length.
size_t martlet_address_unix_path(const martlet_address *address, char *out);

int martlet_socket_local(int fd, martlet_address *out);
int martlet_socket_peer(int fd, martlet_address *out);

/// A bound, listening stream socket, close-on-exec. `nonblocking` for epoll, blocking for io_uring.
int martlet_listen(const martlet_address *address, int backlog, bool reuse_port, bool v6_only, bool nonblocking);
/// Attaches a classic BPF program that picks the listener whose core runs on the CPU that received the packet.
int martlet_listen_steer_by_cpu(int fd, const int *cpus, int count);
/// A stream socket for connect(2).
int martlet_stream_socket(const martlet_address *address, bool nonblocking);
/// Starts connecting a non-blocking socket: 0 when connected at once, -EINPROGRESS when under way.
int martlet_connect(int fd, const martlet_address *address);
/// A bound datagram socket, non-blocking.
int martlet_datagram_socket(const martlet_address *address, bool reuse_port);

/// accept4(2), close-on-exec.
int martlet_accept(int fd, bool nonblocking);
int martlet_set_nonblocking(int fd);
int martlet_close(int fd);
/// A second descriptor of the same socket, close-on-exec.
int martlet_duplicate(int fd);
/// Makes the coming close(2) send RST instead of FIN (SO_LINGER with a zero timeout).
int martlet_reset_on_close(int fd);
int martlet_shutdown_write(int fd);
int martlet_shutdown_both(int fd);
int martlet_set_nodelay(int fd, bool on);
/// Zero seconds leaves that setting at the system's default.
int martlet_set_keepalive(int fd, int idle_seconds, int interval_seconds, int count);
int martlet_set_buffers(int fd, int receive_bytes, int send_bytes);
/// The error that waits on the socket (SO_ERROR), as a positive errno or 0.
int martlet_socket_error(int fd);
/// Bytes not yet acknowledged by the peer, a FIN counted as one (SIOCOUTQ).
int martlet_unacknowledged(int fd);
/// Bytes in the kernel's receive queue (SIOCINQ).
int martlet_unread(int fd);

/// recv(2) and sendmsg(2), never blocking, never raising SIGPIPE.
ptrdiff_t martlet_receive(int fd, void *buffer, size_t capacity);
ptrdiff_t martlet_send(int fd, const struct iovec *pieces, int count);

typedef struct {
    void *buffer;
    uint32_t capacity;
    uint32_t count;
    martlet_address peer;
} martlet_datagram;

enum { MARTLET_DATAGRAM_BATCH = 32 };

/// recvmmsg(2) into up to 32 datagrams; returns how many arrived.
int martlet_receive_datagrams(int fd, martlet_datagram *datagrams, int count);
/// sendmmsg(2) of up to 32 datagrams; returns how many left.
int martlet_send_datagrams(int fd, const martlet_datagram *datagrams, int count);

typedef struct {
    uint8_t state;                  // 1 ESTABLISHED … 11 CLOSING, as in the kernel's tcp_states.h
    uint8_t retransmits;
    uint32_t sender_mss, receiver_mss;
    uint32_t rto_us, rtt_us, rtt_variance_us, min_rtt_us;
    uint32_t congestion_window, slow_start_threshold;
    uint32_t unacked, lost, retransmitting, total_retransmits, reordering;
    uint32_t receive_space, notsent_bytes, path_mtu;
    uint64_t bytes_acked, bytes_received, segments_out, segments_in, delivery_rate, pacing_rate;
} martlet_tcp_info;

int martlet_socket_tcp_info(int fd, martlet_tcp_info *out);

/// A resolved name. `addresses` has room for `capacity`; returns how many were found, or a negative EAI_ code.
int martlet_resolve(const char *name, martlet_address *addresses, int capacity);
const char *martlet_resolve_error(int code);

/// RLIMIT_NOFILE: raises the soft limit to the hard limit and returns it.
uint64_t martlet_raise_file_limit(void);
