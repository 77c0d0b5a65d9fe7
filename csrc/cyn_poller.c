/* SPDX-License-Identifier: MIT
 *
 * The slots, and the differences between what their owners want and what the kernel was given. The kernel interfaces
 * are in the backends.
 *
 * Facts:
 * - A descriptor number may be reused right after close(2), when events of the closed descriptor are still queued.
 * - A registration may end without us (the descriptor was closed) or stay without us (it was duplicated before).
 * - A process may fork at any time, and the child must not use the parent's registrations.
 * - The kernel may be out of memory, or the user may have used up all watches. Both may pass.
 * - A socket can nearly always be written. A program that keeps its output in a list wants to write after each read,
 *   and nothing any more after the write. Told to epoll, this takes two system calls for each message.
 *
 * Consequences:
 * - The generation of a slot grows whenever its owner changes, and every event has the generation of its registration.
 * - `armed` may be wrong. After a takeover or a failure it is CYN_UNKNOWN, which no wanted mask equals, so that the
 *   next apply gives the kernel the wanted mask in any case.
 * - A change that failed for want of memory or watches stays on the dirty list with an unknown `armed`, and waits are
 *   short until it is made.
 * - A descriptor is on the dirty list at most once, by a flag, and the list has room for all slots. So memory can
 *   only be missing when the array of slots grows.
 * - A slot on the always-ready list has armed == wanted, although it is not registered in the kernel.
 * - A ghost is an event that no slot has registered: its registration has outlived the descriptor number. Only a new
 *   backend ends it, as after a fork.
 * - A slot that was tried stays on the dirty list with its old `armed`, so that each apply tries it anew, until nothing
 *   is wanted or it cannot be written. A new try forgets what the one before has found. One time in sixteen the kernel
 *   is told all the same, because that repairs a registration that has ended without us.
 * - Only apply and wait change `always`, `early` and `failed`, which hold copies of events. So a wait that may
 *   block reads no slot. One with timeout 0 does, and makes one event of what can be read and was found writable.
 */
#include "cyn_poller.h"

#include <errno.h>
#include <limits.h>
#include <string.h>

#include "cyn_backend.h"
#include "cyn_probe.h"
#include "cyn_slots.h"
#include "cyn_sys.h"

enum { FIRST_ROOM = 16, TRIES = 16, HIGH_FD = 65536, RETRY = 100000000 /* nanoseconds */ };

unsigned cyn_fork_epoch;

static pthread_once_t fork_once = PTHREAD_ONCE_INIT;
static int fork_watch_rc;

const char *const cyn_poller_names[] = {
#ifdef CYN_HAVE_EPOLL
    "epoll",
#endif
#ifdef CYN_HAVE_KQUEUE
    "kqueue",
#endif
    "poll",   "select", NULL,
};

static const struct cyn_backend *const backends[] = {
#ifdef CYN_HAVE_EPOLL
    &cyn_epoll_backend,
#endif
#ifdef CYN_HAVE_KQUEUE
    &cyn_kqueue_backend,
#endif
    &cyn_poll_backend,   &cyn_select_backend, NULL,
};

void *cyn_grow(void *array, int *room, int need, size_t size) {
    if (need <= *room)
        return array;
    int more = *room > INT_MAX / 2 ? INT_MAX : *room * 2;
    more = more < FIRST_ROOM ? FIRST_ROOM : more;
    more = more < need ? need : more;
    if ((size_t)more > SIZE_MAX / size)
        return NULL;
    char *grown = CYN_SYS(realloc)(array, (size_t)more * size);
    if (!grown)
        return NULL;
    memset(grown + (size_t)*room * size, 0, (size_t)(more - *room) * size);
    *room = more;
    return grown;
}

static void count_fork(void) {
    cyn_fork_epoch++;
}

static void watch_forks(void) {
    fork_watch_rc = -pthread_atfork(NULL, NULL, count_fork);
}

static int open_backend(struct cyn_poller *p) {
    int rc = p->backend->open(p);
    if (rc == 0)
        p->epoch = cyn_fork_epoch;
    return rc;
}

int cyn_poller_open(struct cyn_poller *p, const char *name) {
    *p = (struct cyn_poller){.alarm = CYN_NEVER};
    pthread_once(&fork_once, watch_forks);
    if (fork_watch_rc < 0)
        return fork_watch_rc;
    for (int i = 0; backends[i] && !p->backend; i++)
        if (!name || strcmp(name, cyn_poller_names[i]) == 0)
            p->backend = backends[i];
    return p->backend ? open_backend(p) : -EINVAL;
}

void cyn_poller_close(struct cyn_poller *p) {
    if (p->state)
        p->backend->close(p);
    CYN_SYS(free)(p->slots);
    CYN_SYS(free)(p->dirty);
    CYN_SYS(free)(p->always);
    CYN_SYS(free)(p->failed);
    CYN_SYS(free)(p->tried);
    CYN_SYS(free)(p->early);
    *p = (struct cyn_poller){0};
}

static void mark_dirty(struct cyn_poller *p, int fd) {
    if (p->slots[fd].flags & CYN_SLOT_DIRTY)
        return;
    p->slots[fd].flags |= CYN_SLOT_DIRTY;
    p->dirty[p->dirty_count++] = fd;
}

/* Checks both arrays, since an earlier call may have had memory for the slots only. */
static int grow_map(struct cyn_poller *p, int fd) {
    if (fd < p->slot_count && p->slot_count <= p->dirty_room)
        return 0;
    if (fd == INT_MAX || (fd >= HIGH_FD && CYN_SYS(fcntl)(fd, F_GETFD) < 0))
        return -EBADF;
    struct cyn_slot *slots = cyn_grow(p->slots, &p->slot_count, fd + 1, sizeof *slots);
    if (!slots)
        return -ENOMEM;
    p->slots = slots;
    int *dirty = cyn_grow(p->dirty, &p->dirty_room, p->slot_count, sizeof *dirty);
    if (!dirty)
        return -ENOMEM;
    p->dirty = dirty;
    return 0;
}

int cyn_poller_add(struct cyn_poller *p, int fd, void *owner) {
    if (fd < 0)
        return -EBADF;
    if (!owner)
        return -EINVAL;
    int rc = grow_map(p, fd);
    if (rc < 0)
        return rc;
    struct cyn_slot *slot = &p->slots[fd];
    int known = !slot->armed || slot->flags & CYN_SLOT_ALWAYS;
    slot->armed = known ? 0 : CYN_UNKNOWN;
    slot->owner = owner;
    slot->generation++;
    slot->wanted = 0;
    slot->flags &= CYN_SLOT_DIRTY;
    if (!known)
        mark_dirty(p, fd);
    return 0;
}

int cyn_poller_want(struct cyn_poller *p, int fd, unsigned mask) {
    struct cyn_slot *slot = cyn_slot_at(p, fd);
    if (!slot)
        return -ENOENT;
    mask &= CYN_INTEREST;
    if (slot->wanted == mask)
        return 0;
    slot->wanted = (uint8_t)mask;
    mark_dirty(p, fd);
    return 0;
}

int cyn_poller_remove(struct cyn_poller *p, int fd) {
    struct cyn_slot *slot = cyn_slot_at(p, fd);
    if (!slot)
        return -ENOENT;
    if (slot->armed && !(slot->flags & CYN_SLOT_ALWAYS) && p->epoch == cyn_fork_epoch)
        p->backend->set(p, fd, slot->armed, 0, slot->generation);
    slot->owner = NULL;
    slot->generation++;
    slot->wanted = slot->armed = 0;
    slot->flags &= CYN_SLOT_DIRTY;
    return 0;
}

/* Opens a new backend of that kind with the alarm set, closes the old one, and marks all slots to be registered by
 * apply. If it fails, the old backend stays. A slot that wants something but has nothing armed was reported as closed,
 * and is left out. */
static int reopen(struct cyn_poller *p, const struct cyn_backend *backend) {
    struct cyn_poller old = *p;
    p->backend = backend;
    int rc = open_backend(p);
    if (rc == 0 && p->alarm > 0 && p->alarm != CYN_NEVER) {
        rc = p->backend->alarm(p, p->alarm);
        if (rc < 0)
            p->backend->close(p);
    }
    if (rc < 0) {
        p->backend = old.backend;
        p->state = old.state;
        p->epoch = old.epoch;
        return rc;
    }
    old.backend->close(&old);
    p->ghosts = p->always_count = 0;
    for (int fd = 0; fd < p->slot_count; fd++) {
        struct cyn_slot *slot = &p->slots[fd];
        if (!slot->owner)
            continue;
        if (slot->armed)
            mark_dirty(p, fd);
        slot->armed = 0;
        slot->flags &= CYN_SLOT_DIRTY;
    }
    return 0;
}

static int note(struct cyn_event **list, int *count, int *room, struct cyn_event event) {
    struct cyn_event *grown = cyn_grow(*list, room, *count + 1, sizeof *grown);
    if (!grown)
        return -ENOMEM;
    *list = grown;
    grown[(*count)++] = event;
    return 0;
}

static int note_failed(struct cyn_poller *p, int fd, struct cyn_slot *slot, int rc) {
    struct cyn_event event = {fd, slot->generation, CYN_NVAL, -rc};
    if (note(&p->failed, &p->failed_count, &p->failed_room, event) < 0)
        return -ENOMEM;
    slot->armed = rc == -EBADF ? 0 : CYN_UNKNOWN;
    slot->flags &= CYN_SLOT_DIRTY;
    return 0;
}

static int note_always(struct cyn_poller *p, int fd, struct cyn_slot *slot) {
    struct cyn_event event = {.fd = fd, .generation = slot->generation};
    if (note(&p->always, &p->always_count, &p->always_room, event) < 0)
        return -ENOMEM;
    slot->armed = slot->wanted;
    slot->flags |= CYN_SLOT_ALWAYS;
    return 0;
}

/* 1: the change was made; 0: there was none, or it failed and the next wait reports that; -errno: to be tried again. */
static int apply(struct cyn_poller *p, int fd) {
    struct cyn_slot *slot = cyn_slot_at(p, fd);
    if (!slot || slot->wanted == slot->armed)
        return 0;
    int rc = 0;
    if (!(slot->flags & CYN_SLOT_ALWAYS))
        rc = p->backend->set(p, fd, slot->armed, slot->wanted, slot->generation);
    if (rc == -EPERM && slot->wanted)
        return note_always(p, fd, slot) < 0 ? -ENOMEM : 1;
    if (rc < 0 && rc != -ENOMEM && rc != -ENOSPC)
        return note_failed(p, fd, slot, rc);
    slot->armed = rc < 0 ? CYN_UNKNOWN : slot->wanted;
    return rc < 0 ? rc : 1;
}

/* Applies one of the dirty ones, and keeps it on the list if that must be tried again. Returns 1 if it was changed. */
static int apply_one(struct cyn_poller *p, int fd, int *kept) {
    int rc = apply(p, fd);
    if (rc < 0) {
        p->dirty[(*kept)++] = fd;
        p->refusal = -rc;
        p->refused_fd = fd;
        return 0;
    }
    p->slots[fd].flags &= (uint8_t)~CYN_SLOT_DIRTY;
    return rc;
}

/* Puts it among those to be tried, if nothing is new but that it wants to write. Without memory nothing is tried. */
static int may_try(struct cyn_poller *p, int fd, int count) {
    const struct cyn_slot *slot = cyn_slot_at(p, fd);
    if (!slot || slot->armed & CYN_WRITE || slot->wanted != (slot->armed | CYN_WRITE) || slot->flags & CYN_SLOT_ALWAYS)
        return 0;
    struct pollfd *grown = cyn_grow(p->tried, &p->tried_room, count + 1, sizeof *grown);
    if (!grown)
        return 0;
    p->tried = grown;
    grown[count] = (struct pollfd){.fd = fd, .events = POLLOUT};
    return 1;
}

/* The first of the dirty list are those that were put among the tried ones, and those that the kernel refused. */
static int take_tried(struct cyn_poller *p, int count) {
    int changes = 0, kept = 0, first = p->dirty_count, at = 0;
    if (CYN_SYS(poll)(p->tried, (nfds_t)count, 0) < 0)
        for (int i = 0; i < count; i++)
            p->tried[i].revents = 0;
    for (int i = 0; i < first; i++) {
        int fd = p->dirty[i];
        if (at == count || p->tried[at].fd != fd) {
            p->dirty[kept++] = fd;
            continue;
        }
        unsigned ready = cyn_from_poll(p->tried[at++].revents);
        struct cyn_event event = {fd, p->slots[fd].generation, ready, 0};
        if (ready & CYN_WRITE && note(&p->early, &p->early_count, &p->early_room, event) == 0) {
            p->slots[fd].flags |= CYN_SLOT_EARLY;
            p->dirty[kept++] = fd;
        } else {
            changes += apply_one(p, fd, &kept);
        }
    }
    p->dirty_count = kept;
    return changes;
}

static int apply_dirty(struct cyn_poller *p) {
    int changes = 0, kept = 0, tried = 0, tries = p->tries && p->backend->changes_cost;
    tries = tries && ++p->times_tried % TRIES;
    p->early_count = 0; /* those are dirty still */
    p->refusal = 0;
    for (int i = 0; i < p->dirty_count; i++) {
        int fd = p->dirty[i];
        p->slots[fd].flags &= (uint8_t)~CYN_SLOT_EARLY;
        if (tries && may_try(p, fd, tried)) {
            p->dirty[kept++] = fd;
            tried++;
        } else {
            changes += apply_one(p, fd, &kept);
        }
    }
    p->dirty_count = kept;
    return tried ? changes + take_tried(p, tried) : changes;
}

/* Looks for closed descriptors. A dirty one is left out: the next try to register it shows whether it is open. */
static void check_open(struct cyn_poller *p, int audit) {
    for (int seen = 0; seen < p->slot_count && audit > 0; seen++) {
        int fd = p->audit_at < p->slot_count ? p->audit_at : 0;
        struct cyn_slot *slot = &p->slots[fd];
        p->audit_at = fd + 1;
        if (!slot->owner || !slot->armed || slot->flags & CYN_SLOT_DIRTY)
            continue;
        audit--;
        if (CYN_SYS(fcntl)(fd, F_GETFD) < 0 && errno == EBADF)
            note_failed(p, fd, slot, -EBADF); /* if there is no memory to note it, a later audit finds it again */
    }
}

/* Updates the copies. Drops those whose slot has another owner, wants nothing, or was found closed. */
static void refresh_always(struct cyn_poller *p) {
    int kept = 0;
    for (int i = 0; i < p->always_count; i++) {
        struct cyn_event event = p->always[i];
        struct cyn_slot *slot = cyn_slot_at(p, event.fd);
        if (!slot || slot->generation != event.generation || !(slot->flags & CYN_SLOT_ALWAYS))
            continue;
        event.ready = slot->wanted & (CYN_READ | CYN_WRITE);
        if (event.ready) {
            p->always[kept++] = event;
            continue;
        }
        slot->flags &= (uint8_t)~CYN_SLOT_ALWAYS;
        slot->armed = 0;
    }
    p->always_count = kept;
}

int cyn_poller_apply(struct cyn_poller *p, int audit) {
    if (p->epoch != cyn_fork_epoch || p->ghosts) {
        int rc = reopen(p, p->backend);
        if (rc < 0 && p->epoch != cyn_fork_epoch)
            return rc; /* if only a ghost is the reason, the old backend goes on, and the next apply tries again */
    }
    int changes = p->dirty_count ? apply_dirty(p) : 0;
    if (audit && !p->backend->reports_closed)
        check_open(p, audit);
    if (p->always_count)
        refresh_always(p);
    return changes;
}

static int take_failed(struct cyn_poller *p, struct cyn_event *out, int room) {
    int n = p->failed_count < room ? p->failed_count : room;
    if (n == 0)
        return 0;
    memcpy(out, p->failed, (size_t)n * sizeof *out);
    p->failed_count -= n;
    memmove(p->failed, p->failed + n, (size_t)p->failed_count * sizeof *out);
    return n;
}

static int take_always(struct cyn_poller *p, struct cyn_event *out, int room) {
    int n = p->always_count < room ? p->always_count : room;
    for (int i = 0; i < n; i++) {
        p->always_at = p->always_at < p->always_count ? p->always_at : 0;
        out[i] = p->always[p->always_at++];
    }
    return n;
}

/* A slot that was taken over has an unknown `armed` until the next apply. Its events of the older generation are no
 * ghosts. */
static void look_for_ghosts(struct cyn_poller *p, const struct cyn_event *events, int count) {
    for (int i = 0; i < count; i++) {
        const struct cyn_slot *slot = cyn_slot_at(p, events[i].fd);
        if (!slot || !slot->armed || (slot->generation != events[i].generation && slot->armed != CYN_UNKNOWN))
            p->ghosts = 1;
    }
}

/* What can be read as well is one event, so that the handlers of a channel are called in the order of select. */
static void join_early(struct cyn_poller *p, struct cyn_event *events, int count) {
    for (int i = 0; i < count; i++) {
        struct cyn_slot *slot = cyn_slot_at(p, events[i].fd);
        if (slot && slot->flags & CYN_SLOT_EARLY && slot->generation == events[i].generation) {
            slot->flags &= (uint8_t)~CYN_SLOT_EARLY;
            events[i].ready |= CYN_WRITE;
        }
    }
}

/* Which of them are left out for want of room changes with each call, as the next apply tries all of them again.
 * `joined`: those without the flag have become part of another event. */
static int take_early(struct cyn_poller *p, struct cyn_event *out, int room, int joined) {
    int n = 0;
    for (int i = 0; i < p->early_count && n < room; i++) {
        p->early_at = p->early_at < p->early_count ? p->early_at : 0;
        struct cyn_event event = p->early[p->early_at++];
        struct cyn_slot *slot = joined ? cyn_slot_at(p, event.fd) : NULL;
        if (joined && (!slot || !(slot->flags & CYN_SLOT_EARLY)))
            continue;
        if (slot)
            slot->flags &= (uint8_t)~CYN_SLOT_EARLY;
        out[n++] = event;
    }
    p->early_count = 0;
    return n;
}

static inline int take(struct cyn_poller *p, struct cyn_event *out, int room, int64_t timeout) {
    if (room < 1)
        return -EINVAL;
    if (p->epoch != cyn_fork_epoch) {
        int rc = cyn_poller_apply(p, 0);
        if (rc < 0)
            return rc;
    }
    /* the usual case, and the loop's hottest path */
    if (!p->failed_count && !p->always_count && !p->early_count && !p->refusal) {
        int found = p->backend->wait(p, out, room, timeout);
        if (timeout == 0 && found > 0 && !p->backend->reports_closed)
            look_for_ghosts(p, out, found);
        return found;
    }
    int failed = take_failed(p, out, room);
    out += failed;
    room -= failed;
    /* The tried and the always ready get half of the batch, and what the kernel leaves of the other half. So neither
     * starves. */
    int ready = p->always_count + p->early_count;
    int half = ready ? (room + (int)(p->turn++ & 1)) / 2 : 0;
    int kept = ready < half ? ready : half;
    int busy = failed || ready, n = 0;
    if (p->refusal && (timeout < 0 || timeout > RETRY))
        timeout = RETRY;
    if (room > kept)
        n = p->backend->wait(p, out, room - kept, busy ? 0 : timeout);
    if (n < 0 && !busy)
        return n;
    n = n < 0 ? 0 : n;
    if (timeout == 0 && !p->backend->reports_closed)
        look_for_ghosts(p, out, n);
    if (p->early_count && timeout == 0)
        join_early(p, out, n);
    int always = p->always_count && p->early_count ? (room - n) / 2 : room - n;
    n += take_always(p, out + n, always);
    return failed + n + take_early(p, out + n, room - n, timeout == 0);
}

/* What can only be written comes after all that can be read, as with select: who reads may have something to write for
 * those. The kernel reports one that is always writable before what becomes readable later. */
static void put_reads_first(struct cyn_event *events, int count) {
    int at = 0;
    while (at < count && events[at].ready != CYN_WRITE)
        at++;
    for (int i = at + 1; i < count; i++) {
        if (events[i].ready == CYN_WRITE)
            continue;
        struct cyn_event event = events[i];
        events[i] = events[at];
        events[at++] = event;
    }
}

int cyn_poller_wait(struct cyn_poller *p, struct cyn_event *out, int room, int64_t timeout) {
    cyn_probe_wait(timeout);
    int found = take(p, out, room, timeout);
    if (found > 1)
        put_reads_first(out, found);
    cyn_probe_woken(found);
    return found;
}

const char *cyn_poller_backend(const struct cyn_poller *p) {
    return p->backend->name;
}

int cyn_poller_alarm(struct cyn_poller *p, int64_t when) {
    if (!p->backend->alarm)
        return -ENOTSUP;
    /* To a kernel, 0 may mean no alarm. A time_t of 32 bits holds INT32_MAX seconds at most. */
    when = when < 1 ? 1 : when / CYN_SECOND < INT32_MAX ? when : CYN_NEVER;
    if (when == p->alarm)
        return 0;
    /* In the child of a fork the parent's alarm stays as it is, and reopen sets this one. */
    int rc = p->epoch == cyn_fork_epoch ? p->backend->alarm(p, when) : 0;
    p->alarm = rc < 0 ? 0 : when;
    return rc;
}

int cyn_poller_host(struct cyn_poller *p) {
    if (p->backend->alarm)
        return 0;
    return backends[0]->alarm ? reopen(p, backends[0]) : -ENOTSUP;
}

int cyn_poller_fd(const struct cyn_poller *p) {
    return p->epoch == cyn_fork_epoch ? p->backend->fd(p) : -EAGAIN;
}
