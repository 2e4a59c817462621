/*
 * The parts of the load generator: its options, the latency histogram, source addresses and message bytes, the
 * server's figures from the kernel, and the run itself.
 */
#ifndef LOAD_H
#define LOAD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum mode { MODE_ECHO, MODE_SHORT, MODE_PIPELINE, MODE_IDLE, MODE_SEND, MODE_RECEIVE };

struct options {
    enum mode mode;
    uint32_t host; /* IPv4, in the host's order; 127.0.0.1 if none is given */
    int port;
    int cpu;         /* -1: not pinned */
    int connections; /* at a time */
    int size;        /* of a message, in bytes */
    int depth;       /* messages in flight on a connection; 1 but in pipeline mode */
    int idle;        /* connections that stay open beside the load */
    int server_pid;  /* 0: the server's processor time is not measured */
    int server_cpu;  /* -1: nor is what keeps its processor busy */
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

/*
 * A socket on its way to the server from the next of the addresses that share its first three bytes and end in 2 to 250, which
 * must be this host's; or -1 and errno.
 */
int connect_socket(const struct options *options, bool nonblocking);
/* Opens the idle connections, each proved by one echoed byte, until one fails; fills `sockets`, returns how many are missing. */
int open_idle_connections(const struct options *options, int *sockets);
/* How many of the connections the server has closed. */
int count_closed(const int *sockets, int count);

/* Processor time of all threads of the process, ended ones included, in nanoseconds; 0 if `pid` is 0. */
uint64_t server_processor_time(int pid);
/*
 * For how long a processor had nothing to do since the machine started, or did something for another guest of its host; in
 * nanoseconds, counted in hundredths of a second; 0 if `cpu` is -1.
 */
uint64_t processor_idle_time(int cpu);
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
    uint64_t bytes; /* one way */
    uint64_t errors;
    double seconds;
    uint64_t server_nanoseconds;
    /* Of the server's processor, for whatever it worked: its process, the kernel's threads, interrupts. */
    uint64_t server_cpu_busy_nanoseconds;
    uint64_t load_nanoseconds;
    uint64_t server_instructions;
    uint64_t server_user_instructions;
    struct histogram latencies;
};

/* What is counted while a run is measured: time, and the processor time of both sides. */
struct window {
    uint64_t start, own, server, idle;
    struct counters counters;
};
void window_open(struct window *window, const struct options *options);
void window_close(struct window *window, const struct options *options, struct result *result);

/* Warms up, then measures for `options->seconds`. */
void run_load(const struct options *options, struct result *result);
/* The same for MODE_SEND and MODE_RECEIVE. */
void run_bulk(const struct options *options, struct result *result);

#endif
