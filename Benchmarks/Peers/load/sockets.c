/*
 * Client sockets: spread over many source addresses, so that ephemeral ports and TIME_WAIT never run out; the idle
 * connections; and the bytes that are sent and expected back.
 */
#define _GNU_SOURCE
#include "load.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

enum { FIRST_ADDRESS = 2, LAST_ADDRESS = 250, IDLE_BATCH = 128 };

static char stream[STREAM_PERIOD + STREAM_CHUNK];

uint64_t monotonic_nanoseconds(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

void stream_prepare(void) {
    for (size_t i = 0; i < sizeof stream; i++) {
        stream[i] = (char)(i % STREAM_PERIOD);
    }
}

const char *stream_bytes(uint64_t position) {
    return stream + position % STREAM_PERIOD;
}

int connect_socket(const struct options *options, bool nonblocking) {
    static uint32_t turn;
    int on = 1;
    struct timeval patience = {.tv_sec = 10};
    uint32_t host = FIRST_ADDRESS + turn++ % (LAST_ADDRESS - FIRST_ADDRESS + 1);
    struct sockaddr_in source = {.sin_family = AF_INET, .sin_addr.s_addr = htonl((options->host & ~0xffu) | host)};
    struct sockaddr_in server = {
        .sin_family = AF_INET,
        .sin_port = htons((uint16_t)options->port),
        .sin_addr.s_addr = htonl(options->host),
    };
    int new = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | (nonblocking ? SOCK_NONBLOCK : 0), 0);
    if (new < 0) {
        return -1;
    }
    /* The port is chosen when connecting, and so needs to be free only for this pair of addresses. */
    if (setsockopt(new, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &on, sizeof on) == 0
        && setsockopt(new, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on) == 0
        && (nonblocking
            || (setsockopt(new, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof patience) == 0
                && setsockopt(new, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience) == 0))
        && bind(new, (struct sockaddr *)&source, sizeof source) == 0
        && (connect(new, (struct sockaddr *)&server, sizeof server) == 0 || errno == EINPROGRESS)) {
        return new;
    }
    int error = errno;
    close(new);
    errno = error;
    return -1;
}

static bool echo_byte(int socket) {
    char byte = 0;
    return recv(socket, &byte, 1, 0) == 1 && byte == 'i';
}

int open_idle_connections(const struct options *options, int *sockets) {
    int count = options->idle, proved = 0;
    for (int first = 0; first < count && proved == first; first += IDLE_BATCH) {
        int end = first + IDLE_BATCH < count ? first + IDLE_BATCH : count;
        for (int i = first; i < end; i++) {
            sockets[i] = connect_socket(options, false);
            if (sockets[i] >= 0) {
                send(sockets[i], "i", 1, MSG_NOSIGNAL);
            }
        }
        for (int i = first; i < end; i++) {
            if (sockets[i] >= 0 && echo_byte(sockets[i])) {
                proved++;
            }
        }
    }
    return count - proved;
}

int count_closed(const int *sockets, int count) {
    int closed = 0;
    for (int i = 0; i < count; i++) {
        char byte;
        ssize_t received = recv(sockets[i], &byte, 1, MSG_PEEK | MSG_DONTWAIT);
        if (received >= 0 || errno != EAGAIN) {
            closed++;
        }
    }
    return closed;
}
