/* SPDX-License-Identifier: MIT
 *
 * Readiness of file descriptors, over whatever the kernel offers: the whole C interface of the poller.
 *
 * The caller sets its interest in a descriptor. The poller gives the kernel only the differences, and only in
 * cyn_poller_apply. Everything is level-triggered: what was not consumed is reported again.
 *
 * Threads. While cyn_poller_wait blocks (its timeout is not 0) in one thread, another may call add, want or remove:
 * the wait reads no slot. Apply, alarm and wait belong to one thread, since apply makes the backend's arrays grow.
 * Apart from that, no two calls on one poller may overlap. The caller ensures this, by the GIL or by having one
 * thread.
 *
 * Fork. A handler of pthread_atfork counts forks in `cyn_fork_epoch`. In the child the first apply or wait opens a
 * poller of its own and registers everything again. The parent's registrations are never changed.
 *
 * Every function returns a count or -errno, prints nothing and never exits.
 */
#ifndef CYN_POLLER_H
#define CYN_POLLER_H

#include <poll.h>
#include <stddef.h>
#include <stdint.h>

enum {
    CYN_READ = 1,  /* interest and event: data, a new connection, or the end of the stream */
    CYN_WRITE = 2, /* interest and event: room to send, or a connect has ended */
    CYN_PRI = 4,   /* interest and event: urgent data */
    CYN_ERR = 8,   /* event only: an error waits in SO_ERROR */
    CYN_HUP = 16,  /* event only: both directions are shut down */
    CYN_NVAL = 32, /* event only: the descriptor cannot be watched; `error` of the event says why */
    CYN_INTEREST = CYN_READ | CYN_WRITE | CYN_PRI,
};

#define CYN_NEVER INT64_MAX /* as the time of an alarm: none */
#define CYN_SECOND INT64_C(1000000000)

struct cyn_event {
    int fd;
    uint32_t generation; /* of the slot when it was registered; an event of an older one is stale */
    uint32_t ready;      /* CYN_ flags */
    int error;           /* with CYN_NVAL an errno, else 0 */
};

struct cyn_backend;
struct cyn_slot;

struct cyn_poller {
    const struct cyn_backend *backend;
    void *state;            /* private to the backend */
    struct cyn_slot *slots; /* indexed by fd */
    int slot_count;
    int *dirty; /* descriptors whose wanted mask may differ from the armed one */
    int dirty_count, dirty_room;
    struct cyn_event
        *always; /* what the kernel does not watch because it is always ready (EPERM), as of the last apply */
    int always_count, always_room, always_at;
    struct cyn_event *failed; /* registrations that failed for another reason: the next wait reports them */
    int failed_count, failed_room;
    struct pollfd *tried; /* what the last apply has tried before it gave the kernel an interest in writing */
    int tried_room;
    struct cyn_event *early; /* those of them that were ready: the next wait reports them */
    int early_count, early_room, early_at;
    unsigned times_tried;
    int tries;      /* set by the caller. 1: apply tries whether a descriptor can be written before it is watched */
    int audit_at;   /* where the next audit goes on */
    int ghosts;     /* 1: the kernel reports events of no slot, and only a new backend ends that */
    unsigned turn;  /* its lowest bit: the always ready have the larger half of the next batch */
    unsigned epoch; /* cyn_fork_epoch when the backend was opened */
    int64_t alarm;  /* when the poller's descriptor becomes readable; 0: not known, after a failure */
    int refusal;    /* errno of the last change that the next apply tries again; 0: none */
    int refused_fd;
};

extern unsigned cyn_fork_epoch;

/* Names of the backends compiled in, best first, NULL at the end. */
extern const char *const cyn_poller_names[];

/* Opens a poller with the backend of that name; NULL: the best one. -EINVAL: there is no such backend. */
int cyn_poller_open(struct cyn_poller *p, const char *name);
void cyn_poller_close(struct cyn_poller *p);

/* The name of the backend in use: the one that it was opened with, or the one that cyn_poller_host has chosen. */
const char *cyn_poller_backend(const struct cyn_poller *p);

/* Registers fd for owner, with an empty interest, and returns 0. If another owner has the slot, it is taken over: its
 * generation grows, and its armed mask is unknown. -EBADF: fd is below 0; or it is 65,536 or above and not open, so
 * that the array of slots would grow large for nothing. -EINVAL: owner is NULL. -ENOMEM. */
int cyn_poller_add(struct cyn_poller *p, int fd, void *owner);

/* Sets the interest mask, without a system call. -ENOENT: fd is not registered. */
int cyn_poller_want(struct cyn_poller *p, int fd, unsigned mask);

/* Removes fd at once, from the kernel too. Call it before close(fd): after that, a duplicate of the descriptor would
 * keep the registration alive. It is no failure if fd is closed already. -ENOENT: fd was not registered. */
int cyn_poller_remove(struct cyn_poller *p, int fd);

/* Gives the kernel the differences, and returns how many changes it made. -errno: after a fork, no poller could be
 * opened.
 *
 * A descriptor that the kernel refuses does not fail the call. It is served as always ready (EPERM), or the next wait
 * reports it (CYN_NVAL). If memory or the user's number of watches is exhausted (ENOMEM, ENOSPC), the next apply tries
 * again, and until then a wait takes a tenth of a second at most.
 *
 * With `tries` set, a backend that takes a system call for each change is not told at once of a new interest in
 * writing. One poll(2) asks for all such descriptors whether they can be written now. Those that can are reported by
 * the next wait, and tried again by the next apply, if that is wanted still. Most are written to and then left alone,
 * and so the kernel need not hear of them. The others are watched, and once in a while all.
 *
 * `audit`: of how many registered descriptors to check that they are open still, because epoll and kqueue do not report
 * those that were closed; 0: none. */
int cyn_poller_apply(struct cyn_poller *p, int audit);

/* If the last apply has left a change for the next one to try again: its errno, and its descriptor in *fd. Else 0. */
static inline int cyn_poller_refused(const struct cyn_poller *p, int *fd) {
    *fd = p->refused_fd;
    return p->refusal;
}

/* Waits for events, fills `out` with at most `room` of them and returns their number. -EINTR: a signal came. -EINVAL:
 * room is below 1. What can only be written comes last.
 *
 * `timeout` is in nanoseconds; -1: without end; 0: does not block. A system that counts in milliseconds rounds it up.
 * The wait does not block while failed or always-ready descriptors have something to report. It may return 0 early,
 * if the alarm has fired or a change is to be tried again.
 *
 * A duplicate of a closed descriptor can keep its registration alive, whose events have no owner. Only a wait with
 * timeout 0 notices these, and the next apply then opens a new backend. A loop that never waits with 0 may be kept
 * awake by them. */
int cyn_poller_wait(struct cyn_poller *p, struct cyn_event *out, int room, int64_t timeout);

/* Has a poller whose backend has no descriptor (poll, select) go on with the best backend that has one, for
 * cyn_poller_fd and cyn_poller_alarm. Everything is registered there by the next apply. Not while a wait blocks. 0: the
 * poller has a descriptor. -ENOTSUP: no backend of this platform has one. Other -errno: the old backend stays. */
int cyn_poller_host(struct cyn_poller *p);

/* 1: the next wait returns at once, with events that make no descriptor readable (always ready, tried, or failed). */
static inline int cyn_poller_is_busy(const struct cyn_poller *p) {
    return p->failed_count > 0 || p->always_count > 0 || p->early_count > 0;
}

/* Returns a descriptor that is readable while events wait, for another loop to watch that hosts this one. -ENOTSUP:
 * with poll and select. -EAGAIN: in the child of a fork, before its first apply. */
int cyn_poller_fd(const struct cyn_poller *p);

/* Has the descriptor of cyn_poller_fd become readable at `when`, in nanoseconds of cyn_clock, so that the loop that
 * hosts this one wakes for a deadline. CYN_NEVER removes the alarm. There is one alarm, which a later call moves. A
 * call with the same time makes no system call. The wait that finds the alarm fired returns no event for it, and the
 * alarm is removed. The child of a fork has the alarm of its parent, from its first apply on. -ENOTSUP: with poll and
 * select; other -errno. */
int cyn_poller_alarm(struct cyn_poller *p, int64_t when);

#endif
