/*
 * What the kernel knows of the server: the processor time it has used and its resident memory.
 */
#define _GNU_SOURCE
#include "load.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

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
