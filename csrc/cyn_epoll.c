/* SPDX-License-Identifier: MIT
 *
 * The backend for epoll(7).
 *
 * Facts:
 * - A registration belongs to a descriptor number and an open file description. It ends when the last descriptor of
 *   that description is closed, not when the registered number is. So a duplicate keeps its events coming, while
 *   EPOLL_CTL_DEL of the closed number fails with EBADF, or with ENOENT if the number is another file by then
 *   (epoll(7), Q6).
 * - EPOLLERR and EPOLLHUP are reported with any mask, also an empty one (epoll_ctl(2)).
 * - Files that are always ready, such as regular ones, are refused with EPERM (epoll_ctl(2)).
 * - A forked child shares the parent's instance, so its changes would be the parent's too.
 * - If more descriptors are ready than there is room for, the next call begins with the rest.
 * - epoll_wait(2) counts in milliseconds. epoll_pwait2(2) counts in nanoseconds, from Linux 5.11 on. A sandbox may
 *   refuse it with ENOSYS or EPERM.
 * - A timerfd is readable from its time on until it is read. A forked child shares it too.
 *
 * Consequences:
 * - The armed mask may be wrong. After ENOENT a MOD is repeated as an ADD, and after EEXIST an ADD as a MOD.
 * - A descriptor with an empty mask is not registered.
 * - The data of an event are the descriptor and the generation of its slot, so that the poller knows its owner. The
 *   data of the alarm are ALARM.
 * - Each epoll instance has a timerfd of its own for the alarm. After a fork the child never reads the parent's.
 */
#include "cyn_backend.h"

#include <errno.h>
#include <string.h>

#include "cyn_sys.h"

#ifdef CYN_HAVE_EPOLL

#define ALARM UINT64_MAX /* as event data */

struct epoll_state {
    int fd;
    int timer_fd;  /* -1: no alarm yet */
    int is_coarse; /* epoll_pwait2 is not available */
};

static int epoll_open(struct cyn_poller *p) {
    struct epoll_state *s = CYN_SYS(calloc)(1, sizeof *s);
    if (!s)
        return -ENOMEM;
    s->timer_fd = -1;
    s->fd = CYN_SYS(epoll_create1)(EPOLL_CLOEXEC);
    if (s->fd < 0) {
        int rc = -errno;
        CYN_SYS(free)(s);
        return rc;
    }
    p->state = s;
    return 0;
}

static void epoll_close(struct cyn_poller *p) {
    struct epoll_state *s = p->state;
    if (s->timer_fd >= 0)
        CYN_SYS(close)(s->timer_fd);
    CYN_SYS(close)(s->fd);
    CYN_SYS(free)(s);
}

static uint32_t to_epoll(unsigned mask) {
    return (mask & CYN_READ ? EPOLLIN : 0U) | (mask & CYN_WRITE ? EPOLLOUT : 0U) | (mask & CYN_PRI ? EPOLLPRI : 0U);
}

static unsigned from_epoll(uint32_t events) {
    return (events & EPOLLIN ? CYN_READ : 0U) | (events & EPOLLOUT ? CYN_WRITE : 0U) |
           (events & EPOLLPRI ? CYN_PRI : 0U) | (events & EPOLLERR ? CYN_ERR : 0U) | (events & EPOLLHUP ? CYN_HUP : 0U);
}

static int control(const struct cyn_poller *p, int op, int fd, struct epoll_event *event) {
    const struct epoll_state *s = p->state;
    return CYN_SYS(epoll_ctl)(s->fd, op, fd, event) < 0 ? -errno : 0;
}

static int epoll_set(struct cyn_poller *p, int fd, unsigned armed, unsigned wanted, uint32_t generation) {
    struct epoll_event event = {.events = to_epoll(wanted), .data.u64 = (uint64_t)generation << 32 | (uint32_t)fd};
    if (!wanted) {
        int rc = control(p, EPOLL_CTL_DEL, fd, &event); /* Linux before 2.6.9 does not take NULL */
        return rc == -ENOENT || rc == -EBADF || rc == -EPERM ? 0 : rc;
    }
    int rc = control(p, armed & CYN_INTEREST ? EPOLL_CTL_MOD : EPOLL_CTL_ADD, fd, &event);
    if (rc == -ENOENT)
        rc = control(p, EPOLL_CTL_ADD, fd, &event);
    else if (rc == -EEXIST)
        rc = control(p, EPOLL_CTL_MOD, fd, &event);
    return rc;
}

/* The kernel writes its events into the array of our events, to save a second buffer. Ours are no smaller, so
 * translating from the last to the first overwrites only events that have been read. */
_Static_assert(sizeof(struct epoll_event) <= sizeof(struct cyn_event), "translated in place");

/* Not inlined, because a busy loop mostly waits with timeout 0, which does not come here. */
__attribute__((noinline)) static int wait_timed(struct epoll_state *s, void *out, int room, int64_t timeout) {
    if (!s->is_coarse) {
        const struct timespec limit = cyn_to_timespec(timeout);
        int n = CYN_SYS(cyn_epoll_pwait2)(s->fd, out, room, &limit);
        if (n >= 0 || (errno != ENOSYS && errno != EPERM))
            return n;
        s->is_coarse = 1;
    }
    return CYN_SYS(epoll_wait)(s->fd, out, room, cyn_to_milliseconds(timeout));
}

/* Removes the alarm, which is at `at`, from n events. Returns how many are left. */
static int take_alarm(struct cyn_poller *p, struct cyn_event *out, int n, int at) {
    const struct epoll_state *s = p->state;
    uint64_t times;
    if (CYN_SYS(read)(s->timer_fd, &times, sizeof times) > 0)
        p->alarm = CYN_NEVER;
    memmove(out + at, out + at + 1, (size_t)(n - at - 1) * sizeof *out);
    return n - 1;
}

static int epoll_wait_events(struct cyn_poller *p, struct cyn_event *out, int room, int64_t timeout) {
    struct epoll_state *s = p->state;
    int alarm = -1, n = timeout > 0 ? wait_timed(s, out, room, timeout)
                                    : CYN_SYS(epoll_wait)(s->fd, (void *)out, room, (int)timeout);
    if (n < 0)
        return -errno;
    for (int i = n - 1; i >= 0; i--) {
        struct epoll_event event;
        memcpy(&event, (char *)out + (size_t)i * sizeof event, sizeof event);
        out[i] = (struct cyn_event){
            .fd = (int)(uint32_t)event.data.u64,
            .generation = (uint32_t)(event.data.u64 >> 32),
            .ready = from_epoll(event.events),
        };
        if (event.data.u64 == ALARM)
            alarm = i;
    }
    return alarm < 0 ? n : take_alarm(p, out, n, alarm);
}

static int open_timer(struct cyn_poller *p) {
    struct epoll_state *s = p->state;
    struct epoll_event event = {.events = EPOLLIN, .data.u64 = ALARM};
    int fd = CYN_SYS(timerfd_create)(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK);
    if (fd < 0)
        return -errno;
    int rc = control(p, EPOLL_CTL_ADD, fd, &event);
    if (rc < 0)
        CYN_SYS(close)(fd);
    else
        s->timer_fd = fd;
    return rc;
}

static int epoll_alarm(struct cyn_poller *p, int64_t when) {
    const struct epoll_state *s = p->state;
    struct itimerspec spec = {0}; /* all zero removes the alarm, also one that has fired */
    int rc = s->timer_fd < 0 ? open_timer(p) : 0;
    if (rc < 0)
        return rc;
    if (when != CYN_NEVER)
        spec.it_value = (struct timespec){.tv_sec = (time_t)(when / CYN_SECOND), .tv_nsec = (long)(when % CYN_SECOND)};
    return CYN_SYS(timerfd_settime)(s->timer_fd, TFD_TIMER_ABSTIME, &spec, NULL) < 0 ? -errno : 0;
}

static int epoll_fd(const struct cyn_poller *p) {
    const struct epoll_state *s = p->state;
    return s->fd;
}

const struct cyn_backend cyn_epoll_backend = {
    .name = "epoll",
    .changes_cost = 1,
    .open = epoll_open,
    .close = epoll_close,
    .set = epoll_set,
    .wait = epoll_wait_events,
    .alarm = epoll_alarm,
    .fd = epoll_fd,
};

#endif
