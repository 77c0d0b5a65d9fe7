/* SPDX-License-Identifier: MIT
 *
 * The wake-up descriptor, as an eventfd and as a pipe.
 */
#include "check.h"

#include "cyn_wake.h"

static struct cyn_wake opened(void) {
    struct cyn_wake w;
    CHECK_EQ(cyn_wake_open(&w), 0);
    return w;
}

#ifdef CYN_SYS_TABLE
static int no_eventfd(unsigned count, int flags) {
    (void)count, (void)flags;
    errno = ENOSYS;
    return -1;
}

static struct cyn_wake opened_as_pipe(void) {
    struct cyn_wake w;
#ifdef CYN_HAVE_EVENTFD
    cyn_sys.eventfd = no_eventfd;
#endif
    int rc = cyn_wake_open(&w);
#ifdef CYN_HAVE_EVENTFD
    cyn_sys.eventfd = eventfd;
#else
    (void)no_eventfd;
#endif
    CHECK_EQ(rc, 0);
    CHECK(w.read_fd != w.write_fd);
    return w;
}

TEST(full_pipe_is_a_wake_that_is_pending) {
    struct cyn_wake w = opened_as_pipe();
    for (int i = 0; i < 200000; i++)
        CHECK_EQ(cyn_wake_signal(&w), 0);
    CHECK_EQ(cyn_wake_drain(&w), 0);
    char c;
    CHECK_EQ(read(w.read_fd, &c, 1), -1);
    CHECK_EQ(errno, EAGAIN);
    cyn_wake_close(&w);
}
#else
#define opened_as_pipe opened
#endif

static void wakes(struct cyn_poller *p, struct cyn_wake w) {
    check_watch(p, w.read_fd, CYN_READ);
    CHECK_EQ(check_ready(p, w.read_fd), 0);
    CHECK_EQ(cyn_wake_signal(&w), 0);
    CHECK_EQ(cyn_wake_signal(&w), 0);
    CHECK_EQ(check_ready(p, w.read_fd), CYN_READ);
    CHECK_EQ(cyn_wake_drain(&w), 0);
    CHECK_EQ(check_ready(p, w.read_fd), 0);
    CHECK_EQ(cyn_wake_drain(&w), 0);
    CHECK_EQ(cyn_poller_remove(p, w.read_fd), 0);
    cyn_wake_close(&w);
}

POLLER_TEST(signal_makes_readable_until_drained) {
    wakes(p, opened());
}

POLLER_TEST(pipe_signal_makes_readable_until_drained) {
    wakes(p, opened_as_pipe());
}

TEST(signal_leaves_errno_alone) {
    struct cyn_wake w = opened();
    errno = EDOM;
    CHECK_EQ(cyn_wake_signal(&w), 0);
    CHECK_EQ(errno, EDOM);
    cyn_wake_close(&w);
    CHECK_EQ(cyn_wake_signal(&w), -EBADF);
    CHECK_EQ(errno, EDOM);
}

TEST(closed_wake_cannot_be_drained) {
    struct cyn_wake w = opened();
    cyn_wake_close(&w);
    CHECK_EQ(w.read_fd, -1);
    CHECK_EQ(w.write_fd, -1);
    CHECK_EQ(cyn_wake_drain(&w), -EBADF);
    cyn_wake_close(&w);
}

TEST(wake_is_not_inherited_by_programs) {
    struct cyn_wake kinds[] = {opened(), opened_as_pipe()};
    for (int i = 0; i < 2; i++) {
        CHECK(fcntl(kinds[i].read_fd, F_GETFD) & FD_CLOEXEC);
        CHECK(fcntl(kinds[i].write_fd, F_GETFD) & FD_CLOEXEC);
        CHECK(fcntl(kinds[i].read_fd, F_GETFL) & O_NONBLOCK);
        CHECK(fcntl(kinds[i].write_fd, F_GETFL) & O_NONBLOCK);
        cyn_wake_close(&kinds[i]);
    }
}
