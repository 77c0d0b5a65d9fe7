/* SPDX-License-Identifier: MIT
 *
 * kqueue(2), translated.
 *
 * Facts:
 * - Reading and writing are two filters of a descriptor, registered apart and reported apart.
 * - EV_ADD of what is there modifies it, its udata too. EV_DELETE of what is not there says ENOENT.
 * - Closing the descriptor ends its registrations, whether or not a dup lives on; nothing is reported.
 * - EV_RECEIPT makes each change answer in the event list, errno in `data`. Where it is not known, pending events may come
 *   back in those places: they are level-triggered, so a later call reports them again.
 * - A call that fails with EINTR has made its changes.
 * - The queue is not inherited by a forked child: there the number is free, or somebody else's.
 * - EVFILT_READ reports a regular file only while it is not at its end, where poll says ready always.
 * - EV_EOF comes per direction: the peer has sent all (READ), or nobody will take what we send (WRITE). The error of the
 *   socket, if any, is in `fflags`.
 * - A timer is a filter whose idents are no descriptors. Adding one that is there does not start it anew everywhere, nor can
 *   every system say nanoseconds; once read, a one-shot timer is gone.
 * - Urgent data is a filter of its own (EVFILT_EXCEPT) on macOS and OpenBSD, and cannot be watched elsewhere.
 *
 * Consequences:
 * - Each change names every filter that is wanted, not only the new ones, so one that vanished with a closed descriptor
 *   comes back and the generation in udata is always this one's.
 * - The filters of one descriptor are merged into one event, found through an array indexed by descriptor.
 * - Regular files are called always ready (EPERM), as epoll does.
 * - HUP is what both directions say.
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
    int at;        /* in the events of the wait going on: a guess, right if that event is of this descriptor */
    unsigned ends; /* the directions that said EV_EOF, of that event */
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

/* Removing what is not there is no failure. */
static int first_error(const struct kevent *receipts, int count, unsigned wanted) {
    for (int i = 0; i < count; i++) {
        int error = receipts[i].flags & EV_ERROR ? (int)receipts[i].data : 0;
        int added = (wanted & mask_of(receipts[i].filter)) != 0;
        if (error && (added || (error != ENOENT && error != EBADF)))
            return -error;
    }
    return 0;
}

/* What to say of each filter: add all that are wanted, delete those that are not and may be there. */
static int list_changes(struct kevent *changes, int fd, unsigned armed, unsigned wanted, uint32_t generation) {
    int count = 0;
    for (int k = 0; k < FILTERS; k++) {
        unsigned mask = filters[k].mask;
        if (!(wanted & mask) && !(armed & (mask | CYN_UNKNOWN)))
            continue;
        struct kevent *change = &changes[count++];
        EV_SET(change, (uintptr_t)fd, filters[k].filter, (wanted & mask ? EV_ADD : EV_DELETE) | EV_RECEIPT,
               filters[k].fflags, 0, (__typeof__(change->udata))(uintptr_t)generation);
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
    int n = CYN_SYS(kevent)(s->fd, changes, count, receipts, count, &at_once);
    if (n < 0)
        return errno == EINTR ? 0 : -errno;
    return first_error(receipts, n, wanted);
}

/* Merges one kernel event into the n events so far; returns how many there are now. */
static int merge(struct kqueue_state *s, const struct kevent *event, struct cyn_event *out, int n) {
    int fd = (int)event->ident;
    uint32_t generation = (uint32_t)(uintptr_t)event->udata;
    struct place *place = &s->places[fd];
    if (place->at >= n || out[place->at].fd != fd || out[place->at].generation != generation) {
        *place = (struct place){.at = n};
        out[n++] = (struct cyn_event){.fd = fd, .generation = generation};
    }
    unsigned mask = mask_of(event->filter);
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
    int got = CYN_SYS(kevent)(s->fd, NULL, 0, s->batch, room < BATCH ? room : BATCH, timeout < 0 ? NULL : &limit);
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
        left = left < 1 ? 1 : left; /* a system may take 0 for no timer, or for its shortest */
#ifdef NOTE_NSECONDS
        EV_SET(&changes[count++], 0, EVFILT_TIMER, EV_ADD | EV_ONESHOT | EV_RECEIPT, NOTE_NSECONDS, left, 0);
#else
        EV_SET(&changes[count++], 0, EVFILT_TIMER, EV_ADD | EV_ONESHOT | EV_RECEIPT, 0, cyn_to_milliseconds(left), 0);
#endif
    }
    int n = CYN_SYS(kevent)(s->fd, changes, count, receipts, count, &at_once);
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
