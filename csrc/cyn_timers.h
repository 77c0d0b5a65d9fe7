/* SPDX-License-Identifier: MIT
 *
 * Deadlines in a 4-ary heap: add and cancel in O(log n), the earliest in O(1), equal deadlines in the order of their adding.
 * The caller owns the timers; the heap holds pointers and tells each timer its place, so that a cancel needs no search.
 */
#ifndef CYN_TIMERS_H
#define CYN_TIMERS_H

#include <stddef.h>
#include <stdint.h>

#define CYN_TIMER_IDLE SIZE_MAX

struct cyn_timer {
    int64_t due; /* nanoseconds of the monotonic clock */
    uint64_t order;
    size_t place; /* in the heap, or CYN_TIMER_IDLE */
};

struct cyn_timers {
    struct cyn_timer **heap;
    size_t count, room;
    uint64_t next_order;
};

/* All zero is an empty heap; set place = CYN_TIMER_IDLE in a new timer. */

/* -ENOMEM; -EBUSY where the timer is in a heap already. */
int cyn_timers_add(struct cyn_timers *ts, struct cyn_timer *t, int64_t due);

/* 1: it was waiting and is out now; 0: it was not waiting. */
int cyn_timers_cancel(struct cyn_timers *ts, struct cyn_timer *t);

/* Where the timers that are added from now on begin, for cyn_timers_due. */
static inline uint64_t cyn_timers_mark(const struct cyn_timers *ts) {
    return ts->next_order;
}

static inline size_t cyn_timers_count(const struct cyn_timers *ts) {
    return ts->count;
}

/* Takes out and returns the earliest timer if it is due at `now` and was added before `mark` was taken (UINT64_MAX: at any
 * time), else NULL. */
struct cyn_timer *cyn_timers_due(struct cyn_timers *ts, int64_t now, uint64_t mark);

/* The earliest deadline, INT64_MAX where there is none. */
int64_t cyn_timers_next(const struct cyn_timers *ts);

/* Frees the heap, not the timers: each is marked idle. */
void cyn_timers_free(struct cyn_timers *ts);

/* Now, on the monotonic clock, in nanoseconds. */
int64_t cyn_clock(void);

#endif
