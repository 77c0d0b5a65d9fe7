/* SPDX-License-Identifier: MIT
 *
 * The backend for poll(2).
 *
 * Facts:
 * - The kernel keeps no registrations: every call passes all descriptors, in one array without gaps.
 * - POLLERR, POLLHUP and POLLNVAL are reported with any mask, also an empty one (poll(2)).
 * - A closed descriptor is reported, by POLLNVAL.
 * - All descriptors that are ready are reported, in the order of the array.
 * - poll(2) counts in milliseconds. ppoll(2), which macOS does not have, counts in nanoseconds.
 *
 * Consequences:
 * - An index by descriptor finds the entries of the array. An entry is removed by moving the last one into its place.
 * - A wait works on a copy, because another thread may remove entries meanwhile. The lock guards the array, not the
 *   wait.
 * - Only apply writes generations. It runs in the thread that waits, so that they need no copy.
 * - If there is no room for all that is ready, the next wait begins to look where this one has stopped.
 */
#include "cyn_sys.h" /* first, for ppoll */

#include <errno.h>
#include <string.h>

#include "cyn_backend.h"

struct place {
    int at; /* place in `watched`, counted from 1; 0: none */
    uint32_t generation;
};

struct poll_state {
    pthread_mutex_t lock;
    struct pollfd *watched, *copy;
    int count, watched_room, copy_room;
    struct place *places; /* by descriptor */
    int place_room;
    int start; /* where the next wait begins to look */
};

unsigned cyn_from_poll(int revents) {
    return (revents & POLLIN ? CYN_READ : 0U) | (revents & POLLOUT ? CYN_WRITE : 0U) |
           (revents & POLLPRI ? CYN_PRI : 0U) | (revents & POLLERR ? CYN_ERR : 0U) |
           (revents & POLLHUP ? CYN_HUP : 0U) | (revents & POLLNVAL ? CYN_NVAL : 0U);
}

short cyn_to_poll(unsigned mask) {
    return (short)((mask & CYN_READ ? POLLIN : 0) | (mask & CYN_WRITE ? POLLOUT : 0) | (mask & CYN_PRI ? POLLPRI : 0));
}

static int poll_open(struct cyn_poller *p) {
    struct poll_state *s = CYN_SYS(calloc)(1, sizeof *s);
    if (!s)
        return -ENOMEM;
    s->lock = (pthread_mutex_t)PTHREAD_MUTEX_INITIALIZER;
    p->state = s;
    return 0;
}

/* The lock is not taken: in the child of a fork, a thread that is not there may hold it for ever. */
static void poll_close(struct cyn_poller *p) {
    struct poll_state *s = p->state;
    CYN_SYS(free)(s->watched);
    CYN_SYS(free)(s->copy);
    CYN_SYS(free)(s->places);
    CYN_SYS(free)(s);
}

static void forget(struct poll_state *s, int fd) {
    pthread_mutex_lock(&s->lock);
    if (fd < s->place_room && s->places[fd].at) {
        struct place *place = &s->places[fd];
        struct pollfd *last = &s->watched[--s->count];
        s->watched[place->at - 1] = *last;
        s->places[last->fd].at = place->at;
        place->at = 0;
    }
    pthread_mutex_unlock(&s->lock);
}

static int make_room(struct poll_state *s, int fd) {
    struct place *places = cyn_grow(s->places, &s->place_room, fd + 1, sizeof *places);
    if (!places)
        return -ENOMEM;
    s->places = places;
    struct pollfd *watched = cyn_grow(s->watched, &s->watched_room, s->count + 1, sizeof *watched);
    if (!watched)
        return -ENOMEM;
    s->watched = watched;
    struct pollfd *copy = cyn_grow(s->copy, &s->copy_room, s->watched_room, sizeof *copy);
    if (!copy)
        return -ENOMEM;
    s->copy = copy;
    return 0;
}

static int poll_set(struct cyn_poller *p, int fd, unsigned armed, unsigned wanted, uint32_t generation) {
    struct poll_state *s = p->state;
    (void)armed;
    if (!wanted) {
        forget(s, fd);
        return 0;
    }
    if (make_room(s, fd) < 0)
        return -ENOMEM;
    struct place *place = &s->places[fd];
    if (!place->at)
        place->at = ++s->count;
    s->watched[place->at - 1] = (struct pollfd){.fd = fd, .events = cyn_to_poll(wanted)};
    place->generation = generation;
    return 0;
}

/* Translates the entries of the copy that are ready: `ready` of `count`, or as many as there is room for. */
static int collect(struct poll_state *s, int count, int ready, struct cyn_event *out, int room) {
    int n = 0, at = s->start < count ? s->start : 0;
    for (int seen = 0; seen < count && n < ready && n < room; seen++) {
        const struct pollfd *entry = &s->copy[at];
        at = at + 1 < count ? at + 1 : 0;
        if (!entry->revents)
            continue;
        unsigned flags = cyn_from_poll(entry->revents);
        out[n++] = (struct cyn_event){
            .fd = entry->fd,
            .generation = s->places[entry->fd].generation,
            .ready = flags,
            .error = flags & CYN_NVAL ? EBADF : 0,
        };
        if (flags & CYN_NVAL)
            forget(s, entry->fd);
    }
    s->start = at;
    return n;
}

static int wait_kernel(struct poll_state *s, int count, int64_t timeout) {
#ifdef CYN_HAVE_PPOLL
    if (timeout > 0) {
        const struct timespec limit = cyn_to_timespec(timeout);
        return CYN_SYS(ppoll)(s->copy, (nfds_t)count, &limit, NULL);
    }
#endif
    return CYN_SYS(poll)(s->copy, (nfds_t)count, cyn_to_milliseconds(timeout));
}

static int poll_wait(struct cyn_poller *p, struct cyn_event *out, int room, int64_t timeout) {
    struct poll_state *s = p->state;
    pthread_mutex_lock(&s->lock);
    int count = s->count;
    if (count)
        memcpy(s->copy, s->watched, (size_t)count * sizeof *s->copy);
    pthread_mutex_unlock(&s->lock);
    int ready = wait_kernel(s, count, timeout);
    if (ready < 0)
        return -errno;
    return ready ? collect(s, count, ready, out, room) : 0;
}

static int poll_fd(const struct cyn_poller *p) {
    (void)p;
    return -ENOTSUP;
}

const struct cyn_backend cyn_poll_backend = {
    .name = "poll",
    .reports_closed = 1,
    .open = poll_open,
    .close = poll_close,
    .set = poll_set,
    .wait = poll_wait,
    .fd = poll_fd,
};
