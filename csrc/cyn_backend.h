/* SPDX-License-Identifier: MIT
 *
 * What a backend must supply: one kernel interface, translated. It decides nothing; cyn_poller.c does.
 */
#ifndef CYN_BACKEND_H
#define CYN_BACKEND_H

#include <limits.h>
#include <time.h>

#include "cyn_poller.h"

enum {
    CYN_UNKNOWN = 64, /* as an armed mask: anything or nothing may be registered, under any generation */
};

struct cyn_backend {
    const char *name;
    int reports_closed; /* does it tell (CYN_NVAL) when a registered descriptor was closed behind our back? */

    int (*open)(struct cyn_poller *p); /* sets p->state */
    void (*close)(struct cyn_poller *p);

    /* Makes room where wanted is not 0, so it belongs to the thread that applies; with 0 it also runs beside a wait that blocks.
     * Takes the kernel from `armed` to `wanted` (0: not registered). `armed` may be wrong, in either direction, after a
     * descriptor was closed or duplicated behind our back: the backend repairs what it can (ENOENT, EEXIST).
     * -EPERM: the kernel does not watch this kind of file because it is always ready. -ENOMEM, -ENOSPC: nothing or half of it
     * was done, and the poller tries again with CYN_UNKNOWN. */
    int (*set)(struct cyn_poller *p, int fd, unsigned armed, unsigned wanted, uint32_t generation);

    /* As cyn_poller_wait; touches no slot. What is reported with CYN_NVAL is no longer watched. An alarm that has fired is
     * no event: it is taken, and p->alarm is CYN_NEVER again. */
    int (*wait)(struct cyn_poller *p, struct cyn_event *out, int room, int64_t timeout);

    /* Sets the one alarm, or none (CYN_NEVER); `when` is above 0. After a failure it may be either. NULL: cannot. */
    int (*alarm)(struct cyn_poller *p, int64_t when);

    int (*fd)(const struct cyn_poller *p);
};

extern const struct cyn_backend cyn_epoll_backend, cyn_kqueue_backend, cyn_poll_backend, cyn_select_backend;

/* An array with room for `need` items of `size` bytes, the new ones zero, or NULL: the old one is untouched then. */
void *cyn_grow(void *array, int *room, int need, size_t size);

/* The flags of poll(2) in terms of ours, which select uses too; and back. */
unsigned cyn_from_poll(int revents);
short cyn_to_poll(unsigned mask);

/* A kernel takes no number of seconds beyond this for granted: three years, after which a wait ends early. */
enum { CYN_MOST_SECONDS = 100000000 };

static inline struct timespec cyn_to_timespec(int64_t nanoseconds) {
    int64_t seconds = nanoseconds / CYN_SECOND;
    seconds = seconds < CYN_MOST_SECONDS ? seconds : CYN_MOST_SECONDS;
    return (struct timespec){.tv_sec = (time_t)seconds, .tv_nsec = (long)(nanoseconds % CYN_SECOND)};
}

/* Rounded up, so that no wait ends before its time; 0 and -1 stay. */
static inline int cyn_to_milliseconds(int64_t nanoseconds) {
    int64_t whole = nanoseconds > 0 ? (nanoseconds - 1) / 1000000 + 1 : nanoseconds;
    return whole < INT_MAX ? (int)whole : INT_MAX;
}

#endif
