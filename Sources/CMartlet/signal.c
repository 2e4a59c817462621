#define _GNU_SOURCE
#include "martlet_signal.h"

#include <errno.h>
#include <signal.h>
#include <stdint.h>
#include <string.h>
#include <unistd.h>

static volatile sig_atomic_t event_fds[NSIG];
static struct sigaction before[NSIG];

static int pending;

static void on_signal(int number) {
    int saved = errno;
    __atomic_store_n(&pending, number, __ATOMIC_SEQ_CST);
    uint64_t one = 1;
    ssize_t written = write(event_fds[number], &one, sizeof one);
    (void)written;
    errno = saved;
}

int martlet_signal_catch(int number, int event_fd) {
    if (number <= 0 || number >= NSIG) return -EINVAL;
    event_fds[number] = event_fd;
    struct sigaction action;
    memset(&action, 0, sizeof action);
    action.sa_handler = on_signal;
    action.sa_flags = SA_RESTART;
    return sigaction(number, &action, &before[number]) == 0 ? 0 : -errno;
}

int martlet_signal_take_pending(void) { return __atomic_exchange_n(&pending, 0, __ATOMIC_SEQ_CST); }

void martlet_signal_release(int number) {
    if (number > 0 && number < NSIG) sigaction(number, &before[number], NULL);
}
