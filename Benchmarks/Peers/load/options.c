/*
 * The load generator's command line.
 */
#define _GNU_SOURCE
#include "PeerSupport.h"
#include "load.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char usage[] =
    "usage: load --port P [options]\n"
    "  --host A.B.C.D                    the server (127.0.0.1). Connections come from A.B.C.2 to A.B.C.250 in turn\n"
    "  --mode MODE                       echo: one message in flight on each connection; pipeline: --depth of them;\n"
    "                                    short: connect, one message, close; idle: only the idle connections;\n"
    "                                    send, receive: one connection that carries bytes one way, as fast as it goes\n"
    "  --connections N                   at a time (64)\n"
    "  --size N                          bytes of a message (64)\n"
    "  --depth N                         messages in flight on a connection in pipeline mode (16)\n"
    "  --idle N                          further connections that stay open and silent (0)\n"
    "  --seconds S                       length of the measured window (3)\n"
    "  --warmup S                        time before it (0.5)\n"
    "  --cpu N                           processor to stay on (-1: any)\n"
    "  --server-pid PID                  process whose processor time is to be measured\n"
    "  --server-cpu N                    processor the server is alone on, whose busy time is to be measured: it has in it what\n"
    "                                    the kernel does there for the server in threads and interrupts of its own\n"
    "  --counters 0|1                    count its instructions as well (0)\n";

static void fail(const char *argument) {
    fprintf(stderr, "load: cannot use %s\n%s", argument, usage);
    exit(64);
}

static enum mode parse_mode(const char *text) {
    static const char *const names[] = {"echo", "short", "pipeline", "idle", "send", "receive"};
    for (int i = 0; i < 6; i++) {
        if (strcmp(text, names[i]) == 0) {
            return (enum mode)i;
        }
    }
    fail(text);
    return MODE_ECHO;
}

static double parse_number(const char *text, double least, double most) {
    char *end;
    double number = strtod(text, &end);
    if (end == text || *end != '\0' || !(number >= least && number <= most)) {
        fail(text);
    }
    return number;
}

struct options parse_options(int argc, char **argv) {
    struct options options = {
        .mode = MODE_ECHO, .host = 0x7f000001, .cpu = -1, .connections = 64, .size = 64, .depth = 16, .server_cpu = -1,
        .seconds = 3, .warmup = 0.5,
    };
    const struct {
        const char *name;
        int *value;
        double least, most;
    } integers[] = {
        {"--port", &options.port, 1, 65535},
        {"--cpu", &options.cpu, -1, 1023},
        {"--connections", &options.connections, 1, 100000},
        {"--size", &options.size, 1, 16 * 1024 * 1024},
        {"--depth", &options.depth, 1, 1024},
        {"--idle", &options.idle, 0, 1000000},
        {"--server-pid", &options.server_pid, 1, 1 << 30},
        {"--server-cpu", &options.server_cpu, -1, 1023},
        {"--counters", &options.counters, 0, 1},
    };
    enum { INTEGERS = sizeof integers / sizeof *integers };
    for (int i = 1; i < argc; i += 2) {
        if (i + 1 == argc) {
            fail(argv[i]);
        }
        int known = 0;
        while (known < INTEGERS && strcmp(argv[i], integers[known].name) != 0) {
            known++;
        }
        if (known < INTEGERS) {
            *integers[known].value = (int)parse_number(argv[i + 1], integers[known].least, integers[known].most);
        } else if (strcmp(argv[i], "--host") == 0) {
            if (!peer_parse_address(argv[i + 1], &options.host)) {
                fail(argv[i + 1]);
            }
        } else if (strcmp(argv[i], "--mode") == 0) {
            options.mode = parse_mode(argv[i + 1]);
        } else if (strcmp(argv[i], "--seconds") == 0) {
            options.seconds = parse_number(argv[i + 1], 0.01, 86400);
        } else if (strcmp(argv[i], "--warmup") == 0) {
            options.warmup = parse_number(argv[i + 1], 0, 86400);
        } else {
            fail(argv[i]);
        }
    }
    if (options.port == 0) {
        fail("a command line without --port");
    }
    if (options.mode != MODE_PIPELINE) {
        options.depth = 1;
    }
    return options;
}
