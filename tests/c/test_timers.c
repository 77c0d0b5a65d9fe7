/* SPDX-License-Identifier: MIT
 *
 * The timer heap, also against a sorted list under random work.
 */
#include "check.h"

#include "cyn_timers.h"

enum { MANY = 300 };

static struct cyn_timer idle[MANY];

static void reset(void) {
    for (int i = 0; i < MANY; i++)
        idle[i] = (struct cyn_timer){.place = CYN_TIMER_IDLE};
}

TEST(empty_heap_has_no_deadline) {
    struct cyn_timers ts = {0};
    CHECK_EQ(cyn_timers_next(&ts), INT64_MAX);
    CHECK(!cyn_timers_due(&ts, INT64_MAX, UINT64_MAX));
}

TEST(timer_is_due_at_its_deadline_and_not_before) {
    struct cyn_timers ts = {0};
    reset();
    CHECK_EQ(cyn_timers_add(&ts, &idle[0], 100), 0);
    CHECK_EQ(cyn_timers_next(&ts), 100);
    CHECK(!cyn_timers_due(&ts, 99, UINT64_MAX));
    CHECK(cyn_timers_due(&ts, 100, UINT64_MAX) == &idle[0]);
    CHECK_EQ(idle[0].place, CYN_TIMER_IDLE);
    cyn_timers_free(&ts);
}

TEST(equal_deadlines_keep_the_order_of_adding) {
    struct cyn_timers ts = {0};
    reset();
    for (int i = 0; i < MANY; i++)
        CHECK_EQ(cyn_timers_add(&ts, &idle[i], 7), 0);
    for (int i = 0; i < MANY; i++)
        CHECK(cyn_timers_due(&ts, 7, UINT64_MAX) == &idle[i]);
    cyn_timers_free(&ts);
}

TEST(timer_added_after_the_mark_waits) {
    struct cyn_timers ts = {0};
    reset();
    CHECK_EQ(cyn_timers_add(&ts, &idle[0], 7), 0);
    uint64_t mark = cyn_timers_mark(&ts);
    CHECK_EQ(cyn_timers_add(&ts, &idle[1], 7), 0);
    CHECK_EQ(cyn_timers_count(&ts), 2);
    CHECK(cyn_timers_due(&ts, 7, mark) == &idle[0]);
    CHECK(!cyn_timers_due(&ts, 7, mark));
    CHECK(cyn_timers_due(&ts, 7, cyn_timers_mark(&ts)) == &idle[1]);
    cyn_timers_free(&ts);
}

TEST(timer_cannot_wait_twice) {
    struct cyn_timers ts = {0};
    reset();
    CHECK_EQ(cyn_timers_add(&ts, &idle[0], 1), 0);
    CHECK_EQ(cyn_timers_add(&ts, &idle[0], 2), -EBUSY);
    CHECK_EQ(ts.count, 1);
    cyn_timers_free(&ts);
}

TEST(cancel_takes_out_once) {
    struct cyn_timers ts = {0};
    reset();
    CHECK_EQ(cyn_timers_add(&ts, &idle[0], 1), 0);
    CHECK_EQ(cyn_timers_cancel(&ts, &idle[0]), 1);
    CHECK_EQ(cyn_timers_cancel(&ts, &idle[0]), 0);
    CHECK_EQ(cyn_timers_next(&ts), INT64_MAX);
    cyn_timers_free(&ts);
}

TEST(cancel_of_another_heaps_timer_does_nothing) {
    struct cyn_timers ours = {0}, theirs = {0};
    reset();
    CHECK_EQ(cyn_timers_add(&ours, &idle[0], 1), 0);
    CHECK_EQ(cyn_timers_add(&theirs, &idle[1], 1), 0);
    CHECK_EQ(cyn_timers_cancel(&ours, &idle[1]), 0);
    CHECK_EQ(ours.count, 1);
    cyn_timers_free(&ours);
    cyn_timers_free(&theirs);
}

TEST(cancelled_timer_can_be_added_again) {
    struct cyn_timers ts = {0};
    reset();
    CHECK_EQ(cyn_timers_add(&ts, &idle[0], 1), 0);
    CHECK_EQ(cyn_timers_cancel(&ts, &idle[0]), 1);
    CHECK_EQ(cyn_timers_add(&ts, &idle[0], 5), 0);
    CHECK_EQ(cyn_timers_next(&ts), 5);
    cyn_timers_free(&ts);
}

TEST(freeing_the_heap_leaves_its_timers_idle) {
    struct cyn_timers ts = {0};
    reset();
    for (int i = 0; i < MANY; i++)
        CHECK_EQ(cyn_timers_add(&ts, &idle[i], -i), 0);
    cyn_timers_free(&ts);
    for (int i = 0; i < MANY; i++)
        CHECK_EQ(idle[i].place, CYN_TIMER_IDLE);
    CHECK_EQ(ts.count, 0);
}

TEST(extreme_deadlines_are_ordered) {
    struct cyn_timers ts = {0};
    reset();
    CHECK_EQ(cyn_timers_add(&ts, &idle[0], INT64_MAX), 0);
    CHECK_EQ(cyn_timers_add(&ts, &idle[1], INT64_MIN), 0);
    CHECK(cyn_timers_due(&ts, INT64_MIN, UINT64_MAX) == &idle[1]);
    CHECK(!cyn_timers_due(&ts, INT64_MAX - 1, UINT64_MAX));
    CHECK(cyn_timers_due(&ts, INT64_MAX, UINT64_MAX) == &idle[0]);
    cyn_timers_free(&ts);
}

TEST(clock_does_not_go_back) {
    int64_t first = cyn_clock();
    CHECK(first > 0);
    CHECK(cyn_clock() >= first);
}

/* The model: the earliest of all that wait, found by looking at each. */
static struct cyn_timer *earliest(void) {
    struct cyn_timer *best = NULL;
    for (int i = 0; i < MANY; i++) {
        struct cyn_timer *t = &idle[i];
        if (t->place != CYN_TIMER_IDLE &&
            (!best || t->due < best->due || (t->due == best->due && t->order < best->order)))
            best = t;
    }
    return best;
}

static void random_step(struct cyn_timers *ts, uint32_t *seed) {
    struct cyn_timer *t = &idle[check_random(seed) % MANY];
    int waiting = t->place != CYN_TIMER_IDLE;
    switch (check_random(seed) % 4) {
    case 0:
    case 1:
        CHECK_EQ(cyn_timers_add(ts, t, check_random(seed) % 50), waiting ? -EBUSY : 0);
        break;
    case 2:
        CHECK_EQ(cyn_timers_cancel(ts, t), waiting);
        break;
    default: {
        int64_t now = check_random(seed) % 50;
        struct cyn_timer *expected = earliest();
        CHECK(cyn_timers_due(ts, now, UINT64_MAX) == (expected && expected->due <= now ? expected : NULL));
    }
    }
}

TEST(random_work_agrees_with_a_plain_search) {
    struct cyn_timers ts = {0};
    reset();
    for (uint32_t round = 1, seed = 1; round <= 20000; round++) {
        random_step(&ts, &seed);
        struct cyn_timer *expected = earliest();
        CHECK_EQ(cyn_timers_next(&ts), expected ? expected->due : INT64_MAX);
    }
    cyn_timers_free(&ts);
}
