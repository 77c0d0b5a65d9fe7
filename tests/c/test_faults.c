/* SPDX-License-Identifier: MIT
 *
 * Every system call and every allocation fails in turn, with every errno that its man page allows here.
 */
#include "check.h"

#ifdef CYN_SYS_TABLE

#include <stdarg.h>

#include "cyn_timers.h"
#include "cyn_wake.h"

enum call {
    ALLOCATE,
    FCNTL,
    PIPE,
    POLL,
    PPOLL,
    PSELECT,
    READ,
    WRITE,
    EPOLL_CREATE,
    EPOLL_CTL,
    EPOLL_WAIT,
    EPOLL_PWAIT2,
    TIMERFD_CREATE,
    TIMERFD_SETTIME,
    EVENTFD,
    KQUEUE,
    KEVENT,
    FSTAT,
};

/* The `left`-th call of that kind from now on fails; still above 0 afterwards: it never came to that. */
static struct {
    enum call call;
    int left, error;
    long blocks; /* allocated and not freed */
} fault;

static int fails(enum call call) {
    if (call != fault.call || fault.left == 0 || --fault.left > 0)
        return 0;
    errno = fault.error;
    return 1;
}

static void *f_calloc(size_t count, size_t size) {
    void *block = fails(ALLOCATE) ? NULL : calloc(count, size);
    fault.blocks += block != NULL;
    return block;
}

static void *f_realloc(void *old, size_t size) {
    void *block = fails(ALLOCATE) ? NULL : realloc(old, size);
    fault.blocks += block && !old;
    return block;
}

static void f_free(void *block) {
    fault.blocks -= block != NULL;
    free(block);
}

static int f_fcntl(int fd, int command, ...) {
    va_list rest;
    va_start(rest, command);
    int value = command == F_SETFL || command == F_SETFD ? va_arg(rest, int) : 0;
    va_end(rest);
    return fails(FCNTL) ? -1 : fcntl(fd, command, value);
}

static int f_pipe(int ends[2]) {
    return fails(PIPE) ? -1 : pipe(ends);
}

static int f_poll(struct pollfd *fds, nfds_t count, int timeout) {
    return fails(POLL) ? -1 : poll(fds, count, timeout);
}

#ifdef CYN_HAVE_PPOLL
static int f_ppoll(struct pollfd *fds, nfds_t count, const struct timespec *limit, const sigset_t *signals) {
    return fails(PPOLL) ? -1 : ppoll(fds, count, limit, signals);
}
#endif

static int f_pselect(int count, fd_set *r, fd_set *w, fd_set *e, const struct timespec *limit,
                     const sigset_t *signals) {
    return fails(PSELECT) ? -1 : pselect(count, r, w, e, limit, signals);
}

static ssize_t f_read(int fd, void *data, size_t size) {
    return fails(READ) ? -1 : read(fd, data, size);
}

static ssize_t f_write(int fd, const void *data, size_t size) {
    return fails(WRITE) ? -1 : write(fd, data, size);
}

#ifdef CYN_HAVE_EPOLL
static int f_epoll_create1(int flags) {
    return fails(EPOLL_CREATE) ? -1 : epoll_create1(flags);
}

static int f_epoll_ctl(int epoll, int op, int fd, struct epoll_event *event) {
    return fails(EPOLL_CTL) ? -1 : epoll_ctl(epoll, op, fd, event);
}

static int f_epoll_wait(int epoll, struct epoll_event *events, int room, int timeout) {
    return fails(EPOLL_WAIT) ? -1 : epoll_wait(epoll, events, room, timeout);
}

static int f_epoll_pwait2(int epoll, struct epoll_event *events, int room, const struct timespec *limit) {
    return fails(EPOLL_PWAIT2) ? -1 : cyn_epoll_pwait2(epoll, events, room, limit);
}

static int f_timerfd_create(int clock, int flags) {
    return fails(TIMERFD_CREATE) ? -1 : timerfd_create(clock, flags);
}

static int f_timerfd_settime(int fd, int flags, const struct itimerspec *spec, struct itimerspec *before) {
    return fails(TIMERFD_SETTIME) ? -1 : timerfd_settime(fd, flags, spec, before);
}
#endif

#ifdef CYN_HAVE_EVENTFD
static int f_eventfd(unsigned count, int flags) {
    return fails(EVENTFD) ? -1 : eventfd(count, flags);
}
#endif

#ifdef CYN_HAVE_KQUEUE
static int f_kqueue(void) {
    return fails(KQUEUE) ? -1 : kqueue();
}

static int f_kevent(int queue, const struct kevent *in, cyn_kevent_count count, struct kevent *out,
                    cyn_kevent_count room, const struct timespec *limit) {
    return fails(KEVENT) ? -1 : kevent(queue, in, count, out, room, limit);
}

static int f_fstat(int fd, struct stat *about) {
    return fails(FSTAT) ? -1 : fstat(fd, about);
}
#endif

static struct cyn_sys faulty(void) {
    struct cyn_sys table = cyn_sys;
    table.calloc = f_calloc;
    table.realloc = f_realloc;
    table.free = f_free;
    table.fcntl = f_fcntl;
    table.pipe = f_pipe;
    table.poll = f_poll;
#ifdef CYN_HAVE_PPOLL
    table.ppoll = f_ppoll;
#endif
    table.pselect = f_pselect;
    table.read = f_read;
    table.write = f_write;
#ifdef CYN_HAVE_EPOLL
    table.epoll_create1 = f_epoll_create1;
    table.epoll_ctl = f_epoll_ctl;
    table.epoll_wait = f_epoll_wait;
    table.cyn_epoll_pwait2 = f_epoll_pwait2;
    table.timerfd_create = f_timerfd_create;
    table.timerfd_settime = f_timerfd_settime;
#endif
#ifdef CYN_HAVE_EVENTFD
    table.eventfd = f_eventfd;
#endif
#ifdef CYN_HAVE_KQUEUE
    table.kqueue = f_kqueue;
    table.kevent = f_kevent;
    table.fstat = f_fstat;
#endif
    return table;
}

static const struct {
    enum call call;
    int errors[8];
} faults[] = {
    {ALLOCATE, {ENOMEM}},
    {FCNTL, {EBADF, EINVAL, EPERM}},
    {PIPE, {EMFILE, ENFILE}},
    {POLL, {EINTR, EINVAL, ENOMEM, EFAULT}},
    {PPOLL, {EINTR, EINVAL, ENOMEM, EFAULT}},
    {PSELECT, {EINTR, EINVAL, ENOMEM, EBADF}},
    {READ, {EINTR, EAGAIN, EBADF, EIO}},
    {WRITE, {EINTR, EAGAIN, EBADF, EPIPE}},
    {EPOLL_CREATE, {EMFILE, ENFILE, ENOMEM}},
    {EPOLL_CTL, {EBADF, EEXIST, ELOOP, ENOENT, ENOMEM, ENOSPC, EPERM}},
    {EPOLL_WAIT, {EINTR, EBADF, EINVAL}},
    {EPOLL_PWAIT2, {EINTR, EBADF, EINVAL, ENOSYS, EPERM}},
    {TIMERFD_CREATE, {EINVAL, EMFILE, ENFILE, ENODEV, ENOMEM, ENOSYS}},
    {TIMERFD_SETTIME, {EINVAL, EBADF}},
    {EVENTFD, {EMFILE, ENFILE, ENOMEM, ENOSYS}},
    {KQUEUE, {EMFILE, ENFILE, ENOMEM}},
    {KEVENT, {EINTR, EBADF, EACCES, ENOMEM}},
    {FSTAT, {EBADF, EIO}},
};

/* A day in the life of everything, with as many first times as possible; no result is looked at but those that say
 * whether to go on. */
static void live(const char *backend, const int fds[4], int file) {
    struct cyn_poller p;
    struct cyn_event events[8];
    if (cyn_poller_open(&p, backend) == 0) {
        for (int round = 0; round < 2; round++) {
            p.tries = round;
            for (int i = 0; i < 4; i++) {
                cyn_poller_add(&p, fds[i], &p);
                cyn_poller_want(&p, fds[i], CYN_READ);
            }
            cyn_poller_add(&p, file, &p);
            cyn_poller_want(&p, file, CYN_READ);
            cyn_poller_apply(&p, 8);
            cyn_poller_wait(&p, events, 8, 0);
            cyn_poller_want(&p, fds[0], CYN_WRITE);
            cyn_poller_want(&p, fds[1], 0);
            cyn_poller_remove(&p, fds[2]);
            cyn_poller_apply(&p, 8);
            cyn_poller_wait(&p, events, 1, 1);
            cyn_poller_alarm(&p, round ? cyn_clock() : CYN_SECOND);
        }
        p.ghosts = 1;
        cyn_poller_apply(&p, 8);
        cyn_poller_wait(&p, events, 8, 0);
    }
    cyn_poller_close(&p);
}

static void live_besides(void) {
    struct cyn_timers ts = {0};
    struct cyn_timer timer = {.place = CYN_TIMER_IDLE};
    struct cyn_wake w;
    cyn_timers_add(&ts, &timer, 1);
    cyn_timers_free(&ts);
    if (cyn_wake_open(&w) == 0) {
        cyn_wake_signal(&w);
        cyn_wake_drain(&w);
        cyn_wake_close(&w);
    }
}

static void fail_each(const char *backend, const int fds[4], int file, size_t kind, int error) {
    for (int k = 1;; k++) {
        struct cyn_sys table = cyn_sys;
        fault.call = faults[kind].call;
        fault.left = k;
        fault.error = error;
        fault.blocks = 0;
        cyn_sys = faulty();
        live(backend, fds, file);
        live_besides();
        cyn_sys = table;
        CHECK_EQ(fault.blocks, 0);
        if (fault.left > 0)
            break;
    }
    fault.left = 0;
}

POLLER_TEST(each_call_may_fail_each_time) {
    int a[2], b[2], file = check_regular_file();
    check_pair(a);
    check_pair(b);
    check_send(a[0]);
    const int fds[4] = {a[0], a[1], b[0], b[1]};
    for (size_t kind = 0; kind < sizeof faults / sizeof *faults; kind++)
        for (const int *error = faults[kind].errors; *error; error++)
            fail_each(p->backend->name, fds, file, kind, *error);
}

/* Runs the fault that is set while `body` runs. */
#define WITH_FAULT(kind, at, code, body)                                                                               \
    do {                                                                                                               \
        struct cyn_sys table_ = cyn_sys;                                                                               \
        fault.call = (kind), fault.left = (at), fault.error = (code);                                                  \
        cyn_sys = faulty();                                                                                            \
        body;                                                                                                          \
        cyn_sys = table_;                                                                                              \
        fault.left = 0;                                                                                                \
    } while (0)

#ifdef CYN_HAVE_EPOLL
POLLER_TEST(alarm_reports_what_the_kernel_said_and_can_be_set_again) {
    static const struct {
        enum call call;
        int error;
    } refusals[] = {
        {TIMERFD_CREATE, EMFILE}, {EPOLL_CTL, ENOSPC}, {TIMERFD_SETTIME, EINVAL}, {TIMERFD_SETTIME, EINVAL}};
    struct pollfd outer = {.fd = cyn_poller_fd(p), .events = POLLIN};
    int rc;
    if (!check_is(p, "epoll"))
        return;
    for (size_t i = 0; i < sizeof refusals / sizeof *refusals; i++) {
        WITH_FAULT(refusals[i].call, 1, refusals[i].error, rc = cyn_poller_alarm(p, 1));
        CHECK_EQ(rc, -refusals[i].error);
        CHECK_EQ(poll(&outer, 1, 0), 0);
    }
    CHECK_EQ(cyn_poller_alarm(p, 1), 0);
    CHECK_EQ(poll(&outer, 1, -1), 1);
}
#endif

POLLER_TEST(alarm_that_is_set_already_costs_no_call) {
    enum call call = check_is(p, "epoll") ? TIMERFD_SETTIME : KEVENT;
    int64_t when = cyn_clock() + 3600 * CYN_SECOND;
    int rc;
    if (p->backend->reports_closed)
        return;
    WITH_FAULT(call, 1, EINVAL, rc = cyn_poller_alarm(p, CYN_NEVER));
    CHECK_EQ(rc, 0); /* none is set from the start */
    CHECK_EQ(cyn_poller_alarm(p, when), 0);
    WITH_FAULT(call, 1, EINVAL, rc = cyn_poller_alarm(p, when));
    CHECK_EQ(rc, 0);
    WITH_FAULT(call, 1, EINVAL, rc = cyn_poller_alarm(p, when + 1));
    CHECK_EQ(rc, -EINVAL);
}

POLLER_TEST(poller_whose_alarm_cannot_be_reopened_keeps_the_old_one) {
    int ends[2], rc, before = cyn_poller_fd(p);
    check_pair(ends);
    check_send(ends[1]);
    check_watch(p, ends[0], CYN_READ);
    if (p->backend->reports_closed)
        return;
    CHECK_EQ(cyn_poller_alarm(p, cyn_clock() + 3600 * CYN_SECOND), 0);
    p->ghosts = 1;
    WITH_FAULT(check_is(p, "epoll") ? TIMERFD_CREATE : KEVENT, 1, EMFILE, rc = cyn_poller_apply(p, 0));
    CHECK_EQ(rc, 1);
    CHECK_EQ(p->ghosts, 1); /* tried again in the next settle */
    CHECK_EQ(cyn_poller_fd(p), before);
    CHECK_EQ(check_ready(p, ends[0]), CYN_READ);
}

static enum call wait_call(const struct cyn_poller *p) {
    return check_is(p, "epoll") ? EPOLL_WAIT : check_is(p, "kqueue") ? KEVENT : check_is(p, "poll") ? POLL : PSELECT;
}

POLLER_TEST(signal_ends_the_wait) {
    struct cyn_event event;
    int n;
    CHECK_EQ(cyn_poller_apply(p, 0), 0);
    WITH_FAULT(wait_call(p), 1, EINTR, n = cyn_poller_wait(p, &event, 1, -1));
    CHECK_EQ(n, -EINTR);
}

POLLER_TEST(always_ready_is_served_even_where_the_kernel_fails) {
    struct cyn_event event;
    int n, file = check_regular_file();
    if (p->backend->reports_closed)
        return;
    check_watch(p, file, CYN_READ);
    CHECK_EQ(cyn_poller_apply(p, 0), 1);
    WITH_FAULT(wait_call(p), 1, EINTR, n = cyn_poller_wait(p, &event, 1, -1));
    CHECK_EQ(n, 1);
    CHECK_EQ(event.ready, CYN_READ);
}

static void refused(struct cyn_poller *p, enum call call, int error) {
    struct cyn_event events[4];
    int ends[2], n;
    check_pair(ends);
    check_send(ends[1]);
    check_watch(p, ends[0], CYN_READ);
    WITH_FAULT(call, 1, error, n = cyn_poller_apply(p, 0));
    CHECK_EQ(n, 0);
    CHECK_EQ(cyn_poller_wait(p, events, 4, -1), 1);
    CHECK_EQ(events[0].fd, ends[0]);
    CHECK_EQ(events[0].ready, CYN_NVAL);
    CHECK_EQ(events[0].error, error);
    CHECK_EQ(check_tick(p, events, 4), 0);
    cyn_poller_want(p, ends[0], 0);
    CHECK_EQ(check_tick(p, events, 4), 0);
    cyn_poller_want(p, ends[0], CYN_READ);
    CHECK_EQ(check_ready(p, ends[0]), CYN_READ);
}

POLLER_TEST(refused_registration_becomes_an_event_and_is_tried_again_on_a_change) {
    if (check_is(p, "epoll"))
        refused(p, EPOLL_CTL, ELOOP);
    else if (check_is(p, "kqueue"))
        refused(p, KEVENT, EACCES);
}

/* A settle of p whose first change is refused for what may pass; the errno. */
static int settle_in_want(struct cyn_poller *p) {
    int n, error = check_is(p, "epoll") ? ENOSPC : ENOMEM;
    WITH_FAULT(check_is(p, "epoll")    ? EPOLL_CTL
               : check_is(p, "kqueue") ? KEVENT
                                       : ALLOCATE,
               1, error, n = cyn_poller_apply(p, 0));
    CHECK_EQ(n, 0);
    return error;
}

POLLER_TEST(refusal_that_passes_is_no_event_and_is_tried_again_by_the_next_settle) {
    struct cyn_event events[4];
    int ends[2], fd;
    check_pair(ends);
    check_send(ends[1]);
    check_watch(p, ends[0], CYN_READ);
    CHECK_EQ(cyn_poller_refused(p, &fd), 0);
    for (int i = 0; i < 3; i++) {
        int error = settle_in_want(p);
        CHECK_EQ(cyn_poller_refused(p, &fd), error);
        CHECK_EQ(fd, ends[0]);
        CHECK_EQ(cyn_poller_wait(p, events, 4, 0), 0);
    }
    CHECK_EQ(check_ready(p, ends[0]), CYN_READ);
    CHECK_EQ(cyn_poller_refused(p, &fd), 0);
}

POLLER_TEST(change_of_interest_that_was_refused_is_made_later) {
    int ends[2];
    check_pair(ends);
    check_watch(p, ends[0], CYN_READ);
    CHECK_EQ(check_ready(p, ends[0]), 0);
    cyn_poller_want(p, ends[0], CYN_WRITE);
    if (p->backend->reports_closed)
        return; /* they need no memory for it */
    settle_in_want(p);
    CHECK_EQ(check_ready(p, ends[0]), CYN_WRITE);
}

POLLER_TEST(refusal_is_over_when_its_descriptor_was_removed) {
    int ends[2], fd;
    check_pair(ends);
    check_watch(p, ends[0], CYN_READ);
    settle_in_want(p);
    CHECK_EQ(cyn_poller_remove(p, ends[0]), 0);
    CHECK_EQ(cyn_poller_apply(p, 0), 0);
    CHECK_EQ(cyn_poller_refused(p, &fd), 0);
}

POLLER_TEST(refused_descriptor_that_was_closed_is_reported_once) {
    struct cyn_event events[4];
    int fd = dup(0);
    check_watch(p, fd, CYN_READ);
    settle_in_want(p);
    close(fd);
    CHECK_EQ(check_tick(p, events, 4), 1);
    CHECK_EQ(events[0].ready, CYN_NVAL);
    CHECK_EQ(events[0].error, EBADF);
    CHECK_EQ(check_tick(p, events, 4), 0);
}

POLLER_TEST(audit_leaves_what_was_refused_to_its_next_try) {
    struct cyn_event events[4];
    int fd = dup(0);
    close(fd);
    if (!check_is(p, "epoll"))
        return;
    check_watch(p, fd, CYN_READ);
    WITH_FAULT(EPOLL_CTL, 1, ENOSPC, cyn_poller_apply(p, 8));
    CHECK_EQ(check_tick(p, events, 4), 1);
    CHECK_EQ(events[0].ready, CYN_NVAL);
    CHECK_EQ(check_tick(p, events, 4), 0);
}

POLLER_TEST(refused_descriptor_is_registered_with_the_new_backend) {
    int ends[2];
    check_pair(ends);
    check_send(ends[1]);
    check_watch(p, ends[0], CYN_READ);
    settle_in_want(p);
    p->ghosts = 1;
    CHECK_EQ(check_ready(p, ends[0]), CYN_READ);
}

/* The kernel has done it and says that it could not: as kqueue may, with two filters of which the second fails. */
#ifdef CYN_HAVE_EPOLL
static int done_and_refused(int epoll, int op, int fd, struct epoll_event *event) {
    return epoll_ctl(epoll, op, fd, event), errno = ENOMEM, -1;
}
#endif

#ifdef CYN_HAVE_KQUEUE
static int half_refused(int queue, const struct kevent *in, cyn_kevent_count count, struct kevent *out,
                        cyn_kevent_count room, const struct timespec *limit) {
    int n = kevent(queue, in, count, out, room, limit);
    if (count > 1) {
        out[1].flags |= EV_ERROR;
        out[1].data = ENOMEM;
    }
    return n;
}
#endif

POLLER_TEST(change_that_was_half_made_leaves_no_events_behind) {
    struct cyn_event events[4];
    int ends[2], fd;
    check_pair(ends);
    check_send(ends[1]);
    check_watch(p, ends[0], CYN_READ | CYN_WRITE);
    struct cyn_sys table = cyn_sys;
#ifdef CYN_HAVE_EPOLL
    if (check_is(p, "epoll"))
        cyn_sys.epoll_ctl = done_and_refused;
#endif
#ifdef CYN_HAVE_KQUEUE
    if (check_is(p, "kqueue"))
        cyn_sys.kevent = half_refused;
#endif
    int n = cyn_poller_apply(p, 0);
    cyn_sys = table;
    if (p->backend->reports_closed)
        return;
    CHECK_EQ(n, 0);
    CHECK_EQ(cyn_poller_refused(p, &fd), ENOMEM);
    cyn_poller_want(p, ends[0], 0);
    CHECK_EQ(check_tick(p, events, 4), 0);
    CHECK_EQ(p->ghosts, 0);
    cyn_poller_want(p, ends[0], CYN_READ);
    CHECK_EQ(check_ready(p, ends[0]), CYN_READ);
}

POLLER_TEST(many_refusals_are_delivered_as_room_allows) {
    struct cyn_event event;
    int ends[2], others[2];
    check_pair(ends);
    check_pair(others);
    int fds[4] = {ends[0], ends[1], others[0], others[1]};
    if (!check_is(p, "epoll"))
        return;
    for (int i = 0; i < 4; i++) {
        check_watch(p, fds[i], CYN_READ);
        WITH_FAULT(EPOLL_CTL, 1, ELOOP, cyn_poller_apply(p, 0));
    }
    for (int i = 0; i < 4; i++) {
        CHECK_EQ(check_tick(p, &event, 1), 1);
        CHECK_EQ(event.fd, fds[i]);
        CHECK_EQ(event.error, ELOOP);
    }
    CHECK_EQ(check_tick(p, &event, 1), 0);
}

POLLER_TEST(change_that_could_not_be_noted_is_made_later) {
    struct cyn_event events[4];
    int fd = dup(0), refused, n;
    close(fd);
    if (p->backend->reports_closed)
        return;
    check_watch(p, fd, CYN_READ);
    WITH_FAULT(ALLOCATE, check_is(p, "kqueue") ? 2 : 1, ENOMEM, n = cyn_poller_apply(p, 0));
    CHECK_EQ(n, 0);
    CHECK_EQ(cyn_poller_refused(p, &refused), ENOMEM); /* so that no wait without end comes before it */
    CHECK_EQ(check_tick(p, events, 4), 1);
    CHECK_EQ(events[0].ready, CYN_NVAL);
}

POLLER_TEST(add_without_memory_leaves_the_poller_as_it_was) {
    int ends[2], rc;
    check_pair(ends);
    for (int at = 1; at <= 2; at++) {
        WITH_FAULT(ALLOCATE, at, ENOMEM, rc = cyn_poller_add(p, ends[0], p));
        CHECK_EQ(rc, -ENOMEM);
        CHECK_EQ(cyn_poller_want(p, ends[0], CYN_READ), -ENOENT);
        cyn_poller_close(p);
        CHECK_EQ(cyn_poller_open(p, NULL), 0);
    }
    check_watch(p, ends[0], CYN_WRITE);
    CHECK_EQ(check_ready(p, ends[0]), CYN_WRITE);
}

POLLER_TEST(poller_that_cannot_be_reopened_keeps_the_old_one) {
    int ends[2], rc;
    check_pair(ends);
    check_watch(p, ends[0], CYN_WRITE);
    CHECK_EQ(check_ready(p, ends[0]), CYN_WRITE);
    p->ghosts = 1;
    WITH_FAULT(ALLOCATE, 1, ENOMEM, rc = cyn_poller_apply(p, 0));
    CHECK_EQ(rc, 0);
    CHECK_EQ(p->ghosts, 1); /* tried again in the next settle */
    CHECK_EQ(check_ready(p, ends[0]), CYN_WRITE);
}

POLLER_TEST(opening_reports_what_the_kernel_said) {
    struct cyn_poller other;
    int rc;
    if (p->backend->reports_closed)
        return;
    WITH_FAULT(check_is(p, "epoll") ? EPOLL_CREATE : KQUEUE, 1, EMFILE, rc = cyn_poller_open(&other, p->backend->name));
    CHECK_EQ(rc, -EMFILE);
    cyn_poller_close(&other);
}

TEST(timer_without_memory_is_not_added) {
    struct cyn_timers ts = {0};
    struct cyn_timer timer = {.place = CYN_TIMER_IDLE};
    int rc;
    WITH_FAULT(ALLOCATE, 1, ENOMEM, rc = cyn_timers_add(&ts, &timer, 1));
    CHECK_EQ(rc, -ENOMEM);
    CHECK_EQ(timer.place, CYN_TIMER_IDLE);
    CHECK_EQ(ts.count, 0);
}

TEST(wake_reports_what_the_kernel_said) {
    struct cyn_wake w;
    int rc;
    CHECK_EQ(cyn_wake_open(&w), 0);
    WITH_FAULT(WRITE, 1, EIO, rc = cyn_wake_signal(&w));
    CHECK_EQ(rc, -EIO);
    WITH_FAULT(WRITE, 1, EINTR, rc = cyn_wake_signal(&w));
    CHECK_EQ(rc, 0);
    WITH_FAULT(READ, 1, EIO, rc = cyn_wake_drain(&w));
    CHECK_EQ(rc, -EIO);
    WITH_FAULT(READ, 1, EINTR, rc = cyn_wake_drain(&w));
    CHECK_EQ(rc, 0);
    cyn_wake_close(&w);
    WITH_FAULT(EVENTFD, 1, EMFILE, rc = cyn_wake_open(&w));
    CHECK_EQ(rc, -EMFILE);
    CHECK_EQ(w.read_fd, -1);
}

#ifdef CYN_HAVE_EVENTFD
static int no_eventfd(unsigned count, int flags) {
    (void)count, (void)flags;
    return errno = ENOSYS, -1;
}

/* Both ends are closed again, which the runner's count of descriptors sees. */
TEST(wake_as_a_pipe_fails_whole) {
    struct cyn_wake w;
    int rc;
    WITH_FAULT(PIPE, 1, EMFILE, cyn_sys.eventfd = no_eventfd; rc = cyn_wake_open(&w));
    CHECK_EQ(rc, -EMFILE);
    for (int at = 1; at <= 6; at++) {
        WITH_FAULT(FCNTL, at, EINVAL, cyn_sys.eventfd = no_eventfd; rc = cyn_wake_open(&w));
        CHECK_EQ(rc, -EINVAL);
        CHECK_EQ(w.read_fd, -1);
    }
}
#endif

#endif
