/* SPDX-License-Identifier: MIT
 *
 * What a backend must supply: the translation of one kernel interface. It makes no decisions; cyn_poller.c makes them.
 */
#ifndef CYN_BACKEND_H
#define CYN_BACKEND_H

#include <limits.h>
#include <time.h>

#include "cyn_poller.h"

enum {
    CYN_UNKNOWN = 64, /* as an armed mask: the descriptor may be registered or not, with any mask and generation */
};

struct cyn_backend {
    const char *name;
    int reports_closed; /* 1 if a wait reports a registered descriptor that was closed without us (CYN_NVAL) */
    int changes_cost;   /* 1 if each change of the interest is a system call */

    int (*open)(struct cyn_poller *p); /* sets p->state */
    void (*close)(struct cyn_poller *p);

    /* Changes the registration in the kernel from `armed` to `wanted` (0: not registered). After a descriptor was
     * closed or duplicated without us, the kernel may have more or less than `armed`. The backend handles the errors
     * of that (ENOENT, EEXIST). -EPERM: the kernel does not watch this kind of file, because it is always ready.
     * -ENOMEM, -ENOSPC: nothing or a part was done, and the poller tries again with CYN_UNKNOWN.
     *
     * With wanted 0 it may run in another thread while a wait blocks. Otherwise arrays may grow, so it is called only
     * in the thread that applies and waits. */
    int (*set)(struct cyn_poller *p, int fd, unsigned armed, unsigned wanted, uint32_t generation);

    /* Does what cyn_poller_wait does, and reads no slot. A descriptor that is reported with CYN_NVAL is not watched any
     * more. An alarm that has fired is not reported as an event; p->alarm is then CYN_NEVER again. */
    int (*wait)(struct cyn_poller *p, struct cyn_event *out, int room, int64_t timeout);

    /* Sets the alarm to `when`, above 0, or removes it (CYN_NEVER). After a failure the old or the new one may be
     * set. The pointer is NULL if the backend has no alarm. */
    int (*alarm)(struct cyn_poller *p, int64_t when);

    int (*fd)(const struct cyn_poller *p);
};

extern const struct cyn_backend cyn_epoll_backend, cyn_kqueue_backend, cyn_poll_backend, cyn_select_backend;

/* Returns the array with room for `need` items of `size` bytes, the new ones zero. NULL: no memory; the old one
 * stays. */
void *cyn_grow(void *array, int *room, int need, size_t size);

/* Translates the flags of poll(2) to CYN_ flags, and back. select uses them too. */
unsigned cyn_from_poll(int revents);
short cyn_to_poll(unsigned mask);

/* Not every kernel accepts more seconds than this, three years. A longer wait ends early. */
enum { CYN_MOST_SECONDS = 100000000 };

static inline struct timespec cyn_to_timespec(int64_t nanoseconds) {
    int64_t seconds = nanoseconds / CYN_SECOND;
    seconds = seconds < CYN_MOST_SECONDS ? seconds : CYN_MOST_SECONDS;
    return (struct timespec){.tv_sec = (time_t)seconds, .tv_nsec = (long)(nanoseconds % CYN_SECOND)};
}

/* Rounds up, so that no wait ends early. 0 and -1 stay as they are. */
static inline int cyn_to_milliseconds(int64_t nanoseconds) {
    int64_t whole = nanoseconds > 0 ? (nanoseconds - 1) / 1000000 + 1 : nanoseconds;
    return whole < INT_MAX ? (int)whole : INT_MAX;
}

#endif
