/*
 * load: a closed-loop load generator for echo servers, in one thread on one processor. Prints one JSON object with
 * what it measured: throughput, latencies, errors, and, given --server-pid, the server's processor time a request and
 * the memory it holds for an idle connection.
 */
#define _GNU_SOURCE
#include "PeerSupport.h"
#include "load.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

static void print_json(const struct options *options, const struct result *result, double memory) {
    double requests = (double)result->requests, nanoseconds = result->seconds * 1e9;
    printf("{\"requests\": %" PRIu64 ", \"seconds\": %.6f", result->requests, result->seconds);
    printf(", \"requests_per_second\": %.1f", requests / result->seconds);
    printf(", \"bytes_per_second\": %.1f", (double)result->bytes / result->seconds);
    printf(", \"errors\": %" PRIu64, result->errors);
    printf(", \"p50_us\": %.3f", histogram_quantile(&result->latencies, 0.5) / 1000);
    printf(", \"p99_us\": %.3f", histogram_quantile(&result->latencies, 0.99) / 1000);
    printf(", \"p999_us\": %.3f", histogram_quantile(&result->latencies, 0.999) / 1000);
    printf(", \"load_cpu_share\": %.6f", (double)result->load_nanoseconds / nanoseconds);
    if (options->server_pid != 0) {
        printf(", \"server_cpu_share\": %.6f", (double)result->server_nanoseconds / nanoseconds);
        if (result->requests > 0) {
            printf(", \"server_cpu_ns_per_request\": %.1f", (double)result->server_nanoseconds / requests);
        }
        if (result->requests > 0 && result->server_instructions > 0) {
            printf(", \"server_instructions_per_request\": %.1f", (double)result->server_instructions / requests);
            printf(
                ", \"server_user_instructions_per_request\": %.1f",
                (double)result->server_user_instructions / requests);
        }
        if (options->idle > 0) {
            printf(", \"server_bytes_per_idle_connection\": %.1f", memory / options->idle);
        }
    }
    if (options->server_cpu >= 0 && result->requests > 0) {
        printf(", \"processor_ns_per_request\": %.1f", (double)result->server_cpu_busy_nanoseconds / requests);
    }
    printf("}\n");
}

int main(int argc, char **argv) {
    struct options options = parse_options(argc, argv);
    peer_raise_file_limit();
    peer_pin(options.cpu);
    stream_prepare();

    int *idle = calloc((size_t)options.idle + 1, sizeof *idle);
    struct result *result = calloc(1, sizeof *result);
    if (idle == NULL || result == NULL) {
        peer_fail("calloc", ENOMEM);
    }
    double memory = -(double)server_memory(options.server_pid);
    int failures = open_idle_connections(&options, idle);
    memory += (double)server_memory(options.server_pid);

    (options.mode == MODE_SEND || options.mode == MODE_RECEIVE ? run_bulk : run_load)(&options, result);
    result->errors += (uint64_t)failures + (uint64_t)count_closed(idle, options.idle);
    print_json(&options, result, memory);
    return result->errors == 0 ? 0 : 2;
}
