#define _GNU_SOURCE
#include "martlet_file.h"

#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

int martlet_create_file(const char *path) {
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
    return fd < 0 ? -errno : fd;
}

int martlet_write_all(int fd, const void *bytes, size_t count) {
    while (count > 0) {
        ssize_t written = write(fd, bytes, count);
        if (written < 0 && errno == EINTR) continue;
        if (written <= 0) return written == 0 ? -EIO : -errno;
        bytes = (const char *)bytes + written;
        count -= (size_t)written;
    }
    return 0;
}
