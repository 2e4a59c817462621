/*
 * lwip-pair: lwIP's raw API at both ends of one wire, in one thread: bulk data one way, or short connections (open, 64
 * bytes each way, close). Prints one JSON object with what it measured.
 *
 * What bounds it is set when Debian builds the library (/usr/include/lwip/lwipopts.h): windows and send buffers of 65,535
 * bytes, checksums in software, and a mutex around each allocation.
 */
#include "PeerSupport.h"

#include <stdio.h>

#if __has_include(<lwip/tcp.h>)

#include "lwip.h"
#include "wire.h"
#include "workloads.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

struct options {
    int is_bulk;
    int cpu;
    long count;
    long at_once;
};

static void print_usage_and_exit(const char *program) {
    fprintf(stderr, "usage: %s bulk|connections --count N [--at-once N] [--cpu N]\n", program);
    exit(64);
}

static struct options parse(int argc, char **argv) {
    struct options options = {.cpu = -1, .at_once = 64};
    if (argc < 2 || (strcmp(argv[1], "bulk") != 0 && strcmp(argv[1], "connections") != 0)) {
        print_usage_and_exit(argv[0]);
    }
    options.is_bulk = strcmp(argv[1], "bulk") == 0;
    for (int i = 2; i < argc; i += 2) {
        char *end = NULL;
        long value = i + 1 < argc ? strtol(argv[i + 1], &end, 10) : 0;
        if (end == NULL || end == argv[i + 1] || *end != '\0') {
            print_usage_and_exit(argv[0]);
        }
        if (strcmp(argv[i], "--count") == 0 && value > 0) {
            options.count = value;
        } else if (strcmp(argv[i], "--at-once") == 0 && value > 0) {
            options.at_once = value;
        } else if (strcmp(argv[i], "--cpu") == 0 && value >= -1) {
            options.cpu = (int)value;
        } else {
            print_usage_and_exit(argv[0]);
        }
    }
    if (options.count == 0) {
        print_usage_and_exit(argv[0]);
    }
    return options;
}

static double now(void) {
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (double)time.tv_sec + (double)time.tv_nsec / 1e9;
}

int main(int argc, char **argv) {
    struct options options = parse(argc, argv);
    peer_pin(options.cpu);
    lwip_load();
    lwip.lwip_init();
    wire_prepare();
    workload_prepare(options.is_bulk);

    double begin = now();
    long done = options.is_bulk ? run_bulk(options.count) : run_connections(options.count, options.at_once);
    double seconds = now() - begin;
    printf("{\"stack\": \"lwip\", \"workload\": \"%s\", \"seconds\": %.6f", argv[1], seconds);
    if (options.is_bulk) {
        printf(", \"bytes\": %ld, \"gigabits_per_second\": %.3f", done, (double)done * 8 / seconds / 1e9);
    } else {
        printf(", \"connections\": %ld, \"at_once\": %ld", done, options.at_once);
        printf(", \"connections_per_second\": %.1f", (double)done / seconds);
    }
    printf(", \"errors\": %lu, \"drops\": %lu}\n", workload_errors, wire_drops);
    return workload_errors == 0 && done >= options.count ? 0 : 2;
}

#else

int main(void) {
    fprintf(stderr, "built without liblwip-dev\n");
    return 69;
}

#endif
