/* SPDX-License-Identifier: MIT
 *
 * Other threads of the process: whether they have done something, and a pause in which they can.
 *
 * Facts:
 * - Each time that a thread blocks, the kernel counts a voluntary switch (getrusage(2), ru_nvcsw). Threads that have
 *   ended are counted for the process as well.
 * - A sleep takes the time that was asked for and the slack of timers, 50 us unless it was changed. A thread may change
 *   its own (prctl(2), PR_SET_TIMERSLACK). A thread that is scheduled in real time has none.
 * - RUSAGE_THREAD is of Linux and FreeBSD.
 */
#ifndef CYN_THREADS_H
#define CYN_THREADS_H

#include <sched.h>
#include <sys/resource.h>
#include <time.h>
#ifdef __linux__
#include <sys/prctl.h>
#endif

/* Returns how often the other threads have blocked so far; -1: not known here. With the same number as before, each of
 * them has slept or computed all the time. */
static inline long cyn_others_blocked(void) {
#ifdef RUSAGE_THREAD
    struct rusage all, own;
    if (getrusage(RUSAGE_SELF, &all) == 0 && getrusage(RUSAGE_THREAD, &own) == 0)
        return all.ru_nvcsw - own.ru_nvcsw;
#endif
    return -1;
}

/* Lets a thread run that shares the processor, and returns whether one has blocked since `blocked` was counted. */
static inline int cyn_yield(long blocked) {
    sched_yield();
    return blocked >= 0 && cyn_others_blocked() != blocked;
}

/* Sleeps for some 20 us longer than so many ns, below 1e9: a shorter sleep is not to be had on Linux. */
static inline void cyn_nap(long ns) {
    const struct timespec asked = {0, ns};
#ifdef PR_SET_TIMERSLACK
    int slack = prctl(PR_GET_TIMERSLACK, 0, 0, 0, 0);
    if (slack > 0)
        prctl(PR_SET_TIMERSLACK, 1UL, 0, 0, 0);
#endif
    nanosleep(&asked, NULL);
#ifdef PR_SET_TIMERSLACK
    if (slack > 0)
        prctl(PR_SET_TIMERSLACK, (unsigned long)slack, 0, 0, 0);
#endif
}

#endif
