/* SPDX-License-Identifier: MIT
 *
 * How long the kernel is told to wait. No clock is read: the table of system calls says what was asked for.
 */
#include "check.h"

TEST(milliseconds_are_rounded_up) {
    CHECK_EQ(cyn_to_milliseconds(-1), -1);
    CHECK_EQ(cyn_to_milliseconds(0), 0);
    CHECK_EQ(cyn_to_milliseconds(1), 1);
    CHECK_EQ(cyn_to_milliseconds(1000000), 1);
    CHECK_EQ(cyn_to_milliseconds(1000001), 2);
    CHECK_EQ(cyn_to_milliseconds(CYN_NEVER), INT_MAX);
}

TEST(timespec_holds_what_every_kernel_takes) {
    struct timespec span = cyn_to_timespec(3 * CYN_SECOND + 7);
    CHECK_EQ(span.tv_sec, 3);
    CHECK_EQ(span.tv_nsec, 7);
    span = cyn_to_timespec(CYN_NEVER);
    CHECK_EQ(span.tv_sec, CYN_MOST_SECONDS);
    CHECK(span.tv_nsec >= 0 && span.tv_nsec < CYN_SECOND);
}

#ifdef CYN_SYS_TABLE

enum { ENDLESS = -1, NOT_ASKED = -2 };

/* In nanoseconds, as the kernel was told; and how often it was told so by the finest call that there is. */
static struct {
    int64_t limit;
    int fine, refusal;
} asked;

static int note(const struct timespec *limit) {
    asked.limit = limit ? limit->tv_sec * CYN_SECOND + limit->tv_nsec : ENDLESS;
    return 0;
}

#if defined(CYN_HAVE_PPOLL) || defined(CYN_HAVE_EPOLL)
static int note_fine(const struct timespec *limit) {
    asked.fine++;
    if (!asked.refusal)
        return note(limit);
    errno = asked.refusal;
    return -1;
}
#endif

static int note_milliseconds(int limit) {
    asked.limit = limit < 0 ? ENDLESS : limit * INT64_C(1000000);
    return 0;
}

static int n_poll(struct pollfd *fds, nfds_t count, int limit) {
    (void)fds, (void)count;
    return note_milliseconds(limit);
}

#ifdef CYN_HAVE_PPOLL
static int n_ppoll(struct pollfd *fds, nfds_t count, const struct timespec *limit, const sigset_t *signals) {
    (void)fds, (void)count, (void)signals;
    return note_fine(limit);
}
#endif

static int n_pselect(int count, fd_set *r, fd_set *w, fd_set *e, const struct timespec *limit,
                     const sigset_t *signals) {
    (void)count, (void)r, (void)w, (void)e, (void)signals;
    return note(limit);
}

#ifdef CYN_HAVE_EPOLL
static int n_epoll_wait(int epoll, struct epoll_event *events, int room, int limit) {
    (void)epoll, (void)events, (void)room;
    return note_milliseconds(limit);
}

static int n_epoll_pwait2(int epoll, struct epoll_event *events, int room, const struct timespec *limit) {
    (void)epoll, (void)events, (void)room;
    return note_fine(limit);
}
#endif

#ifdef CYN_HAVE_KQUEUE
static int n_kevent(int queue, const struct kevent *in, cyn_kevent_count count, struct kevent *out,
                    cyn_kevent_count room, const struct timespec *limit) {
    (void)queue, (void)in, (void)count, (void)out, (void)room;
    return note(limit);
}
#endif

static int64_t limit_of(struct cyn_poller *p, int64_t timeout) {
    struct cyn_sys table = cyn_sys;
    struct cyn_event event;
    asked.limit = NOT_ASKED;
    cyn_sys.poll = n_poll;
#ifdef CYN_HAVE_PPOLL
    cyn_sys.ppoll = n_ppoll;
#endif
    cyn_sys.pselect = n_pselect;
#ifdef CYN_HAVE_EPOLL
    cyn_sys.epoll_wait = n_epoll_wait;
    cyn_sys.cyn_epoll_pwait2 = n_epoll_pwait2;
#endif
#ifdef CYN_HAVE_KQUEUE
    cyn_sys.kevent = n_kevent;
#endif
    int n = cyn_poller_wait(p, &event, 1, timeout);
    cyn_sys = table;
    CHECK_EQ(n, asked.refusal && asked.limit == NOT_ASKED ? -asked.refusal : 0);
    return asked.limit;
}

static void counts_afresh(int refusal) {
    asked.fine = 0;
    asked.refusal = refusal;
}

POLLER_TEST(kernel_is_told_what_was_asked_for) {
    counts_afresh(0);
    CHECK_EQ(limit_of(p, 0), 0);
    CHECK_EQ(limit_of(p, -1), ENDLESS);
    CHECK_EQ(limit_of(p, 2000000), 2000000);
    CHECK_EQ(limit_of(p, 3 * CYN_SECOND), 3 * CYN_SECOND);
#ifndef CYN_HAVE_PPOLL
    if (check_is(p, "poll"))
        return;
#endif
    CHECK_EQ(limit_of(p, 1), 1);
    CHECK_EQ(limit_of(p, 1234567), 1234567);
}

POLLER_TEST(look_and_wait_without_end_take_the_plain_call) {
    counts_afresh(0);
    limit_of(p, 0);
    limit_of(p, -1);
    CHECK_EQ(asked.fine, 0);
}

#ifdef CYN_HAVE_EPOLL
static void rounds_up_after(struct cyn_poller *p, int refusal) {
    if (!check_is(p, "epoll"))
        return;
    counts_afresh(refusal);
    CHECK_EQ(limit_of(p, 1), 1000000);
    CHECK_EQ(limit_of(p, 2000001), 3000000);
    CHECK_EQ(asked.fine, 1); /* not asked again */
}

POLLER_TEST(kernel_that_counts_in_milliseconds_is_told_more) {
    rounds_up_after(p, ENOSYS);
}

POLLER_TEST(sandbox_without_the_newer_call_is_told_more) {
    rounds_up_after(p, EPERM);
}

POLLER_TEST(newer_call_that_a_signal_ended_is_made_again) {
    if (!check_is(p, "epoll"))
        return;
    counts_afresh(EINTR);
    CHECK_EQ(limit_of(p, 1), NOT_ASKED);
    CHECK_EQ(limit_of(p, 1), NOT_ASKED);
    CHECK_EQ(asked.fine, 2);
}
#endif

static void *no_memory(void *old, size_t size) {
    (void)old, (void)size;
    return NULL;
}

#ifdef CYN_HAVE_EPOLL
static int no_watches(int epoll, int op, int fd, struct epoll_event *event) {
    (void)epoll, (void)op, (void)fd, (void)event;
    return errno = ENOSPC, -1;
}
#endif

POLLER_TEST(wait_is_short_while_something_is_to_be_tried_again) {
    struct cyn_sys table = cyn_sys;
    int ends[2];
    check_pair(ends);
    check_watch(p, ends[0], CYN_READ);
    cyn_sys.realloc = no_memory;
#ifdef CYN_HAVE_EPOLL
    cyn_sys.epoll_ctl = no_watches;
#endif
    cyn_poller_apply(p, 0);
    cyn_sys = table;
    counts_afresh(0);
    CHECK_EQ(limit_of(p, -1), CYN_SECOND / 10);
    CHECK_EQ(limit_of(p, CYN_SECOND), CYN_SECOND / 10);
    CHECK_EQ(limit_of(p, 2000000), 2000000);
    CHECK_EQ(limit_of(p, 0), 0);
    CHECK_EQ(cyn_poller_apply(p, 0), 1);
    CHECK_EQ(limit_of(p, -1), ENDLESS);
}

#endif
