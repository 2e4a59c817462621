/*
 * uring-echo: an echo server as C programmers write one by hand on io_uring. One thread, one ring that runs its own
 * task work, a multishot accept, a multishot receive a connection into buffers of a shared ring, sends straight from
 * those buffers, and one io_uring_enter a round. A connection that queues too much stops receiving until it has sent;
 * one that finds no free buffer receives again as soon as one comes back.
 */
#define _GNU_SOURCE
#include "PeerSupport.h"
#include "connection.h"

#include <errno.h>
#include <liburing.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>

enum { ENTRIES = 4096, BUFFER_GROUP = 0 };
enum operation { ACCEPT, RECEIVE, SEND, CANCEL, CLOSE };

static struct io_uring ring;
static struct io_uring_buf_ring *buffer_ring;
static char *buffer_memory;
static struct buffer buffers[BUFFER_COUNT];
static int free_buffers = BUFFER_COUNT;
static struct connection *connections; /* indexed by descriptor */
static int *starved;                   /* descriptors, a ring of `connection_limit` */
static int starved_first, starved_count, connection_limit;

static struct io_uring_sqe *next_entry(void) {
    struct io_uring_sqe *entry = io_uring_get_sqe(&ring);
    while (entry == NULL) {
        int result = io_uring_submit(&ring);
        if (result < 0 && result != -EBUSY && result != -EAGAIN && result != -EINTR) {
            peer_fail("io_uring_submit", -result);
        }
        entry = io_uring_get_sqe(&ring);
    }
    return entry;
}

static void set_user_data(struct io_uring_sqe *entry, enum operation operation, int socket) {
    entry->user_data = (uint64_t)operation << 32 | (uint32_t)socket;
}

static void arm_accept(int listener) {
    struct io_uring_sqe *entry = next_entry();
    io_uring_prep_multishot_accept(entry, listener, NULL, NULL, SOCK_CLOEXEC);
    set_user_data(entry, ACCEPT, listener);
}

static void arm_receive(int socket) {
    struct io_uring_sqe *entry = next_entry();
    io_uring_prep_recv_multishot(entry, socket, NULL, 0, 0);
    entry->flags |= IOSQE_BUFFER_SELECT;
    entry->buf_group = BUFFER_GROUP;
    set_user_data(entry, RECEIVE, socket);
    connections[socket].receiving = true;
}

static void cancel_receive(int socket) {
    struct io_uring_sqe *entry = next_entry();
    io_uring_prep_cancel64(entry, (uint64_t)RECEIVE << 32 | (uint32_t)socket, 0);
    set_user_data(entry, CANCEL, socket);
    connections[socket].cancelling = true;
}

static void send_first(int socket) {
    uint16_t index = connections[socket].first;
    struct buffer *buffer = &buffers[index];
    char *bytes = buffer_memory + (size_t)index * BUFFER_SIZE + buffer->offset;
    struct io_uring_sqe *entry = next_entry();
    /* MSG_WAITALL has the kernel go on after a short send by itself. */
    io_uring_prep_send(entry, socket, bytes, buffer->length - buffer->offset, MSG_NOSIGNAL | MSG_WAITALL);
    set_user_data(entry, SEND, socket);
}

static void return_buffer(uint16_t index) {
    io_uring_buf_ring_add(
        buffer_ring, buffer_memory + (size_t)index * BUFFER_SIZE, BUFFER_SIZE, index,
        io_uring_buf_ring_mask(BUFFER_COUNT), 0);
    io_uring_buf_ring_advance(buffer_ring, 1);
    free_buffers++;
}

static void drop_first(struct connection *connection) {
    uint16_t index = connection->first;
    connection->first = buffers[index].next;
    connection->queued--;
    return_buffer(index);
}

/* Closes a connection that neither receives nor sends any more, or has its receive follow its queue's length. */
static void settle(int socket) {
    struct connection *connection = &connections[socket];
    if (connection->ended) {
        if (!connection->receiving && connection->queued == 0 && !connection->starved) {
            struct io_uring_sqe *entry = next_entry();
            io_uring_prep_close(entry, socket);
            entry->flags |= IOSQE_CQE_SKIP_SUCCESS;
            set_user_data(entry, CLOSE, socket);
        }
    } else if (connection->receiving) {
        if (connection->queued > QUEUE_LIMIT && !connection->cancelling) {
            cancel_receive(socket);
        }
    } else if (connection->queued == 0 && !connection->starved) {
        arm_receive(socket);
    }
}

static void accepted(int listener, int result, uint32_t flags) {
    if (result >= connection_limit) {
        peer_fail("accept", EMFILE);
    }
    if (result >= 0) {
        connections[result] = (struct connection){.first = NO_BUFFER, .last = NO_BUFFER};
        arm_receive(result);
    }
    if (!(flags & IORING_CQE_F_MORE)) {
        arm_accept(listener);
    }
}

static void received(int socket, int result, uint32_t flags) {
    struct connection *connection = &connections[socket];
    if (!(flags & IORING_CQE_F_MORE)) {
        connection->receiving = false;
        connection->cancelling = false;
    }
    if (result > 0) {
        uint16_t index = (uint16_t)(flags >> IORING_CQE_BUFFER_SHIFT);
        buffers[index] = (struct buffer){.offset = 0, .length = (uint32_t)result, .next = NO_BUFFER};
        free_buffers--;
        if (connection->failed) {
            return_buffer(index);
        } else if (connection->queued++ == 0) {
            connection->first = connection->last = index;
            send_first(socket);
        } else {
            buffers[connection->last].next = index;
            connection->last = index;
        }
    } else if (result == -ENOBUFS) {
        connection->starved = true;
        starved[(starved_first + starved_count++) % connection_limit] = socket;
    } else if (result != -ECANCELED && result != -EINTR && result != -EAGAIN) {
        connection->ended = true;
    }
    settle(socket);
}

static void sent(int socket, int result) {
    struct connection *connection = &connections[socket];
    struct buffer *buffer = &buffers[connection->first];
    if (result > 0) {
        buffer->offset += (uint32_t)result;
        if (buffer->offset == buffer->length) {
            drop_first(connection);
        }
    } else if (result != -EINTR && result != -EAGAIN) {
        connection->failed = connection->ended = true;
        while (connection->queued > 0) {
            drop_first(connection);
        }
        if (connection->receiving && !connection->cancelling) {
            cancel_receive(socket);
        }
    }
    if (connection->queued > 0) {
        send_first(socket);
    }
    settle(socket);
}

/* Lets connections that found no buffer receive again, the longest waiting first, one for each buffer now free. */
static void feed_starved(void) {
    for (int budget = free_buffers; budget > 0 && starved_count > 0; budget--) {
        int socket = starved[starved_first];
        starved_first = (starved_first + 1) % connection_limit;
        starved_count--;
        connections[socket].starved = false;
        settle(socket);
    }
}

static void complete(const struct io_uring_cqe *completion, int listener) {
    int socket = (int)(uint32_t)completion->user_data;
    switch ((enum operation)(completion->user_data >> 32)) {
    case ACCEPT: accepted(listener, completion->res, completion->flags); break;
    case RECEIVE: received(socket, completion->res, completion->flags); break;
    case SEND: sent(socket, completion->res); break;
    case CANCEL: case CLOSE: break;
    }
}

/* The newest set-up the kernel has: task work that runs only when this thread asks for completions. */
static void open_ring(void) {
    static const unsigned choices[] = {
        IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN, IORING_SETUP_COOP_TASKRUN, 0,
    };
    int result = -EINVAL;
    for (size_t i = 0; i < sizeof choices / sizeof *choices && result == -EINVAL; i++) {
        struct io_uring_params parameters = {
            .flags = choices[i] | IORING_SETUP_CQSIZE, .cq_entries = 4 * ENTRIES,
        };
        result = io_uring_queue_init_params(ENTRIES, &ring, &parameters);
    }
    if (result < 0) {
        peer_fail("io_uring_queue_init_params", -result);
    }
    io_uring_register_ring_fd(&ring);
}

/* `size` bytes of zeroed memory on huge pages where the kernel has them to give. */
static void *map_pages(size_t size) {
    void *memory = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (memory == MAP_FAILED) {
        peer_fail("mmap", errno);
    }
    madvise(memory, size, MADV_HUGEPAGE);
    return memory;
}

static void open_buffers(void) {
    buffer_memory = map_pages((size_t)BUFFER_COUNT * BUFFER_SIZE);
    buffer_ring = map_pages(BUFFER_COUNT * sizeof(struct io_uring_buf));
    struct io_uring_buf_reg registration = {
        .ring_addr = (uint64_t)(uintptr_t)buffer_ring, .ring_entries = BUFFER_COUNT, .bgid = BUFFER_GROUP,
    };
    int result = io_uring_register_buf_ring(&ring, &registration, 0);
    if (result < 0) {
        peer_fail("io_uring_register_buf_ring", -result);
    }
    io_uring_buf_ring_init(buffer_ring);
    free_buffers = 0;
    for (uint16_t index = 0; index < BUFFER_COUNT; index++) {
        return_buffer(index);
    }
}

int main(int argc, char **argv) {
    struct peer_options options = peer_parse_options(argc, argv);
    connection_limit = peer_raise_file_limit();
    connections = calloc((size_t)connection_limit, sizeof *connections);
    starved = calloc((size_t)connection_limit, sizeof *starved);
    if (connections == NULL || starved == NULL) {
        peer_fail("calloc", errno);
    }
    peer_pin(options.cpu);
    open_ring();
    open_buffers();
    int listener = peer_listen(&options, 0);
    arm_accept(listener);
    io_uring_submit(&ring);
    peer_print_ready(options.port);

    for (;;) {
        int result = io_uring_submit_and_wait(&ring, 1);
        if (result < 0 && result != -EINTR && result != -EAGAIN && result != -EBUSY) {
            peer_fail("io_uring_submit_and_wait", -result);
        }
        struct io_uring_cqe *completion;
        unsigned head, count = 0;
        io_uring_for_each_cqe(&ring, head, completion) {
            complete(completion, listener);
            count++;
        }
        io_uring_cq_advance(&ring, count);
        feed_starved();
    }
}
