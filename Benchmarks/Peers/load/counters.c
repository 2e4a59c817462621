/*
 * Instructions the server retires, by the processor's own counters where the kernel lets us read them. They vary far
 * less than time does on a machine shared with others, but counting slows down every switch of threads: a run that
 * counts is not one that times.
 */
#define _GNU_SOURCE
#include "load.h"

#include <dirent.h>
#include <linux/perf_event.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>
#include <unistd.h>

static int open_counter(int thread, bool user_only) {
    struct perf_event_attr attributes;
    memset(&attributes, 0, sizeof attributes);
    attributes.type = PERF_TYPE_HARDWARE;
    attributes.size = sizeof attributes;
    attributes.config = PERF_COUNT_HW_INSTRUCTIONS;
    attributes.disabled = 1;
    attributes.inherit = 1; /* threads started later count as well */
    attributes.exclude_hv = 1;
    attributes.exclude_kernel = user_only;
    return (int)syscall(SYS_perf_event_open, &attributes, thread, -1, -1, PERF_FLAG_FD_CLOEXEC);
}

void counters_open(struct counters *counters, int pid) {
    char path[64];
    snprintf(path, sizeof path, "/proc/%d/task", pid);
    DIR *threads = opendir(path);
    counters->count = 0;
    if (threads == NULL) {
        return;
    }
    for (struct dirent *thread; (thread = readdir(threads)) != NULL;) {
        int id = atoi(thread->d_name);
        if (id > 0 && counters->count < COUNTED_THREADS) {
            int all = open_counter(id, false), user = open_counter(id, true);
            if (all < 0 || user < 0) {
                perror("perf_event_open");
                counters->count = 0;
                break;
            }
            counters->all[counters->count] = all;
            counters->user[counters->count++] = user;
        }
    }
    closedir(threads);
}

static void control(const struct counters *counters, unsigned long request) {
    for (int i = 0; i < counters->count; i++) {
        ioctl(counters->all[i], request, 0);
        ioctl(counters->user[i], request, 0);
    }
}

void counters_start(const struct counters *counters) {
    control(counters, PERF_EVENT_IOC_ENABLE);
}

static uint64_t value_of(int counter) {
    uint64_t value = 0;
    return read(counter, &value, sizeof value) == sizeof value ? value : 0;
}

void counters_stop(const struct counters *counters, uint64_t *all, uint64_t *user) {
    control(counters, PERF_EVENT_IOC_DISABLE);
    *all = *user = 0;
    for (int i = 0; i < counters->count; i++) {
        *all += value_of(counters->all[i]);
        *user += value_of(counters->user[i]);
    }
}
