/* SPDX-License-Identifier: MIT
 *
 * The backend for kqueue(2).
 *
 * Facts:
 * - Reading and writing are two filters of a descriptor, which are registered and reported separately.
 * - EV_ADD of a filter that is registered modifies it, and its udata. EV_DELETE of one that is not fails with ENOENT.
 * - Closing a descriptor ends its registrations, even if it was duplicated, and nothing is reported.
 * - With EV_RECEIPT the event list has the result of each change, with an errno in `data`. A system without it may
 *   return pending events there. They are level-triggered, so that a later call reports them again.
 * - A call that fails with EINTR has made its changes.
 * - A forked child does not inherit the queue. In it the number is free, or is another file.
 * - EVFILT_READ reports a regular file only while it is not at its end. poll(2) reports it always.
 * - EV_EOF comes for each direction: the peer sends no more (READ), or reads no more (WRITE). If the socket has an
 *   error, it is in `fflags`.
 * - A timer is a filter whose ident is no descriptor. Adding a timer that is registered does not restart it on all
 *   systems, and not all of them count in nanoseconds. A one-shot timer is removed when it is reported.
 * - Urgent data is a filter of its own (EVFILT_EXCEPT) on macOS and OpenBSD, and cannot be watched elsewhere.
 *
 * Consequences:
 * - Each change adds all filters that are wanted, not only the new ones. So a filter that ended when its descriptor was
 *   closed is registered again, and the generation in udata is always that of the slot.
 * - The filters of one descriptor are merged into one event, which is found by an array indexed by descriptor.
 * - Regular files are refused as always ready (EPERM), as epoll does.
 * - CYN_HUP is reported when both directions have EV_EOF.
 */
#include "cyn_backend.h"

#include <errno.h>

#include "cyn_sys.h"
#include "cyn_timers.h"

#ifdef CYN_HAVE_KQUEUE

#ifndef EV_RECEIPT
#define EV_RECEIPT 0
#endif

enum { BATCH = 256 };

static const struct {
    unsigned mask;
    int filter;
    unsigned fflags;
} filters[] = {
    {CYN_READ, EVFILT_READ, 0},
    {CYN_WRITE, EVFILT_WRITE, 0},
#if defined(EVFILT_EXCEPT) && defined(NOTE_OOB)
    {CYN_PRI, EVFILT_EXCEPT, NOTE_OOB},
#endif
};
enum { FILTERS = sizeof filters / sizeof *filters };

struct place {
    int at;        /* in the events of this wait; valid only if the event there is of this descriptor */
    unsigned ends; /* the directions of that event that had EV_EOF */
};

struct kqueue_state {
    int fd;
    struct place *places; /* by descriptor */
    int place_room;
    struct kevent batch[BATCH];
};

static int kqueue_open(struct cyn_poller *p) {
    struct kqueue_state *s = CYN_SYS(calloc)(1, sizeof *s);
    if (!s)
        return -ENOMEM;
    s->fd = CYN_SYS(kqueue)();
    if (s->fd < 0) {
        int rc = -errno;
        CYN_SYS(free)(s);
        return rc;
    }
    CYN_SYS(fcntl)(s->fd, F_SETFD, FD_CLOEXEC);
    p->state = s;
    return 0;
}

static void kqueue_close(struct cyn_poller *p) {
    struct kqueue_state *s = p->state;
    if (p->epoch == cyn_fork_epoch)
        CYN_SYS(close)(s->fd);
    CYN_SYS(free)(s->places);
    CYN_SYS(free)(s);
}

static unsigned mask_of(int filter) {
    for (int k = 0; k < FILTERS; k++)
        if (filters[k].filter == filter)
            return filters[k].mask;
    return 0;
}

static int is_regular(int fd) {
    struct stat about;
    return CYN_SYS(fstat)(fd, &about) == 0 && S_ISREG(about.st_mode);
}

/* Returns the first error of the changes, or 0. It is no failure if what was to be removed was not registered. */
static int first_error(const struct kevent *receipts, int count, unsigned wanted) {
    for (int i = 0; i < count; i++) {
        int error = receipts[i].flags & EV_ERROR ? (int)receipts[i].data : 0;
        int added = (wanted & mask_of((int)receipts[i].filter)) != 0;
        if (error && (added || (error != ENOENT && error != EBADF)))
            return -error;
    }
    return 0;
}

/* Lists the changes: adds all filters that are wanted, and deletes the others that may be registered. */
static int list_changes(struct kevent *changes, int fd, unsigned armed, unsigned wanted, uint32_t generation) {
    int count = 0;
    for (int k = 0; k < FILTERS; k++) {
        unsigned mask = filters[k].mask;
        if (!(wanted & mask) && !(armed & (mask | CYN_UNKNOWN)))
            continue;
        struct kevent *change = &changes[count++];
        EV_SET(change, (uintptr_t)fd, (__typeof__(change->filter))filters[k].filter,
               (wanted & mask ? EV_ADD : EV_DELETE) | EV_RECEIPT, filters[k].fflags, 0,
               (__typeof__(change->udata))(uintptr_t)generation);
    }
    return count;
}

static int make_room(struct kqueue_state *s, int fd) {
    struct place *places = cyn_grow(s->places, &s->place_room, fd + 1, sizeof *places);
    if (!places)
        return -ENOMEM;
    s->places = places;
    return 0;
}

static int kqueue_set(struct cyn_poller *p, int fd, unsigned armed, unsigned wanted, uint32_t generation) {
    struct kqueue_state *s = p->state;
    struct kevent changes[FILTERS], receipts[FILTERS];
    const struct timespec at_once = {0};
    if (wanted && !(armed & CYN_INTEREST) && is_regular(fd))
        return -EPERM;
    if (wanted && make_room(s, fd) < 0)
        return -ENOMEM;
    int count = list_changes(changes, fd, armed, wanted, generation);
    if (count == 0)
        return 0;
    int n = CYN_SYS(kevent)(s->fd, changes, (cyn_kevent_count)count, receipts, (cyn_kevent_count)count, &at_once);
    if (n < 0)
        return errno == EINTR ? 0 : -errno;
    return first_error(receipts, n, wanted);
}

/* Merges one event of the kernel into the n events so far. Returns how many there are now. */
static int merge(struct kqueue_state *s, const struct kevent *event, struct cyn_event *out, int n) {
    int fd = (int)event->ident;
    uint32_t generation = (uint32_t)(uintptr_t)event->udata;
    struct place *place = &s->places[fd];
    if (place->at >= n || out[place->at].fd != fd || out[place->at].generation != generation) {
        *place = (struct place){.at = n};
        out[n++] = (struct cyn_event){.fd = fd, .generation = generation};
    }
    unsigned mask = mask_of((int)event->filter);
    out[place->at].ready |= mask;
    if (event->flags & EV_EOF) {
        place->ends |= mask;
        if (event->fflags && mask != CYN_PRI)
            out[place->at].ready |= CYN_ERR;
        if ((place->ends & (CYN_READ | CYN_WRITE)) == (CYN_READ | CYN_WRITE))
            out[place->at].ready |= CYN_HUP;
    }
    return n;
}

static int kqueue_wait(struct cyn_poller *p, struct cyn_event *out, int room, int64_t timeout) {
    struct kqueue_state *s = p->state;
    const struct timespec limit = cyn_to_timespec(timeout);
    cyn_kevent_count most = (cyn_kevent_count)(room < BATCH ? room : BATCH);
    int got = CYN_SYS(kevent)(s->fd, NULL, 0, s->batch, most, timeout < 0 ? NULL : &limit);
    if (got < 0)
        return -errno;
    int n = 0;
    for (int i = 0; i < got; i++)
        if (s->batch[i].filter == EVFILT_TIMER)
            p->alarm = CYN_NEVER;
        else
            n = merge(s, &s->batch[i], out, n);
    return n;
}

static int kqueue_alarm(struct cyn_poller *p, int64_t when) {
    const struct kqueue_state *s = p->state;
    const struct timespec at_once = {0};
    struct kevent changes[2], receipts[2];
    int count = 1;
    EV_SET(&changes[0], 0, EVFILT_TIMER, EV_DELETE | EV_RECEIPT, 0, 0, 0);
    if (when != CYN_NEVER) {
        int64_t left = when - cyn_clock();
        left = left < 1 ? 1 : left; /* to some systems 0 means no timer */
#ifdef NOTE_NSECONDS
        EV_SET(&changes[count++], 0, EVFILT_TIMER, EV_ADD | EV_ONESHOT | EV_RECEIPT, NOTE_NSECONDS, left, 0);
#else
        EV_SET(&changes[count++], 0, EVFILT_TIMER, EV_ADD | EV_ONESHOT | EV_RECEIPT, 0, cyn_to_milliseconds(left), 0);
#endif
    }
    int n = CYN_SYS(kevent)(s->fd, changes, (cyn_kevent_count)count, receipts, (cyn_kevent_count)count, &at_once);
    if (n < 0)
        return errno == EINTR ? 0 : -errno;
    return first_error(receipts, n, 0);
}

static int kqueue_fd(const struct cyn_poller *p) {
    const struct kqueue_state *s = p->state;
    return s->fd;
}

const struct cyn_backend cyn_kqueue_backend = {
    .name = "kqueue",
    .open = kqueue_open,
    .close = kqueue_close,
    .set = kqueue_set,
    .wait = kqueue_wait,
    .alarm = kqueue_alarm,
    .fd = kqueue_fd,
};

#endif
