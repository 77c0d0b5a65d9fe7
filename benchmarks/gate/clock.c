/* SPDX-License-Identifier: MIT
 *
 * The clock of a worker that is counted; preloaded. What a loop does depends on the time in places (it looks for closed
 * descriptors every 10 ms, predicates get a share of its time), and under a counting tool on a busy machine time is chance.
 * So here time passes only when somebody asks for it, and when a wait ends for want of events.
 *
 * The system call is still made: it is to be counted.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <signal.h>
#include <stdint.h>
#include <sys/epoll.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

enum { STEP = 10 /* ns */, MILLISECOND = 1000000 };

static int64_t now = 1000000000000;

int clock_gettime(clockid_t clock, struct timespec *time) {
    if (clock != CLOCK_MONOTONIC)
        return (int)syscall(SYS_clock_gettime, clock, time);
    now += STEP;
    time->tv_sec = now / 1000000000;
    time->tv_nsec = now % 1000000000;
    return 0;
}

int epoll_wait(int fd, struct epoll_event *events, int room, int timeout) {
#ifdef SYS_epoll_wait
    int count = (int)syscall(SYS_epoll_wait, fd, events, room, timeout);
#else
    int count = (int)syscall(SYS_epoll_pwait, fd, events, room, timeout, NULL, sizeof(uint64_t));
#endif
    if (count == 0 && timeout > 0)
        now += (int64_t)timeout * MILLISECOND;
    return count;
}

int epoll_pwait2(int fd, struct epoll_event *events, int room, const struct timespec *timeout, const sigset_t *mask) {
#ifdef SYS_epoll_pwait2
    int count = (int)syscall(SYS_epoll_pwait2, fd, events, room, timeout, mask, mask ? _NSIG / 8 : 0);
#else
    int count = -1;
    errno = ENOSYS;
#endif
    if (count == 0 && timeout)
        now += (int64_t)timeout->tv_sec * 1000000000 + timeout->tv_nsec;
    return count;
}
