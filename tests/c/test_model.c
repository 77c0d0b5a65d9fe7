/* SPDX-License-Identifier: MIT
 *
 * Random work on every backend against a model that knows no kernel: descriptors that are added, changed, removed, taken
 * over, filled, drained, hung on a dup, closed behind the poller's back and opened again under the same number.
 */
#include "check.h"

enum { THINGS = 8, STEPS = 4000, SEEDS = 5, FIRST_FD = 100, ELSEWHERE = 200 };

/* One descriptor number and what is behind it. */
struct thing {
    int fd, peer; /* peer -1: closed */
    int dup;      /* -1: none; keeps alive what the number meant when it was made */
    int unread;   /* bytes */
    int registered;
    unsigned wanted, armed; /* armed: what was wanted at the last tick that changed something */
    int changed;            /* the interest, since the last tick */
    int reported;           /* its closing was, and nothing changed since: no more events */
    int lost;               /* closed while armed: an open number may be unwatched until its interest changes */
    int haunted;            /* what the number once meant lives on: extra events may come, none may be missing */
};

static struct thing things[THINGS];

/* Each number is one thing's for ever: peers and dups live elsewhere. */
static int moved(int fd, int at_least) {
    int to = fcntl(fd, F_DUPFD, at_least);
    CHECK(to >= at_least);
    close(fd);
    return to;
}

static void open_thing(struct thing *t) {
    int ends[2];
    CHECK_EQ(socketpair(AF_UNIX, SOCK_STREAM, 0, ends), 0);
    CHECK_EQ(moved(ends[0], t->fd), t->fd);
    t->peer = moved(ends[1], ELSEWHERE);
    t->unread = 0;
}

static void close_thing(struct thing *t) {
    if (t->peer < 0)
        return;
    close(t->fd);
    close(t->peer);
    t->peer = -1;
    t->unread = 0;
    t->lost |= t->armed != 0;
    t->haunted |= t->dup >= 0;
}

static void reopen_thing(struct thing *t) {
    if (t->peer >= 0)
        return;
    if (t->dup >= 0)
        close(t->dup);
    t->dup = -1;
    open_thing(t);
}

static void change_kernel(struct thing *t, uint32_t *seed) {
    char c = 0;
    switch (check_random(seed) % 5) {
    case 0:
        if (t->peer >= 0 && t->unread < 100 && write(t->peer, &c, 1) == 1)
            t->unread++;
        break;
    case 1:
        if (t->unread && read(t->fd, &c, 1) == 1)
            t->unread--;
        break;
    case 2:
        if (t->peer >= 0 && t->dup < 0)
            t->dup = fcntl(t->fd, F_DUPFD, ELSEWHERE);
        break;
    case 3:
        close_thing(t);
        break;
    default:
        reopen_thing(t);
    }
}

static void change_poller(struct cyn_poller *p, struct thing *t, uint32_t *seed) {
    unsigned mask = check_random(seed) & CYN_INTEREST;
    switch (check_random(seed) % 4) {
    case 0:
        CHECK_EQ(cyn_poller_add(p, t->fd, t), 0);
        *t = (struct thing){t->fd, t->peer, t->dup, t->unread, .registered = 1};
        break;
    case 1:
        CHECK_EQ(cyn_poller_remove(p, t->fd), t->registered ? 0 : -ENOENT);
        *t = (struct thing){t->fd, t->peer, t->dup, t->unread, .registered = 0};
        break;
    default:
        CHECK_EQ(cyn_poller_want(p, t->fd, mask), t->registered ? 0 : -ENOENT);
        if (t->registered) {
            t->changed |= mask != t->wanted;
            t->wanted = mask;
        }
    }
}

static unsigned expected(struct thing *t) {
    if (t->changed && t->wanted != t->armed) {
        t->armed = t->wanted;
        t->reported = t->lost = 0;
    }
    t->changed = 0;
    if (!t->wanted || t->reported)
        return 0;
    if (t->peer < 0)
        return CYN_NVAL;
    return t->wanted & ((t->unread ? CYN_READ : 0U) | CYN_WRITE);
}

/* `closing`: this tick reported a closed number, and select(2) says nothing of the others then. */
static void compare(const struct cyn_poller *p, struct thing *t, unsigned got, int closing) {
    unsigned want = expected(t);
    int by_number = p->backend->reports_closed;
    if (want == CYN_NVAL) {
        CHECK(got & CYN_NVAL);
        t->reported = 1;
        t->lost = 0;
        t->armed = by_number ? t->armed : 0;
    } else if (t->lost && !by_number) {
        CHECK_EQ(got & CYN_NVAL, 0);
    } else if (closing && check_is(p, "select")) {
        CHECK_EQ(got, 0);
    } else if (t->haunted && !by_number) {
        CHECK_EQ(got & want, want);
    } else {
        CHECK_EQ(got, want);
    }
}

static void tick(struct cyn_poller *p) {
    struct cyn_event events[ROOM];
    unsigned got[THINGS] = {0};
    int n = check_tick(p, events, ROOM), closing = 0;
    for (int i = 0; i < n; i++) {
        struct thing *t = cyn_poller_owner(p, &events[i]);
        if (!t)
            continue;
        CHECK_EQ(t->fd, events[i].fd);
        CHECK_EQ(events[i].error, events[i].ready & CYN_NVAL ? EBADF : 0);
        got[t - things] |= events[i].ready;
        closing |= (events[i].ready & CYN_NVAL) != 0;
    }
    for (int i = 0; i < THINGS; i++)
        compare(p, &things[i], got[i], closing);
}

static void finish(struct cyn_poller *p) {
    struct cyn_event events[ROOM];
    for (int i = 0; i < THINGS; i++)
        if (things[i].registered)
            CHECK_EQ(cyn_poller_remove(p, things[i].fd), 0);
    check_tick(p, events, ROOM);
    CHECK_EQ(check_tick(p, events, ROOM), 0);
    for (int i = 0; i < THINGS; i++) {
        close_thing(&things[i]);
        if (things[i].dup >= 0)
            close(things[i].dup);
    }
}

POLLER_TEST(random_work_agrees_with_the_model) {
    for (uint32_t seed_at = 1; seed_at <= SEEDS; seed_at++) {
        uint32_t seed = seed_at;
        for (int i = 0; i < THINGS; i++) {
            things[i] = (struct thing){.fd = FIRST_FD + i, .peer = -1, .dup = -1};
            open_thing(&things[i]);
        }
        for (int step = 0; step < STEPS; step++) {
            struct thing *t = &things[check_random(&seed) % THINGS];
            if (check_random(&seed) % 2)
                change_kernel(t, &seed);
            else
                change_poller(p, t, &seed);
            if (check_random(&seed) % 3 == 0)
                tick(p);
        }
        finish(p);
    }
}
