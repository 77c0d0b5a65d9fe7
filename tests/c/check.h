/* SPDX-License-Identifier: MIT
 *
 * The test runner: a test registers itself where it is written, so there is no list to keep.
 *
 *     TEST(name) { ... }            runs once
 *     POLLER_TEST(name) { ... }     runs once for each backend, with `p` open and closed afterwards, and once more for
 *                                   the best one with `tries` set
 *
 * A failed CHECK ends its test. What check_pair and its sisters opened is closed after the test; a descriptor that
 * was not open before the test and still is after it fails the test.
 */
#ifndef CHECK_H
#define CHECK_H

#include "cyn_sys.h" /* first, for ppoll */

#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "cyn_backend.h"
#include "cyn_poller.h"
#include "cyn_slots.h"

typedef void check_test(void);
typedef void check_poller_test(struct cyn_poller *p);

void check_register(const char *name, check_test *test, check_poller_test *poller_test);
void check_failed(const char *file, int line, const char *what, long long left, long long right);
void check_keep(int fd); /* closes it after the test */

#define TEST(name)                                                                                                     \
    static void name(void);                                                                                            \
    __attribute__((constructor)) static void register_##name(void) {                                                   \
        check_register(#name, name, NULL);                                                                             \
    }                                                                                                                  \
    static void name(void)

#define POLLER_TEST(name)                                                                                              \
    static void name(struct cyn_poller *p);                                                                            \
    __attribute__((constructor)) static void register_##name(void) {                                                   \
        check_register(#name, NULL, name);                                                                             \
    }                                                                                                                  \
    static void name(struct cyn_poller *p)

#define CHECK(what) ((what) ? (void)0 : check_failed(__FILE__, __LINE__, #what, 0, 0))
#define CHECK_EQ(left, right)                                                                                          \
    do {                                                                                                               \
        long long left_ = (long long)(left), right_ = (long long)(right);                                              \
        if (left_ != right_)                                                                                           \
            check_failed(__FILE__, __LINE__, #left " == " #right, left_, right_);                                      \
    } while (0)

/* What the tests share: descriptors, and one tick of a loop. */

enum { ROOM = 512 };

void check_pair(int ends[2]);                                  /* of connected stream sockets, non-blocking */
void check_tcp_pair(int ends[2]);                              /* over loopback */
int check_regular_file(void);                                  /* unlinked already, with a few bytes in it */
void check_send(int fd);                                       /* one byte */
void check_take(int fd);                                       /* one byte */
void check_watch(struct cyn_poller *p, int fd, unsigned mask); /* add and want; the owner is some non-NULL pointer */
void *check_owner(int fd);                                     /* the owner that check_watch gives */

/* Settles, waits without blocking and returns what came for the present registration of fd. */
unsigned check_ready(struct cyn_poller *p, int fd);
/* The same after a wait that blocks until something comes. */
unsigned check_ready_soon(struct cyn_poller *p, int fd);
/* Settles (auditing all) and waits without blocking: the number of events in `out`. */
int check_tick(struct cyn_poller *p, struct cyn_event *out, int room);
int check_is(const struct cyn_poller *p, const char *backend);

uint32_t check_random(uint32_t *seed);

#endif
