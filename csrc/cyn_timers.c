/* SPDX-License-Identifier: MIT
 *
 * Deadlines in a 4-ary heap.
 *
 * Facts:
 * - The four children of a node take 32 bytes, half a cache line, and the heap is half as deep as a binary one. Adding
 *   compares half as often as there, taking out about as often.
 * - A heap does not keep the order of equals, so each timer has a number that grows with every add.
 * - CLOCK_MONOTONIC does not go back and does not jump with the wall clock (clock_gettime(2)).
 */
#include "cyn_timers.h"

#include <errno.h>

#include "cyn_sys.h"

enum { ARITY = 4, FIRST_ROOM = 64 };

static int before(const struct cyn_timer *a, const struct cyn_timer *b) {
    return a->due < b->due || (a->due == b->due && a->order < b->order);
}

static void put(struct cyn_timers *ts, size_t place, struct cyn_timer *t) {
    ts->heap[place] = t;
    t->place = place;
}

static void move_up(struct cyn_timers *ts, size_t place, struct cyn_timer *t) {
    while (place > 0) {
        size_t parent = (place - 1) / ARITY;
        if (!before(t, ts->heap[parent]))
            break;
        put(ts, place, ts->heap[parent]);
        place = parent;
    }
    put(ts, place, t);
}

/* Returns the earliest child of `place`, or `place` itself if it has none. */
static size_t earliest_child(const struct cyn_timers *ts, size_t place) {
    size_t first = place * ARITY + 1;
    if (first >= ts->count)
        return place;
    size_t end = ts->count - first < ARITY ? ts->count : first + ARITY;
    size_t best = first;
    for (size_t child = first + 1; child < end; child++)
        if (before(ts->heap[child], ts->heap[best]))
            best = child;
    return best;
}

static void move_down(struct cyn_timers *ts, size_t place, struct cyn_timer *t) {
    for (;;) {
        size_t child = earliest_child(ts, place);
        if (child == place || !before(ts->heap[child], t))
            break;
        put(ts, place, ts->heap[child]);
        place = child;
    }
    put(ts, place, t);
}

static void take_out(struct cyn_timers *ts, struct cyn_timer *t) {
    size_t place = t->place;
    struct cyn_timer *last = ts->heap[--ts->count];
    t->place = CYN_TIMER_IDLE;
    if (last == t)
        return;
    if (before(last, t))
        move_up(ts, place, last);
    else
        move_down(ts, place, last);
}

static int make_room(struct cyn_timers *ts) {
    size_t room = ts->room ? ts->room * 2 : FIRST_ROOM;
    if (room > SIZE_MAX / sizeof *ts->heap)
        return -ENOMEM;
    struct cyn_timer **heap = CYN_SYS(realloc)(ts->heap, room * sizeof *heap);
    if (!heap)
        return -ENOMEM;
    ts->heap = heap;
    ts->room = room;
    return 0;
}

int cyn_timers_add(struct cyn_timers *ts, struct cyn_timer *t, int64_t due) {
    if (t->place != CYN_TIMER_IDLE)
        return -EBUSY;
    if (ts->count == ts->room && make_room(ts) < 0)
        return -ENOMEM;
    t->due = due;
    t->order = ts->next_order++;
    move_up(ts, ts->count++, t);
    return 0;
}

int cyn_timers_cancel(struct cyn_timers *ts, struct cyn_timer *t) {
    if (t->place >= ts->count || ts->heap[t->place] != t)
        return 0;
    take_out(ts, t);
    return 1;
}

struct cyn_timer *cyn_timers_due(struct cyn_timers *ts, int64_t now, uint64_t mark) {
    if (ts->count == 0 || ts->heap[0]->due > now || ts->heap[0]->order >= mark)
        return NULL;
    struct cyn_timer *t = ts->heap[0];
    take_out(ts, t);
    return t;
}

int64_t cyn_timers_next(const struct cyn_timers *ts) {
    return ts->count ? ts->heap[0]->due : INT64_MAX;
}

void cyn_timers_free(struct cyn_timers *ts) {
    for (size_t i = 0; i < ts->count; i++)
        ts->heap[i]->place = CYN_TIMER_IDLE;
    CYN_SYS(free)(ts->heap);
    *ts = (struct cyn_timers){0};
}

int64_t cyn_clock(void) {
    struct timespec now = {0};
    CYN_SYS(clock_gettime)(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}
