/*
 * epoll-echo: an echo server as C programmers write one by hand. One thread, level-triggered epoll, one recv and one
 * send for each message. A connection holds a buffer of its own only while its peer reads slower than it writes; until
 * that buffer is out, nothing more is read from it.
 */
#define _GNU_SOURCE
#include "PeerSupport.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

enum { RECEIVE_SIZE = 64 * 1024, EVENTS_A_ROUND = 512 };

/* Bytes received but not yet taken by the socket's send buffer. */
struct unsent {
    size_t offset;
    size_t length;
    char bytes[];
};

/* Indexed by descriptor; NULL for a connection that has sent all it received. */
static struct unsent **unsent_by_descriptor;
static char receive_buffer[RECEIVE_SIZE];
static int epoll;

static void close_connection(int socket) {
    free(unsent_by_descriptor[socket]);
    unsent_by_descriptor[socket] = NULL;
    close(socket); /* also takes it out of the epoll set */
}

static int watch(int operation, int socket, uint32_t events) {
    struct epoll_event event = {.events = events, .data.fd = socket};
    return epoll_ctl(epoll, operation, socket, &event);
}

static void accept_connections(int listener) {
    for (;;) {
        int socket = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
        if (socket < 0) {
            if (errno == EINTR || errno == ECONNABORTED) {
                continue;
            }
            if (errno == EAGAIN || errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM) {
                return;
            }
            peer_fail("accept4", errno);
        }
        if (watch(EPOLL_CTL_ADD, socket, EPOLLIN) != 0) {
            close(socket);
        }
    }
}

/* Keeps what send(2) did not take, and waits for room instead of for input. */
static void keep_unsent(int socket, const char *bytes, size_t length) {
    struct unsent *unsent = malloc(sizeof *unsent + length);
    if (unsent == NULL || watch(EPOLL_CTL_MOD, socket, EPOLLOUT) != 0) {
        free(unsent);
        close_connection(socket);
        return;
    }
    unsent->offset = 0;
    unsent->length = length;
    memcpy(unsent->bytes, bytes, length);
    unsent_by_descriptor[socket] = unsent;
}

static void echo(int socket) {
    ssize_t received = recv(socket, receive_buffer, sizeof receive_buffer, 0);
    if (received <= 0) {
        /* End of stream: everything received before it has been sent, for we read only then. */
        if (received == 0 || (errno != EAGAIN && errno != EINTR)) {
            close_connection(socket);
        }
        return;
    }
    ssize_t sent = send(socket, receive_buffer, (size_t)received, MSG_NOSIGNAL);
    if (sent == received) {
        return;
    }
    if (sent < 0) {
        if (errno != EAGAIN && errno != EINTR) {
            close_connection(socket);
            return;
        }
        sent = 0;
    }
    keep_unsent(socket, receive_buffer + sent, (size_t)(received - sent));
}

static void send_unsent(int socket) {
    struct unsent *unsent = unsent_by_descriptor[socket];
    ssize_t sent = send(socket, unsent->bytes + unsent->offset, unsent->length - unsent->offset, MSG_NOSIGNAL);
    if (sent < 0) {
        if (errno != EAGAIN && errno != EINTR) {
            close_connection(socket);
        }
        return;
    }
    unsent->offset += (size_t)sent;
    if (unsent->offset < unsent->length) {
        return;
    }
    free(unsent);
    unsent_by_descriptor[socket] = NULL;
    if (watch(EPOLL_CTL_MOD, socket, EPOLLIN) != 0) {
        close_connection(socket);
    }
}

int main(int argc, char **argv) {
    struct peer_options options = peer_parse_options(argc, argv);
    unsent_by_descriptor = calloc((size_t)peer_raise_file_limit(), sizeof *unsent_by_descriptor);
    if (unsent_by_descriptor == NULL) {
        peer_fail("calloc", errno);
    }
    peer_pin(options.cpu);
    int listener = peer_listen(&options, SOCK_NONBLOCK);
    epoll = epoll_create1(EPOLL_CLOEXEC);
    if (epoll < 0 || watch(EPOLL_CTL_ADD, listener, EPOLLIN) != 0) {
        peer_fail("epoll", errno);
    }
    peer_print_ready(options.port);

    for (;;) {
        struct epoll_event events[EVENTS_A_ROUND];
        int count = epoll_wait(epoll, events, EVENTS_A_ROUND, -1);
        if (count < 0 && errno != EINTR) {
            peer_fail("epoll_wait", errno);
        }
        for (int i = 0; i < count; i++) {
            int socket = events[i].data.fd;
            if (socket == listener) {
                accept_connections(listener);
            } else if (unsent_by_descriptor[socket] != NULL) {
                send_unsent(socket);
            } else {
                echo(socket);
            }
        }
    }
}
