/*
 * Bulk: one connection that carries bytes one way as fast as it goes, to a server that throws them away or from one that never
 * ends. What the bytes are is not looked at.
 */
#define _GNU_SOURCE
#include "PeerSupport.h"
#include "load.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

enum { BULK_SIZE = 256 * 1024 };

struct bulk {
    int socket;
    bool sends;
    char *buffer;
    uint64_t calls, bytes;
};

/* Returns false when the connection has failed or ended. */
static bool move_until(struct bulk *bulk, uint64_t deadline) {
    while (monotonic_nanoseconds() < deadline) {
        ssize_t count = bulk->sends ? send(bulk->socket, bulk->buffer, BULK_SIZE, MSG_NOSIGNAL)
                                    : recv(bulk->socket, bulk->buffer, BULK_SIZE, 0);
        if (count <= 0) {
            return false;
        }
        bulk->calls++;
        bulk->bytes += (uint64_t)count;
    }
    return true;
}

void run_bulk(const struct options *options, struct result *result) {
    struct bulk bulk = {.sends = options->mode == MODE_SEND, .buffer = calloc(1, BULK_SIZE)};
    if (bulk.buffer == NULL) {
        peer_fail("calloc", ENOMEM);
    }
    bulk.socket = connect_socket(options, false);
    if (bulk.socket < 0) {
        peer_fail("connect", errno);
    }
    bool lives = move_until(&bulk, monotonic_nanoseconds() + (uint64_t)(options->warmup * 1e9));
    bulk.calls = bulk.bytes = 0;
    struct window window;
    window_open(&window, options);
    lives = lives && move_until(&bulk, window.start + (uint64_t)(options->seconds * 1e9));
    window_close(&window, options, result);
    result->requests = bulk.calls;
    result->bytes = bulk.bytes;
    result->errors = lives ? 0 : 1;
    close(bulk.socket);
    free(bulk.buffer);
}
