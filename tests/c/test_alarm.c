/* SPDX-License-Identifier: MIT
 *
 * The alarm, as a loop that hosts this one by its descriptor sees it.
 */
#include "check.h"

#include "cyn_timers.h"

enum { HOUR = 3600 };

static int64_t in_an_hour(void) {
    return cyn_clock() + HOUR * CYN_SECOND;
}

/* Is the poller's descriptor readable? Waits until it is, for ever where `limit` is -1. */
static int readable(const struct cyn_poller *p, int limit) {
    struct pollfd outer = {.fd = cyn_poller_fd(p), .events = POLLIN};
    return poll(&outer, 1, limit);
}

/* 1: this backend has alarms, and one has fired. */
static int ring(struct cyn_poller *p) {
    if (p->backend->reports_closed)
        return 0;
    CHECK_EQ(cyn_poller_alarm(p, cyn_clock()), 0);
    CHECK_EQ(readable(p, -1), 1);
    return 1;
}

POLLER_TEST(alarm_is_not_supported_without_a_descriptor) {
    CHECK_EQ(cyn_poller_alarm(p, 1), p->backend->reports_closed ? -ENOTSUP : 0);
}

POLLER_TEST(alarm_makes_the_pollers_descriptor_readable) {
    if (p->backend->reports_closed)
        return;
    CHECK_EQ(cyn_poller_alarm(p, in_an_hour()), 0);
    CHECK_EQ(readable(p, 0), 0);
    CHECK_EQ(cyn_poller_alarm(p, cyn_clock() + 1000000), 0);
    CHECK_EQ(readable(p, -1), 1);
}

POLLER_TEST(moment_before_the_clock_began_is_past) {
    if (p->backend->reports_closed)
        return;
    CHECK_EQ(cyn_poller_alarm(p, INT64_MIN), 0);
    CHECK_EQ(readable(p, -1), 1);
}

POLLER_TEST(moment_that_no_clock_reaches_is_never) {
    struct cyn_event event;
    if (!ring(p))
        return;
    CHECK_EQ(cyn_poller_alarm(p, CYN_NEVER - 1), 0);
    CHECK_EQ(readable(p, 0), 0);
    CHECK_EQ(cyn_poller_wait(p, &event, 1, 0), 0);
}

POLLER_TEST(alarm_ends_a_wait_without_an_event) {
    struct cyn_event event;
    if (p->backend->reports_closed)
        return;
    CHECK_EQ(cyn_poller_alarm(p, cyn_clock() + 1000000), 0);
    CHECK_EQ(cyn_poller_wait(p, &event, 1, -1), 0);
}

POLLER_TEST(alarm_that_was_seen_is_over) {
    struct cyn_event event;
    if (!ring(p))
        return;
    CHECK_EQ(cyn_poller_wait(p, &event, 1, 0), 0);
    CHECK_EQ(readable(p, 0), 0);
    CHECK_EQ(p->ghosts, 0);
}

POLLER_TEST(moment_that_was_seen_can_be_set_again) {
    struct cyn_event event;
    int64_t when = cyn_clock();
    for (int i = 0; i < 3 && !p->backend->reports_closed; i++) {
        CHECK_EQ(cyn_poller_alarm(p, when), 0);
        CHECK_EQ(readable(p, -1), 1);
        CHECK_EQ(cyn_poller_wait(p, &event, 1, 0), 0);
    }
}

POLLER_TEST(alarm_that_is_taken_back_or_put_off_is_not_heard) {
    if (!ring(p))
        return;
    CHECK_EQ(cyn_poller_alarm(p, CYN_NEVER), 0);
    CHECK_EQ(readable(p, 0), 0);
    CHECK(ring(p));
    CHECK_EQ(cyn_poller_alarm(p, in_an_hour()), 0);
    CHECK_EQ(readable(p, 0), 0);
}

/* Whichever place the alarm has among the kernel's events. */
POLLER_TEST(events_beside_an_alarm_stay_whole) {
    enum { PAIRS = 3 };
    struct cyn_event events[PAIRS + 1];
    int ends[PAIRS][2];
    for (int i = 0; i < PAIRS; i++)
        check_pair(ends[i]);
    for (int place = 0; place <= PAIRS; place++) {
        int seen = 0, rung = place == PAIRS;
        for (int i = 0; i < PAIRS; i++) {
            check_watch(p, ends[i][0], CYN_READ);
            CHECK(cyn_poller_apply(p, 0) >= 0);
            if (i == place)
                rung = ring(p);
            check_send(ends[i][1]);
        }
        if (rung && !ring(p))
            return;
        CHECK_EQ(cyn_poller_wait(p, events, PAIRS + 1, 0), PAIRS);
        for (int k = 0; k < PAIRS; k++) {
            CHECK_EQ(events[k].ready, CYN_READ);
            CHECK(cyn_poller_owner(p, &events[k]) == check_owner(events[k].fd));
            for (int i = 0; i < PAIRS; i++)
                seen |= (events[k].fd == ends[i][0]) << i;
        }
        CHECK_EQ(seen, (1 << PAIRS) - 1);
        for (int i = 0; i < PAIRS; i++) {
            check_take(ends[i][0]);
            CHECK_EQ(cyn_poller_remove(p, ends[i][0]), 0);
        }
    }
}

POLLER_TEST(alarm_and_events_take_turns_where_there_is_room_for_one) {
    struct cyn_event event;
    int ends[2], got = 0;
    check_pair(ends);
    check_send(ends[1]);
    check_watch(p, ends[0], CYN_READ);
    CHECK_EQ(cyn_poller_apply(p, 0), 1);
    if (!ring(p))
        return;
    for (int i = 0; i < 4; i++)
        got += cyn_poller_wait(p, &event, 1, 0);
    CHECK_EQ(got, 3);
    CHECK_EQ(p->alarm, CYN_NEVER);
}

POLLER_TEST(alarm_goes_over_to_a_new_backend) {
    struct cyn_event event;
    if (p->backend->reports_closed)
        return;
    CHECK_EQ(cyn_poller_alarm(p, cyn_clock() + 1000000), 0);
    p->ghosts = 1;
    CHECK_EQ(cyn_poller_apply(p, 0), 0);
    CHECK_EQ(p->ghosts, 0);
    CHECK_EQ(readable(p, -1), 1);
    CHECK_EQ(cyn_poller_wait(p, &event, 1, 0), 0);
    p->ghosts = 1;
    CHECK_EQ(cyn_poller_apply(p, 0), 0);
    CHECK_EQ(readable(p, 0), 0);
}

POLLER_TEST(alarm_is_not_inherited_by_programs) {
    int fd = dup(0);
    close(fd);
    CHECK_EQ(cyn_poller_alarm(p, in_an_hour()), p->backend->reports_closed ? -ENOTSUP : 0);
    if (check_is(p, "epoll"))
        CHECK(fcntl(fd, F_GETFD) & FD_CLOEXEC);
}
