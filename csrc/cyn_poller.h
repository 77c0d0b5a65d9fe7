/* SPDX-License-Identifier: MIT
 *
 * Readiness of file descriptors, over whatever the kernel offers: the whole C interface of the poller.
 *
 * The caller states what it wants of a descriptor; the poller tells the kernel only the differences, and only when it
 * applies. Everything is level-triggered: what was not consumed is reported again.
 *
 * Threads. cyn_poller_wait with a timeout other than 0 may run in one thread while another calls add, want or remove: it
 * looks at no slot, and only apply makes the backend's arrays grow, so apply, alarm and wait belong to one thread. Apart
 * from that no two calls on one poller may overlap (the GIL, or the owner thread, sees to it).
 *
 * Fork. In the child the first call finds that it is one (pthread_atfork), opens a poller of its own and registers
 * everything again; the parent's registrations are never touched. `cyn_fork_epoch` counts the forks behind us.
 *
 * Every function returns a count or -errno, prints nothing and never exits.
 */
#ifndef CYN_POLLER_H
#define CYN_POLLER_H

#include <stddef.h>
#include <stdint.h>

enum {
    CYN_READ = 1,  /* interest and event: data, a new connection, or the end of the stream */
    CYN_WRITE = 2, /* interest and event: room to send, or a connect has ended */
    CYN_PRI = 4,   /* interest and event: urgent data */
    CYN_ERR = 8,   /* event only: an error waits in SO_ERROR */
    CYN_HUP = 16,  /* event only: both directions are shut */
    CYN_NVAL = 32, /* event only: the descriptor cannot be watched; `error` of the event says why */
    CYN_INTEREST = CYN_READ | CYN_WRITE | CYN_PRI,
};

#define CYN_NEVER INT64_MAX /* as a moment */
#define CYN_SECOND INT64_C(1000000000)

struct cyn_event {
    int fd;
    uint32_t generation; /* of the slot when it was registered: an older one belongs to a closed descriptor */
    uint32_t ready;      /* CYN_ flags */
    int error;           /* errno behind CYN_NVAL, else 0 */
};

struct cyn_backend;
struct cyn_slot;

struct cyn_poller {
    const struct cyn_backend *backend;
    void *state;            /* the backend's own */
    struct cyn_slot *slots; /* indexed by fd */
    int slot_count;
    int *dirty; /* fds whose wanted mask may differ from what the kernel has */
    int dirty_count, dirty_room;
    struct cyn_event
        *always; /* what the kernel refuses to watch because it is always ready (EPERM), as of the last apply */
    int always_count, always_room, always_at;
    struct cyn_event *failed; /* registrations refused for another reason: reported by the next wait */
    int failed_count, failed_room;
    int audit_at;   /* where the next audit goes on */
    int ghosts;     /* the kernel reports what no slot knows: only a new backend is rid of it */
    unsigned turn;  /* who has the larger half of the next batch, kernel or always ready */
    unsigned epoch; /* cyn_fork_epoch when the backend was opened */
    int64_t alarm;  /* when the poller's descriptor becomes readable; 0: the kernel may have any */
    int refusal;    /* errno of the last change that is to be tried again, 0: none */
    int refused_fd;
};

extern unsigned cyn_fork_epoch;

/* Names of the backends compiled in, best first, NULL at the end. */
extern const char *const cyn_poller_names[];

/* Opens with the backend of that name, or the best one for NULL. -EINVAL: no such backend. */
int cyn_poller_open(struct cyn_poller *p, const char *name);
void cyn_poller_close(struct cyn_poller *p);

/* The name of the backend that it was opened with. */
const char *cyn_poller_backend(const struct cyn_poller *p);

/* Registers fd for owner (not NULL), wanting nothing yet, and returns 0. A slot in use is taken over: its generation moves
 * on and what the kernel has of it counts as unknown. -EBADF: fd below 0, or so high (65,536) that the map would grow large
 * for a number that is not even open. -EINVAL: no owner. -ENOMEM. */
int cyn_poller_add(struct cyn_poller *p, int fd, void *owner);

/* Sets the interest mask. -ENOENT: fd is not registered. No system call. */
int cyn_poller_want(struct cyn_poller *p, int fd, unsigned mask);

/* Forgets fd at once, in the kernel too: call it before close(fd), or a dup keeps the registration alive. Whatever
 * the kernel says of a descriptor that is closed already is nothing to report. -ENOENT: was not registered. */
int cyn_poller_remove(struct cyn_poller *p, int fd);

/* Gives the kernel the differences. A refused descriptor becomes an event of the next wait (CYN_NVAL), or is served
 * as always ready; it never fails the call. Where memory or the user's share of watches was what was missing (ENOMEM,
 * ENOSPC), the next apply tries again, and until it has, a wait lasts a tenth of a second at most. `audit`: how many registered descriptors to check for having been closed
 * behind our back, which epoll and kqueue do not tell (0: none). Returns the number of changes made, or -errno of a
 * poller that could not be reopened after a fork. */
int cyn_poller_apply(struct cyn_poller *p, int audit);

/* The errno of the last change that the next apply tries again, and its descriptor in *fd; 0: there is none. As of the
 * last apply. */
static inline int cyn_poller_refused(const struct cyn_poller *p, int *fd) {
    *fd = p->refused_fd;
    return p->refusal;
}

/* Fills `out` with at most `room` events and returns their number. timeout in nanoseconds, -1: without end, 0: a look. A
 * system that counts in milliseconds rounds up. 0 may come early, where the alarm has fired or a change is to be tried
 * again. Returns at once where refused or always-ready descriptors have something to report. -EINTR: a signal came. A wait with timeout 0
 * also notices events that belong to nobody, because a dup keeps a closed registration alive; the next apply then opens
 * a new backend, so a loop that never waits with 0 may be kept awake by them. -EINVAL: no room. */
int cyn_poller_wait(struct cyn_poller *p, struct cyn_event *out, int room, int64_t timeout);

/* The descriptor that is readable when events wait, for another loop to host this one. -ENOTSUP: poll and select.
 * -EAGAIN: in the child of a fork, before its first apply. */
int cyn_poller_fd(const struct cyn_poller *p);

/* Makes the descriptor of cyn_poller_fd readable from the moment `when` on (of cyn_clock; CYN_NEVER: takes that back), so
 * that the loop which hosts this one wakes for a deadline. There is one alarm: a later call moves it, and the one that is
 * set already costs no system call. The wait that finds it fired ends it without an event, perhaps a little early. A
 * child has its parent's, from its first apply on. -ENOTSUP: poll and select; else what the kernel said. */
int cyn_poller_alarm(struct cyn_poller *p, int64_t when);

#endif
