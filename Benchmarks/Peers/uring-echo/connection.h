/*
 * One connection of uring-echo: a multishot receive that fills buffers of the shared ring, and the queue of filled
 * buffers still to be sent, of which the first is under way.
 */
#ifndef CONNECTION_H
#define CONNECTION_H

#include <stdbool.h>
#include <stdint.h>

enum { BUFFER_COUNT = 1024, BUFFER_SIZE = 16 * 1024, NO_BUFFER = BUFFER_COUNT, QUEUE_LIMIT = 32 };

struct connection {
    uint16_t first;  /* queued buffers in arrival order, linked by `struct buffer`; NO_BUFFER if none */
    uint16_t last;
    uint16_t queued;
    bool receiving;  /* the multishot receive is armed */
    bool cancelling; /* its cancellation is under way */
    bool ended;      /* the peer has ended its stream, or the connection has failed */
    bool failed;     /* nothing more can be sent */
    bool starved;    /* waiting in the line of connections that found no free buffer */
};

struct buffer {
    uint32_t offset; /* of its first byte not yet sent */
    uint32_t length;
    uint16_t next;
};

#endif
