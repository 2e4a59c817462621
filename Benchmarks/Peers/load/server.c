/*
 * What the kernel knows of the server: the processor time it has used and its resident memory; and the window in which that
 * is counted.
 */
#define _GNU_SOURCE
#include "PeerSupport.h"
#include "load.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

/* The process's own clock: unlike the sum over /proc/PID/task/… it keeps the time of threads that have ended. */
uint64_t server_processor_time(int pid) {
    clockid_t clock;
    struct timespec used;
    if (pid == 0) {
        return 0;
    }
    if (clock_getcpuclockid(pid, &clock) != 0 || clock_gettime(clock, &used) != 0) {
        fprintf(stderr, "load: there is no process %d to measure\n", pid);
        exit(1);
    }
    return (uint64_t)used.tv_sec * 1000000000u + (uint64_t)used.tv_nsec;
}

uint64_t processor_idle_time(int cpu) {
    if (cpu < 0) {
        return 0;
    }
    FILE *file = fopen("/proc/stat", "re");
    if (file == NULL) {
        peer_fail("/proc/stat", errno);
    }
    char line[512];
    while (fgets(line, sizeof line, file) != NULL) {
        int number;
        uint64_t idle, waiting, stolen; /* proc_stat(5): the fourth, fifth and eighth */
        if (sscanf(line, "cpu%d %*u %*u %*u %" SCNu64 " %" SCNu64 " %*u %*u %" SCNu64, &number, &idle, &waiting, &stolen) == 4
            && number == cpu) {
            fclose(file);
            return (idle + waiting + stolen) * (1000000000u / (uint64_t)sysconf(_SC_CLK_TCK));
        }
    }
    fprintf(stderr, "load: there is no processor %d to measure\n", cpu);
    exit(1);
}

uint64_t server_memory(int pid) {
    if (pid == 0) {
        return 0;
    }
    char path[64], line[256];
    snprintf(path, sizeof path, "/proc/%d/status", pid);
    FILE *file = fopen(path, "re");
    if (file == NULL) {
        perror(path);
        exit(1);
    }
    uint64_t kibibytes = 0;
    while (fgets(line, sizeof line, file) != NULL) {
        if (sscanf(line, "RssAnon: %" SCNu64 " kB", &kibibytes) == 1) {
            break;
        }
    }
    fclose(file);
    return kibibytes * 1024;
}

static uint64_t own_processor_time(void) {
    struct timespec used;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &used);
    return (uint64_t)used.tv_sec * 1000000000u + (uint64_t)used.tv_nsec;
}

void window_open(struct window *window, const struct options *options) {
    window->counters.count = 0;
    if (options->counters != 0 && options->server_pid != 0) {
        counters_open(&window->counters, options->server_pid);
    }
    window->own = own_processor_time();
    window->server = server_processor_time(options->server_pid);
    window->idle = processor_idle_time(options->server_cpu);
    counters_start(&window->counters);
    window->start = monotonic_nanoseconds();
}

void window_close(struct window *window, const struct options *options, struct result *result) {
    counters_stop(&window->counters, &result->server_instructions, &result->server_user_instructions);
    result->server_nanoseconds = server_processor_time(options->server_pid) - window->server;
    uint64_t idle = processor_idle_time(options->server_cpu) - window->idle;
    uint64_t passed = monotonic_nanoseconds() - window->start;
    result->seconds = (double)passed / 1e9;
    result->server_cpu_busy_nanoseconds = idle < passed ? passed - idle : 0;
    result->load_nanoseconds = own_processor_time() - window->own;
}
