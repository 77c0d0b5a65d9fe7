/* SPDX-License-Identifier: MIT
 *
 * Makes a descriptor readable, to end the wait of another thread.
 *
 * Facts:
 * - An eventfd is a counter with one descriptor. A write adds to it, and a read of eight bytes sets it to 0. A write
 *   that would overflow it fails with EAGAIN (eventfd(2)).
 * - A write to a full pipe fails with EAGAIN too. A pipe may take several reads until it is empty.
 * - A sandbox may have no eventfd (ENOSYS), so that the pipe is also needed on Linux.
 * - write(2) is async-signal-safe, but it sets errno, which the interrupted code may be about to read.
 * - After fork both processes hold the same counter: the child opens a wake of its own.
 */
#include "cyn_wake.h"

#include <errno.h>
#include <stdint.h>

#include "cyn_sys.h"

static int set_flags(int fd) {
    int flags = CYN_SYS(fcntl)(fd, F_GETFL);
    if (flags < 0 || CYN_SYS(fcntl)(fd, F_SETFL, flags | O_NONBLOCK) < 0 || CYN_SYS(fcntl)(fd, F_SETFD, FD_CLOEXEC) < 0)
        return -errno;
    return 0;
}

static int open_pipe(struct cyn_wake *w) {
    int ends[2];
    if (CYN_SYS(pipe)(ends) < 0)
        return -errno;
    w->read_fd = ends[0];
    w->write_fd = ends[1];
    int rc = set_flags(ends[0]);
    if (rc == 0)
        rc = set_flags(ends[1]);
    if (rc < 0)
        cyn_wake_close(w);
    return rc;
}

int cyn_wake_open(struct cyn_wake *w) {
    w->read_fd = w->write_fd = -1;
#ifdef CYN_HAVE_EVENTFD
    int fd = CYN_SYS(eventfd)(0, EFD_NONBLOCK | EFD_CLOEXEC);
    if (fd >= 0) {
        w->read_fd = w->write_fd = fd;
        return 0;
    }
    if (errno != ENOSYS && errno != EINVAL)
        return -errno;
#endif
    return open_pipe(w);
}

void cyn_wake_close(struct cyn_wake *w) {
    if (w->read_fd >= 0)
        CYN_SYS(close)(w->read_fd);
    if (w->write_fd >= 0 && w->write_fd != w->read_fd)
        CYN_SYS(close)(w->write_fd);
    w->read_fd = w->write_fd = -1;
}

int cyn_wake_signal(const struct cyn_wake *w) {
    const uint64_t one = 1;
    size_t size = w->read_fd == w->write_fd ? sizeof one : 1;
    int before = errno, rc = 0;
    ssize_t n;
    do
        n = CYN_SYS(write)(w->write_fd, &one, size);
    while (n < 0 && errno == EINTR);
    if (n < 0 && errno != EAGAIN && errno != EWOULDBLOCK)
        rc = -errno;
    errno = before;
    return rc;
}

int cyn_wake_drain(const struct cyn_wake *w) {
    char taken[512];
    for (;;) {
        ssize_t n = CYN_SYS(read)(w->read_fd, taken, sizeof taken);
        if (n >= 0 && n < (ssize_t)sizeof taken)
            return 0;
        if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK))
            return 0;
        if (n < 0 && errno != EINTR)
            return -errno;
    }
}
