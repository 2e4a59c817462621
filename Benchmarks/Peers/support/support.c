/*
 * Start-up shared by the C peers, the load generator and the SwiftNIO peer; see PeerSupport.h.
 */
#define _GNU_SOURCE
#include "PeerSupport.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>

/* Requests to callgrind are a few instructions that do nothing anywhere else (valgrind manual, 6.5). */
#if __has_include(<valgrind/callgrind.h>)
#include <valgrind/callgrind.h>

int peer_counts_instructions(void) { return RUNNING_ON_VALGRIND > 0; }
void peer_start_counting(void) { CALLGRIND_TOGGLE_COLLECT; }
void peer_stop_counting(void) { CALLGRIND_TOGGLE_COLLECT; }
void peer_report_count(const char *name) { CALLGRIND_DUMP_STATS_AT(name); }
#else
int peer_counts_instructions(void) { return 0; }
void peer_start_counting(void) {}
void peer_stop_counting(void) {}
void peer_report_count(const char *name) { (void)name; }
#endif

void peer_fail(const char *what, int error) {
    fprintf(stderr, "%s: %s\n", what, strerror(error));
    exit(1);
}

static void print_usage_and_exit(const char *program) {
    fprintf(stderr, "usage: %s --port P [--address A.B.C.D] [--cpu N]\n", program);
    exit(64);
}

int peer_parse_address(const char *text, uint32_t *address) {
    struct in_addr parsed;
    if (inet_pton(AF_INET, text, &parsed) != 1) {
        return 0;
    }
    *address = ntohl(parsed.s_addr);
    return 1;
}

static int parse_integer(const char *text, long least, long most, int *value) {
    char *end;
    long parsed = strtol(text, &end, 10);
    if (end == text || *end != '\0' || parsed < least || parsed > most) {
        return 0;
    }
    *value = (int)parsed;
    return 1;
}

struct peer_options peer_parse_options(int argc, char **argv) {
    struct peer_options options = {.port = 0, .address = INADDR_LOOPBACK, .cpu = -1};
    for (int i = 1; i < argc; i += 2) {
        const char *value = i + 1 < argc ? argv[i + 1] : "";
        if (!(strcmp(argv[i], "--port") == 0 && parse_integer(value, 1, 65535, &options.port))
            && !(strcmp(argv[i], "--address") == 0 && peer_parse_address(value, &options.address))
            && !(strcmp(argv[i], "--cpu") == 0 && parse_integer(value, -1, CPU_SETSIZE - 1, &options.cpu))) {
            print_usage_and_exit(argv[0]);
        }
    }
    if (options.port == 0) {
        print_usage_and_exit(argv[0]);
    }
    return options;
}

void peer_pin(int cpu) {
    if (cpu < 0) {
        return;
    }
    cpu_set_t set;
    CPU_ZERO(&set);
    CPU_SET(cpu, &set);
    if (sched_setaffinity(0, sizeof set, &set) != 0) {
        peer_fail("sched_setaffinity", errno);
    }
}

int peer_raise_file_limit(void) {
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) != 0) {
        peer_fail("getrlimit", errno);
    }
    limit.rlim_cur = limit.rlim_max;
    if (setrlimit(RLIMIT_NOFILE, &limit) != 0) {
        peer_fail("setrlimit", errno);
    }
    return limit.rlim_cur > 1 << 20 ? 1 << 20 : (int)limit.rlim_cur;
}

int peer_listen(const struct peer_options *options, int flags) {
    int on = 1;
    struct sockaddr_in address = {
        .sin_family = AF_INET,
        .sin_port = htons((uint16_t)options->port),
        .sin_addr.s_addr = htonl(options->address),
    };
    int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | flags, 0);
    if (listener < 0) {
        peer_fail("socket", errno);
    }
    if (setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on) != 0
        || setsockopt(listener, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on) != 0) {
        peer_fail("setsockopt", errno);
    }
    if (bind(listener, (struct sockaddr *)&address, sizeof address) != 0) {
        peer_fail("bind", errno);
    }
    if (listen(listener, PEER_BACKLOG) != 0) {
        peer_fail("listen", errno);
    }
    return listener;
}

void peer_print_ready(int port) {
    printf("listening on port %d\n", port);
    fflush(stdout);
}
