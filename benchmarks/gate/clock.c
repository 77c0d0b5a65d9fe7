/* SPDX-License-Identifier: MIT
 *
 * The clock of a worker that is counted, as a library to be preloaded. Some of what a loop does depends on the time:
 * it looks for closed descriptors every 10 ms, and predicates get a share of its time. Under a counting tool, on a
 * busy machine, the time is random. So here it passes only when the clock is read, and when a wait ends without an
 * event.
 *
 * The waits still make their system calls, which are to be counted.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdarg.h>
#include <stdint.h>
#include <sys/epoll.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

enum { STEP = 10 /* ns */, MILLISECOND = 1000000 };

static int64_t now = 1000000000000;
static long (*call)(long, ...); /* the C library's syscall */

__attribute__((constructor)) static void find_call(void) {
    call = (long (*)(long, ...))dlsym(RTLD_NEXT, "syscall");
}

int clock_gettime(clockid_t clock, struct timespec *time) {
    if (clock != CLOCK_MONOTONIC)
        return (int)call(SYS_clock_gettime, clock, time);
    now += STEP;
    time->tv_sec = now / 1000000000;
    time->tv_nsec = now % 1000000000;
    return 0;
}

int epoll_wait(int fd, struct epoll_event *events, int room, int timeout) {
#ifdef SYS_epoll_wait
    int count = (int)call(SYS_epoll_wait, fd, events, room, timeout);
#else
    int count = (int)call(SYS_epoll_pwait, fd, events, room, timeout, NULL, sizeof(uint64_t));
#endif
    if (count == 0 && timeout > 0)
        now += (int64_t)timeout * MILLISECOND;
    return count;
}

/* The C library may be older than epoll_pwait2, and so cyncore makes that call by its number. */
long syscall(long number, ...) {
    va_list rest;
    long a[6];
    va_start(rest, number);
    for (int i = 0; i < 6; i++)
        a[i] = va_arg(rest, long);
    va_end(rest);
    if (!call)
        find_call(); /* the constructor of another library ran first */
    long result = call(number, a[0], a[1], a[2], a[3], a[4], a[5]);
#ifdef SYS_epoll_pwait2
    const int64_t *limit = (const int64_t *)a[3]; /* seconds, nanoseconds */
    if (number == SYS_epoll_pwait2 && result == 0 && limit)
        now += limit[0] * 1000000000 + limit[1];
#endif
    return result;
}
