/* SPDX-License-Identifier: MIT
 *
 * Runs every test that registered itself; an argument runs only those whose name contains it.
 */
#include "check.h"

#include <netinet/in.h>
#include <setjmp.h>
#include <signal.h>

enum { MOST_TESTS = 1000, MOST_KEPT = 1200, MOST_FDS = 4096 };

static struct {
    const char *name;
    check_test *test;
    check_poller_test *poller_test;
} tests[MOST_TESTS];
static int test_count, kept[MOST_KEPT], kept_count;
static jmp_buf give_up;

void check_register(const char *name, check_test *test, check_poller_test *poller_test) {
    tests[test_count].name = name;
    tests[test_count].test = test;
    tests[test_count++].poller_test = poller_test;
}

void check_failed(const char *file, int line, const char *what, long long left, long long right) {
    fprintf(stderr, "%s:%d: %s (%lld, %lld; errno %d)\n", file, line, what, left, right, errno);
    longjmp(give_up, 1);
}

void check_keep(int fd) {
    CHECK(fd >= 0 && kept_count < MOST_KEPT);
    kept[kept_count++] = fd;
}

void check_pair(int ends[2]) {
    CHECK_EQ(socketpair(AF_UNIX, SOCK_STREAM, 0, ends), 0);
    for (int i = 0; i < 2; i++) {
        check_keep(ends[i]);
        fcntl(ends[i], F_SETFL, O_NONBLOCK);
    }
}

void check_tcp_pair(int ends[2]) {
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof address;
    int listener = socket(AF_INET, SOCK_STREAM, 0);
    check_keep(listener);
    CHECK_EQ(bind(listener, (struct sockaddr *)&address, size), 0);
    CHECK_EQ(listen(listener, 1), 0);
    CHECK_EQ(getsockname(listener, (struct sockaddr *)&address, &size), 0);
    check_keep(ends[0] = socket(AF_INET, SOCK_STREAM, 0));
    CHECK_EQ(connect(ends[0], (struct sockaddr *)&address, size), 0);
    check_keep(ends[1] = accept(listener, NULL, NULL));
}

int check_regular_file(void) {
    FILE *file = tmpfile();
    CHECK(file);
    fputs("content", file);
    fflush(file);
    int fd = dup(fileno(file));
    fclose(file);
    check_keep(fd);
    lseek(fd, 0, SEEK_END);
    return fd;
}

void check_send(int fd) {
    CHECK_EQ(write(fd, "x", 1), 1);
}

void check_take(int fd) {
    char c;
    CHECK_EQ(read(fd, &c, 1), 1);
}

void *check_owner(int fd) {
    static char owners[MOST_FDS];
    return &owners[fd % MOST_FDS];
}

void check_watch(struct cyn_poller *p, int fd, unsigned mask) {
    CHECK_EQ(cyn_poller_add(p, fd, check_owner(fd)), 0);
    CHECK_EQ(cyn_poller_want(p, fd, mask), 0);
}

static unsigned flags_of(const struct cyn_poller *p, const struct cyn_event *events, int n, int fd) {
    unsigned flags = 0;
    CHECK(n >= 0);
    for (int i = 0; i < n; i++)
        if (events[i].fd == fd && cyn_poller_owner(p, &events[i]))
            flags |= events[i].ready;
    return flags;
}

unsigned check_ready(struct cyn_poller *p, int fd) {
    struct cyn_event events[ROOM];
    CHECK(cyn_poller_apply(p, 0) >= 0);
    return flags_of(p, events, cyn_poller_wait(p, events, ROOM, 0), fd);
}

unsigned check_ready_soon(struct cyn_poller *p, int fd) {
    struct cyn_event events[ROOM];
    CHECK(cyn_poller_apply(p, 0) >= 0);
    return flags_of(p, events, cyn_poller_wait(p, events, ROOM, -1), fd);
}

int check_tick(struct cyn_poller *p, struct cyn_event *out, int room) {
    CHECK(cyn_poller_apply(p, p->slot_count) >= 0);
    int n = cyn_poller_wait(p, out, room, 0);
    CHECK(n >= 0 && n <= room);
    return n;
}

int check_is(const struct cyn_poller *p, const char *backend) {
    return strcmp(p->backend->name, backend) == 0;
}

uint32_t check_random(uint32_t *seed) {
    *seed = *seed * 1664525 + 1013904223;
    return *seed >> 8;
}

static int open_descriptors(void) {
    int n = 0;
    for (int fd = 0; fd < MOST_FDS; fd++)
        n += fcntl(fd, F_GETFD) >= 0;
    return n;
}

/* Alone in its function, because variables do not all survive a longjmp. */
__attribute__((noinline)) static int attempt(int i, const char *backend, int tries, struct cyn_poller *poller) {
    if (setjmp(give_up))
        return 0;
    if (!backend) {
        tests[i].test();
        return 1;
    }
    CHECK_EQ(cyn_poller_open(poller, backend), 0);
    poller->tries = tries;
    tests[i].poller_test(poller);
    return 1;
}

static int run(int i, const char *backend, int tries) {
    struct cyn_poller poller = {0};
    int before = open_descriptors();
    int passed = attempt(i, backend, tries, &poller);
    cyn_poller_close(&poller);
    while (kept_count)
        close(kept[--kept_count]);
    int after = open_descriptors();
    if (passed && after != before) {
        fprintf(stderr, "%d descriptors before, %d after\n", before, after);
        passed = 0;
    }
    if (!passed)
        fprintf(stderr, "FAILED %s%s%s%s\n", tests[i].name, backend ? " over " : "", backend ? backend : "",
                tries ? ", which tries" : "");
    return passed;
}

int main(int argc, char **argv) {
    int passed = 0, failed = 0;
    signal(SIGPIPE, SIG_IGN);
    for (int i = 0; i < test_count; i++) {
        if (argc > 1 && !strstr(tests[i].name, argv[1]))
            continue;
        for (int k = 0; tests[i].poller_test && cyn_poller_names[k]; k++)
            run(i, cyn_poller_names[k], 0) ? passed++ : failed++;
        if (tests[i].poller_test)
            run(i, cyn_poller_names[0], 1) ? passed++ : failed++;
        if (tests[i].test)
            run(i, NULL, 0) ? passed++ : failed++;
    }
    printf("%d passed, %d failed\n", passed, failed);
    return failed || !passed;
}
