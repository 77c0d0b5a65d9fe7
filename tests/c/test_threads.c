/* SPDX-License-Identifier: MIT
 *
 * One thread waits while another adds, changes and removes, as cyn_poller.h allows; `big_lock` stands for the GIL, which
 * only the wait that blocks does without.
 */
#include "check.h"

#include "cyn_wake.h"

enum { ROUNDS = 2000, OTHERS = 12 };

static struct {
    pthread_mutex_t big_lock;
    pthread_cond_t waited;
    struct cyn_poller *p;
    struct cyn_wake wake;
    int stop, failed, seen, waits;
} shared = {.big_lock = PTHREAD_MUTEX_INITIALIZER, .waited = PTHREAD_COND_INITIALIZER};

static void *wait_until_stopped(void *unused) {
    struct cyn_event events[8];
    pthread_mutex_lock(&shared.big_lock);
    while (!shared.stop) {
        shared.failed |= cyn_poller_apply(shared.p, 2) < 0;
        pthread_mutex_unlock(&shared.big_lock);
        int n = cyn_poller_wait(shared.p, events, 8, -1);
        pthread_mutex_lock(&shared.big_lock);
        shared.failed |= n < 0 && n != -EINTR;
        shared.waits++;
        pthread_cond_signal(&shared.waited);
        for (int i = 0; i < n; i++)
            shared.seen += cyn_poller_owner(shared.p, &events[i]) == shared.p && events[i].fd != shared.wake.read_fd;
        cyn_wake_drain(&shared.wake);
    }
    pthread_mutex_unlock(&shared.big_lock);
    return unused;
}

/* Also over closed and reopened numbers, whose events the generation must keep apart. */
static void disturb(int fds[OTHERS], uint32_t *seed) {
    uint32_t what = check_random(seed) % 4;
    int *fd = &fds[check_random(seed) % OTHERS];
    if (what == 0)
        shared.failed |= cyn_poller_add(shared.p, *fd, shared.p) < 0;
    else if (what == 1)
        cyn_poller_want(shared.p, *fd, check_random(seed) & CYN_INTEREST);
    else
        cyn_poller_remove(shared.p, *fd);
    if (what == 3) {
        int again = dup(*fd);
        close(*fd);
        *fd = again;
    }
}

POLLER_TEST(map_may_change_under_a_wait_that_blocks) {
    pthread_t waiter;
    int fds[OTHERS], ends[2];
    shared.p = p;
    shared.stop = shared.failed = shared.seen = shared.waits = 0;
    CHECK_EQ(cyn_wake_open(&shared.wake), 0);
    CHECK_EQ(cyn_poller_add(p, shared.wake.read_fd, p), 0);
    CHECK_EQ(cyn_poller_want(p, shared.wake.read_fd, CYN_READ), 0);
    check_pair(ends);
    for (int i = 0; i < OTHERS; i++)
        fds[i] = dup(ends[0]);
    CHECK_EQ(pthread_create(&waiter, NULL, wait_until_stopped, NULL), 0);
    for (uint32_t round = 0, seed = 3; round < ROUNDS; round++) {
        pthread_mutex_lock(&shared.big_lock);
        disturb(fds, &seed);
        shared.stop = round == ROUNDS - 1;
        cyn_wake_signal(&shared.wake);
        for (int before = shared.waits; round % 4 == 0 && shared.waits == before;)
            pthread_cond_wait(&shared.waited, &shared.big_lock); /* or the waiter might never have a turn */
        pthread_mutex_unlock(&shared.big_lock);
    }
    pthread_join(waiter, NULL);
    for (int i = 0; i < OTHERS; i++)
        close(fds[i]);
    cyn_wake_close(&shared.wake);
    CHECK_EQ(shared.failed, 0);
    CHECK(shared.waits >= ROUNDS / 4);
}

static void *signal_many(void *failed) {
    for (int i = 0; i < ROUNDS; i++)
        *(int *)failed |= cyn_wake_signal(&shared.wake) < 0;
    return NULL;
}

TEST(wakes_of_two_threads_do_not_get_lost) {
    pthread_t threads[2];
    int failed[2] = {0};
    CHECK_EQ(cyn_wake_open(&shared.wake), 0);
    for (int i = 0; i < 2; i++)
        CHECK_EQ(pthread_create(&threads[i], NULL, signal_many, &failed[i]), 0);
    struct pollfd readable = {.fd = shared.wake.read_fd, .events = POLLIN};
    int woken = poll(&readable, 1, -1);
    for (int i = 0; i < 2; i++)
        pthread_join(threads[i], NULL);
    int drained = cyn_wake_drain(&shared.wake), after = poll(&readable, 1, 0);
    cyn_wake_close(&shared.wake);
    CHECK_EQ(woken, 1);
    CHECK_EQ(drained, 0);
    CHECK_EQ(after, 0);
    CHECK_EQ(failed[0] + failed[1], 0);
}
