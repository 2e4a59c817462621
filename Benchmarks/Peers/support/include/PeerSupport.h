/*
 * What every peer of the comparison needs before its first connection: the options `--port`, `--address` and `--cpu`,
 * a raised open-file limit, a processor to stay on, a listening socket, and the line that says it is ready.
 */
#ifndef PEER_SUPPORT_H
#define PEER_SUPPORT_H

#include <stdint.h>

#define PEER_BACKLOG 1024

struct peer_options {
    int port;
    uint32_t address; /* IPv4, in the host's order; 127.0.0.1 if none is given */
    int cpu;          /* -1: not pinned */
};

/* Reads `--port P`, `--address A.B.C.D` and `--cpu N`; prints the usage and exits on anything else. */
struct peer_options peer_parse_options(int argc, char **argv);

/* Keeps the calling thread, and those it starts later, on one processor; does nothing if `cpu` is negative. */
void peer_pin(int cpu);

/* Raises the soft open-file limit to the hard one and returns it. */
int peer_raise_file_limit(void);

/* Reads an IPv4 address in dotted decimal into the host's order. Returns 0 if it is none. */
int peer_parse_address(const char *text, uint32_t *address);

/* A listening socket whose accepted connections inherit TCP_NODELAY; `flags` go to socket(2). */
int peer_listen(const struct peer_options *options, int flags);

/* Prints `listening on port PORT` and flushes it. */
void peer_print_ready(int port);

/* Whether instructions are counted: under callgrind, by a program that was built where valgrind's headers are. */
int peer_counts_instructions(void);

/* From here on instructions are counted, until `peer_stop_counting`; what was counted since the last report is one by this name. */
void peer_start_counting(void);
void peer_stop_counting(void);
void peer_report_count(const char *name);

/* Prints `what` with `error` spelled out, and exits with status 1. */
__attribute__((noreturn)) void peer_fail(const char *what, int error);

#endif
