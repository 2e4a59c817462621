/*
 * The run: one epoll loop that keeps every connection's messages in flight, and checks what comes back.
 */
#define _GNU_SOURCE
#include "PeerSupport.h"
#include "load.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

enum { EVENTS_A_ROUND = 512 };

struct connection {
    int socket;        /* -1: could not be opened; tried again in the next round */
    bool writable;     /* waiting for room to send, not only for input */
    uint64_t sent;     /* bytes so far, and likewise below */
    uint64_t received;
    uint64_t granted;  /* what may be sent */
    uint64_t *started; /* when each message in flight was sent, by its number modulo the depth */
};

struct run {
    const struct options *options;
    struct connection *connections;
    int epoll;
    int unopened;
    uint64_t requests;
    uint64_t errors;
    struct histogram latencies;
};

static char receive_buffer[STREAM_CHUNK];

static void open_connection(struct run *run, struct connection *connection);

static void watch(struct run *run, struct connection *connection, int operation, bool writable) {
    struct epoll_event event = {.events = EPOLLIN | (writable ? EPOLLOUT : 0), .data.ptr = connection};
    if (epoll_ctl(run->epoll, operation, connection->socket, &event) != 0) {
        peer_fail("epoll_ctl", errno);
    }
    connection->writable = writable;
}

static void fail_connection(struct run *run, struct connection *connection) {
    run->errors++;
    close(connection->socket);
    connection->socket = -1;
    run->unopened++;
}

/* Sends all that is granted; false if the socket has no room for it, or is not yet connected. */
static bool send_granted(struct run *run, struct connection *connection) {
    while (connection->sent < connection->granted) {
        uint64_t rest = connection->granted - connection->sent;
        size_t length = rest < STREAM_CHUNK ? (size_t)rest : STREAM_CHUNK;
        ssize_t sent = send(connection->socket, stream_bytes(connection->sent), length, MSG_NOSIGNAL);
        if (sent < 0) {
            if (errno != EAGAIN && errno != EINTR && errno != ENOTCONN) {
                fail_connection(run, connection);
                return true;
            }
            return false;
        }
        connection->sent += (uint64_t)sent;
    }
    return true;
}

static void send_or_watch(struct run *run, struct connection *connection) {
    bool done = send_granted(run, connection);
    if (connection->socket >= 0 && connection->writable == done) {
        watch(run, connection, EPOLL_CTL_MOD, !done);
    }
}

/* Allows as many messages as the depth has room for, and notes when. */
static void grant(struct run *run, struct connection *connection, uint64_t messages, uint64_t now) {
    uint64_t size = (uint64_t)run->options->size;
    uint64_t next = connection->granted / size;
    for (uint64_t i = 0; i < messages; i++) {
        connection->started[(next + i) % (uint64_t)run->options->depth] = now;
    }
    connection->granted += messages * size;
}

static void open_connection(struct run *run, struct connection *connection) {
    uint64_t now = monotonic_nanoseconds();
    connection->socket = connect_socket(run->options, true);
    if (connection->socket < 0) {
        run->errors++;
        run->unopened++;
        return;
    }
    connection->sent = connection->received = connection->granted = 0;
    grant(run, connection, (uint64_t)run->options->depth, now);
    /* On the loopback the connection is mostly there by now. */
    bool done = send_granted(run, connection);
    if (connection->socket >= 0) {
        watch(run, connection, EPOLL_CTL_ADD, !done);
    }
}

static void receive(struct run *run, struct connection *connection) {
    uint64_t size = (uint64_t)run->options->size, depth = (uint64_t)run->options->depth;
    ssize_t received = recv(connection->socket, receive_buffer, sizeof receive_buffer, 0);
    if (received < 0 && (errno == EAGAIN || errno == EINTR)) {
        return;
    }
    if (received <= 0 || connection->received + (uint64_t)received > connection->sent
        || memcmp(receive_buffer, stream_bytes(connection->received), (size_t)received) != 0) {
        fail_connection(run, connection);
        return;
    }
    uint64_t first = connection->received / size;
    connection->received += (uint64_t)received;
    uint64_t end = connection->received / size;
    if (first == end) {
        return;
    }
    uint64_t now = monotonic_nanoseconds();
    for (uint64_t message = first; message < end; message++) {
        histogram_record(&run->latencies, now - connection->started[message % depth]);
    }
    run->requests += end - first;
    if (run->options->mode == MODE_SHORT) {
        close(connection->socket);
        open_connection(run, connection);
    } else {
        grant(run, connection, end - first, now);
        send_or_watch(run, connection);
    }
}

static void reopen_failed(struct run *run) {
    run->unopened = 0;
    for (int i = 0; i < run->options->connections; i++) {
        if (run->connections[i].socket < 0) {
            open_connection(run, &run->connections[i]);
        }
    }
}

/* Keeps the load up until the given time. */
static void run_until(struct run *run, uint64_t deadline) {
    struct epoll_event events[EVENTS_A_ROUND];
    for (uint64_t now; (now = monotonic_nanoseconds()) < deadline;) {
        int patience = (int)((deadline - now) / 1000000) + 1;
        if (run->unopened > 0) {
            reopen_failed(run);
            patience = 10;
        }
        int count = epoll_wait(run->epoll, events, EVENTS_A_ROUND, patience);
        for (int i = 0; i < count; i++) {
            struct connection *connection = events[i].data.ptr;
            if (events[i].events & EPOLLOUT) {
                send_or_watch(run, connection);
            }
            if (connection->socket >= 0 && events[i].events & (EPOLLIN | EPOLLERR | EPOLLHUP)) {
                receive(run, connection);
            }
        }
    }
}

void run_load(const struct options *options, struct result *result) {
    size_t count = options->mode == MODE_IDLE ? 0 : (size_t)options->connections;
    size_t depth = (size_t)options->depth;
    struct run *run = calloc(1, sizeof *run);
    struct connection *connections = calloc(count + 1, sizeof *connections);
    uint64_t *started = calloc(count * depth + 1, sizeof *started);
    if (run == NULL || connections == NULL || started == NULL) {
        peer_fail("calloc", ENOMEM);
    }
    run->options = options;
    run->connections = connections;
    run->epoll = epoll_create1(EPOLL_CLOEXEC);
    if (run->epoll < 0) {
        peer_fail("epoll_create1", errno);
    }
    for (size_t i = 0; i < count; i++) {
        connections[i].started = started + i * depth;
        open_connection(run, &connections[i]);
    }

    uint64_t start = monotonic_nanoseconds();
    run_until(run, start + (uint64_t)(options->warmup * 1e9));

    memset(&run->latencies, 0, sizeof run->latencies);
    uint64_t requests = run->requests;
    struct window window;
    window_open(&window, options);
    run_until(run, window.start + (uint64_t)(options->seconds * 1e9));
    window_close(&window, options, result);
    result->requests = run->requests - requests;
    result->bytes = result->requests * (uint64_t)options->size;
    result->errors = run->errors;
    result->latencies = run->latencies;
}
