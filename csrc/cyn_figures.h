/* SPDX-License-Identifier: MIT
 *
 * The figures of a loop: what it has counted, and how often what took how long. They are plain integers, because they
 * are kept always. Whoever reads them in another thread may see them a moment apart.
 */
#ifndef CYN_FIGURES_H
#define CYN_FIGURES_H

#include <stdint.h>

enum {
    CYN_TIMES_FIRST = 10, /* the first bucket is below 2^10 ns, about a microsecond; each has twice the time */
    CYN_TIMES = 26,       /* the last bucket has what took 2^34 ns, about 17 s, and longer */
    CYN_STAMP = 27,       /* a stamp counts 2^27 ns, an eighth of a second; 32 bits of it are 18 years */
};

/* A histogram of times. */
struct cyn_times {
    uint64_t counts[CYN_TIMES];
    uint64_t total; /* ns */
    uint64_t most;  /* ns */
};

struct cyn_figures {
    uint64_t events; /* that were delivered */
    uint64_t calls;  /* queued calls and timers that were made */
    uint64_t sweeps; /* rounds in which all predicates were asked */
    uint64_t accepts;
    uint64_t errors;   /* exceptions of handlers, predicates and callbacks */
    uint64_t received; /* bytes */
    uint64_t sent;
    int64_t begun;  /* ns; when the loop was made */
    int64_t since;  /* ns; since then the loop works on what a wait has returned. 0: it does not */
    uint32_t stamp; /* the time of that, see CYN_STAMP */
    struct cyn_times lag;
    struct cyn_times handlers;
};

static inline int cyn_times_place(uint64_t ns) {
    ns >>= CYN_TIMES_FIRST;
    if (ns == 0)
        return 0;
#if defined(__GNUC__)
    int place = 64 - __builtin_clzll(ns);
#else
    int place = 0;
    for (; ns; ns >>= 1)
        place++;
#endif
    return place < CYN_TIMES ? place : CYN_TIMES - 1;
}

static inline void cyn_times_note(struct cyn_times *times, int64_t ns) {
    uint64_t taken = ns > 0 ? (uint64_t)ns : 0;
    times->counts[cyn_times_place(taken)]++;
    times->total += taken;
    if (taken > times->most)
        times->most = taken;
}

#endif
