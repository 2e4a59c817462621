/*
 * The parts of the load generator: its options, the latency histogram, source addresses and message bytes, the
 * server's figures from the kernel, and the run itself.
 */
#ifndef LOAD_H
#define LOAD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum mode { MODE_ECHO, MODE_SHORT, MODE_PIPELINE, MODE_IDLE };

struct options {
    enum mode mode;
    int port;
    int cpu;         /* -1: not pinned */
    int connections; /* at a time */
    int size;        /* of a message, in bytes */
    int depth;       /* messages in flight on a connection; 1 but in pipeline mode */
    int idle;        /* connections that stay open beside the load */
    int server_pid;  /* 0: the server's processor time is not measured */
    int counters;    /* 1: count the server's instructions as well */
    double seconds;
    double warmup;
};

struct options parse_options(int argc, char **argv);

/* Latencies in nanoseconds, in buckets each 1/64 wider than the one before. */
enum { HISTOGRAM_BUCKETS = 64 * 59 };
struct histogram {
    uint64_t count;
    uint64_t buckets[HISTOGRAM_BUCKETS];
};

void histogram_record(struct histogram *histogram, uint64_t nanoseconds);
/* The middle of the bucket that holds the given share, from 0 to 1, of all values; 0 if there are none. */
double histogram_quantile(const struct histogram *histogram, double share);

uint64_t monotonic_nanoseconds(void);

/* Where a byte stream stands decides each of its bytes, so that what comes back can be checked by comparison. */
enum { STREAM_PERIOD = 251, STREAM_CHUNK = 64 * 1024 };
void stream_prepare(void);
/* The next STREAM_CHUNK bytes of a stream of which `position` have passed. */
const char *stream_bytes(uint64_t position);

/* A socket on its way from the next of the addresses 127.0.0.2 to 127.0.0.250 to the server, or -1 and errno. */
int connect_socket(int port, bool nonblocking);
/* Opens connections, each proved by one echoed byte, until one fails; fills `sockets`, returns how many are missing. */
int open_idle_connections(int port, int count, int *sockets);
/* How many of the connections the server has closed. */
int count_closed(const int *sockets, int count);

/* Processor time of all threads of the process, ended ones included, in nanoseconds; 0 if `pid` is 0. */
uint64_t server_processor_time(int pid);
/* Anonymous resident memory of the process, in bytes; 0 if `pid` is 0. */
uint64_t server_memory(int pid);

/* Counts the instructions of all threads of a process; all zero where the kernel does not let us. */
enum { COUNTED_THREADS = 64 };
struct counters {
    int count;
    int all[COUNTED_THREADS];
    int user[COUNTED_THREADS];
};
void counters_open(struct counters *counters, int pid);
void counters_start(const struct counters *counters);
void counters_stop(const struct counters *counters, uint64_t *all, uint64_t *user);

struct result {
    uint64_t requests;
    uint64_t errors;
    double seconds;
    uint64_t server_nanoseconds;
    uint64_t load_nanoseconds;
    uint64_t server_instructions;
    uint64_t server_user_instructions;
    struct histogram latencies;
};

/* Warms up, then measures for `options->seconds`. */
void run_load(const struct options *options, struct result *result);

#endif
