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

int martlet_reserve(int fd, int64_t start, int64_t count) {
    return fallocate(fd, FALLOC_FL_KEEP_SIZE, start, count) < 0 ? -errno : 0;
}

void martlet_end_reserve(int fd, int64_t size) {
    // Nothing is lost if that fails: the reserve stays with the file.
    int result = ftruncate(fd, size);
    (void)result;
}
