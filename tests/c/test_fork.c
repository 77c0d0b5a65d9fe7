/* SPDX-License-Identifier: MIT
 *
 * What the child of a fork may do, and that the parent never notices.
 */
#include "check.h"

#include <sys/wait.h>

#include "cyn_timers.h"

#ifdef CYN_COVERAGE
void __gcov_dump(void);
#endif

typedef int child_test(struct cyn_poller *p, int fd);

/* Runs `test` in a child, which is to return 0; a child counts no failed CHECK, it returns the line. */
static void in_child(child_test *test, struct cyn_poller *p, int fd) {
    int status;
    fflush(NULL);
    pid_t pid = fork();
    if (pid == 0) {
        int line = test(p, fd);
        cyn_poller_close(p);
#ifdef CYN_COVERAGE
        __gcov_dump();
#endif
        _exit(line ? 1 : 0);
    }
    CHECK(pid > 0);
    CHECK_EQ(waitpid(pid, &status, 0), pid);
    CHECK(WIFEXITED(status));
    CHECK_EQ(WEXITSTATUS(status), 0);
}

static int ready_in_child(struct cyn_poller *p, int fd) {
    struct cyn_event events[4];
    if (cyn_poller_apply(p, 0) < 0)
        return 1;
    int n = cyn_poller_wait(p, events, 4, 0);
    return !(n == 1 && events[0].fd == fd && events[0].ready == CYN_READ && cyn_poller_owner(p, &events[0]));
}

static int wait_alone_settles(struct cyn_poller *p, int fd) {
    struct cyn_event events[4];
    return !(cyn_poller_wait(p, events, 4, 0) == 1 && events[0].fd == fd);
}

static int remove_everything(struct cyn_poller *p, int fd) {
    struct cyn_event events[4];
    return cyn_poller_remove(p, fd) != 0 || cyn_poller_apply(p, 0) != 0 || cyn_poller_wait(p, events, 4, 0) != 0;
}

static int settle_then_remove(struct cyn_poller *p, int fd) {
    return cyn_poller_apply(p, 0) < 0 || cyn_poller_remove(p, fd) != 0;
}

static int close_at_once(struct cyn_poller *p, int fd) {
    (void)p, (void)fd;
    return 0;
}

static int ask_for_the_descriptor(struct cyn_poller *p, int fd) {
    (void)fd;
    int before = cyn_poller_fd(p);
    if (before != -EAGAIN || cyn_poller_apply(p, 0) < 0)
        return 1;
    return p->backend->reports_closed ? cyn_poller_fd(p) != -ENOTSUP : cyn_poller_fd(p) < 0;
}

static int fork_again(struct cyn_poller *p, int fd) {
    int status = 1;
    if (ready_in_child(p, fd))
        return 1;
    pid_t pid = fork();
    if (pid == 0)
        _exit(ready_in_child(p, fd));
    return waitpid(pid, &status, 0) != pid || status != 0 || ready_in_child(p, fd);
}

static int change_in_child(struct cyn_poller *p, int fd) {
    struct cyn_event events[4];
    if (cyn_poller_want(p, fd, CYN_WRITE) < 0 || cyn_poller_apply(p, 0) < 0)
        return 1;
    return !(cyn_poller_wait(p, events, 4, 0) == 1 && events[0].ready == CYN_WRITE);
}

static void parent_does_not_notice(struct cyn_poller *p, child_test *test) {
    int ends[2];
    check_pair(ends);
    check_watch(p, ends[0], CYN_READ);
    check_send(ends[1]);
    CHECK_EQ(check_ready(p, ends[0]), CYN_READ);
    in_child(test, p, ends[0]);
    CHECK_EQ(check_ready(p, ends[0]), CYN_READ);
    check_take(ends[0]);
    CHECK_EQ(check_ready(p, ends[0]), 0);
}

POLLER_TEST(child_has_a_poller_of_its_own) {
    parent_does_not_notice(p, ready_in_child);
}

POLLER_TEST(child_may_wait_without_settling) {
    parent_does_not_notice(p, wait_alone_settles);
}

POLLER_TEST(remove_in_the_child_is_not_the_parents) {
    parent_does_not_notice(p, remove_everything);
}

POLLER_TEST(remove_after_settle_in_the_child_is_not_the_parents) {
    parent_does_not_notice(p, settle_then_remove);
}

POLLER_TEST(close_in_the_child_is_not_the_parents) {
    parent_does_not_notice(p, close_at_once);
}

POLLER_TEST(change_in_the_child_is_not_the_parents) {
    parent_does_not_notice(p, change_in_child);
}

POLLER_TEST(descriptor_of_the_poller_in_the_child) {
    parent_does_not_notice(p, ask_for_the_descriptor);
}

POLLER_TEST(grandchild_has_a_poller_of_its_own) {
    parent_does_not_notice(p, fork_again);
}

static int is_readable(const struct cyn_poller *p, int limit) {
    struct pollfd outer = {.fd = cyn_poller_fd(p), .events = POLLIN};
    return poll(&outer, 1, limit);
}

static int hear_the_alarm(struct cyn_poller *p, int fd) {
    struct cyn_event event;
    (void)fd;
    if (cyn_poller_apply(p, 0) != 0 || is_readable(p, -1) != 1)
        return 1;
    return cyn_poller_wait(p, &event, 1, 0) != 0 || is_readable(p, 0) != 0;
}

static int take_the_alarm_back(struct cyn_poller *p, int fd) {
    (void)fd;
    return cyn_poller_alarm(p, CYN_NEVER) != 0 || cyn_poller_apply(p, 0) != 0 || is_readable(p, 0) != 0;
}

static int move_the_alarm(struct cyn_poller *p, int fd) {
    (void)fd;
    if (cyn_poller_apply(p, 0) != 0 || cyn_poller_alarm(p, cyn_clock() + 3600 * CYN_SECOND) != 0)
        return 1;
    return is_readable(p, 0) != 0;
}

static void alarm_of_the_parent_stays(struct cyn_poller *p, child_test *test) {
    if (p->backend->reports_closed)
        return;
    CHECK_EQ(cyn_poller_alarm(p, cyn_clock()), 0);
    CHECK_EQ(is_readable(p, -1), 1);
    in_child(test, p, -1);
    CHECK_EQ(is_readable(p, 0), 1);
}

POLLER_TEST(alarm_is_heard_in_the_child_too) {
    alarm_of_the_parent_stays(p, hear_the_alarm);
}

POLLER_TEST(alarm_taken_back_in_the_child_is_not_the_parents) {
    alarm_of_the_parent_stays(p, take_the_alarm_back);
}

POLLER_TEST(alarm_moved_in_the_child_is_not_the_parents) {
    alarm_of_the_parent_stays(p, move_the_alarm);
}

POLLER_TEST(close_in_the_child_leaves_the_parents_alarm) {
    alarm_of_the_parent_stays(p, close_at_once);
}

static int file_is_ready(struct cyn_poller *p, int fd) {
    return ready_in_child(p, fd);
}

POLLER_TEST(always_ready_in_the_child_too) {
    int fd = check_regular_file();
    check_watch(p, fd, CYN_READ);
    CHECK_EQ(check_ready(p, fd), CYN_READ);
    in_child(file_is_ready, p, fd);
    CHECK_EQ(check_ready(p, fd), CYN_READ);
}
