/* SPDX-License-Identifier: MIT
 *
 * Deadlines in a 4-ary heap. Add and cancel take O(log n), reading the earliest O(1). Equal deadlines keep the order
 * in which they were added. The caller owns the timers. The heap holds pointers to them and writes its place into
 * each timer, so that a cancel needs no search.
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

/* A struct cyn_timers of all zero is an empty heap. In a new timer, set place = CYN_TIMER_IDLE. */

/* Adds a timer and returns 0. -ENOMEM; -EBUSY: the timer is in a heap already. */
int cyn_timers_add(struct cyn_timers *ts, struct cyn_timer *t, int64_t due);

/* Takes a timer out and returns 1. 0: it was not in the heap. */
int cyn_timers_cancel(struct cyn_timers *ts, struct cyn_timer *t);

/* Returns a mark for cyn_timers_due, which tells timers that were added before from those added after it. */
static inline uint64_t cyn_timers_mark(const struct cyn_timers *ts) {
    return ts->next_order;
}

static inline size_t cyn_timers_count(const struct cyn_timers *ts) {
    return ts->count;
}

/* Takes out and returns the earliest timer, if it is due at `now` and was added before the mark (UINT64_MAX: whenever
 * it was added). Else NULL. */
struct cyn_timer *cyn_timers_due(struct cyn_timers *ts, int64_t now, uint64_t mark);

/* Returns the earliest deadline, or INT64_MAX if there is none. */
int64_t cyn_timers_next(const struct cyn_timers *ts);

/* Frees the heap, and marks each timer in it as idle. */
void cyn_timers_free(struct cyn_timers *ts);

/* Returns the time now, in nanoseconds of the monotonic clock. */
int64_t cyn_clock(void);

#endif
