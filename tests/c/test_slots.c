/* SPDX-License-Identifier: MIT
 *
 * The fd map alone: what add, want and remove keep, before any kernel is told.
 */
#include "check.h"

#include <limits.h>

static struct cyn_event event_of(const struct cyn_poller *p, int fd) {
    return (struct cyn_event){.fd = fd, .generation = p->slots[fd].generation};
}

POLLER_TEST(negative_descriptor_is_refused) {
    CHECK_EQ(cyn_poller_add(p, -1, p), -EBADF);
}

POLLER_TEST(owner_must_not_be_null) {
    CHECK_EQ(cyn_poller_add(p, 0, NULL), -EINVAL);
}

POLLER_TEST(absurdly_high_descriptor_costs_no_memory) {
    CHECK_EQ(cyn_poller_add(p, INT_MAX, p), -EBADF);
    CHECK_EQ(cyn_poller_add(p, 1 << 28, p), -EBADF);
    CHECK_EQ(p->slot_count, 0);
}

POLLER_TEST(want_of_unregistered_says_so) {
    CHECK_EQ(cyn_poller_want(p, 3, CYN_READ), -ENOENT);
    CHECK_EQ(cyn_poller_want(p, -1, CYN_READ), -ENOENT);
}

POLLER_TEST(remove_of_unregistered_says_so) {
    CHECK_EQ(cyn_poller_remove(p, 3), -ENOENT);
    CHECK_EQ(cyn_poller_remove(p, -1), -ENOENT);
}

POLLER_TEST(second_remove_says_so) {
    CHECK_EQ(cyn_poller_add(p, 3, p), 0);
    CHECK_EQ(cyn_poller_remove(p, 3), 0);
    CHECK_EQ(cyn_poller_remove(p, 3), -ENOENT);
}

POLLER_TEST(owner_is_found_by_event) {
    int owner;
    CHECK_EQ(cyn_poller_add(p, 5, &owner), 0);
    struct cyn_event event = event_of(p, 5);
    CHECK(cyn_poller_owner(p, &event) == &owner);
}

POLLER_TEST(event_of_a_removed_slot_has_no_owner) {
    CHECK_EQ(cyn_poller_add(p, 5, p), 0);
    struct cyn_event event = event_of(p, 5);
    CHECK_EQ(cyn_poller_remove(p, 5), 0);
    CHECK(!cyn_poller_owner(p, &event));
}

POLLER_TEST(event_of_a_reused_slot_has_no_owner) {
    CHECK_EQ(cyn_poller_add(p, 5, p), 0);
    struct cyn_event event = event_of(p, 5);
    CHECK_EQ(cyn_poller_remove(p, 5), 0);
    CHECK_EQ(cyn_poller_add(p, 5, p), 0);
    CHECK(!cyn_poller_owner(p, &event));
}

POLLER_TEST(takeover_moves_the_generation_on) {
    CHECK_EQ(cyn_poller_add(p, 5, p), 0);
    struct cyn_event event = event_of(p, 5);
    CHECK_EQ(cyn_poller_add(p, 5, &event), 0);
    CHECK(!cyn_poller_owner(p, &event));
    event = event_of(p, 5);
    CHECK(cyn_poller_owner(p, &event) == &event);
}

POLLER_TEST(event_of_a_descriptor_beyond_the_map_has_no_owner) {
    struct cyn_event event = {.fd = 99999}, negative = {.fd = -1};
    CHECK(!cyn_poller_owner(p, &event));
    CHECK(!cyn_poller_owner(p, &negative));
}

POLLER_TEST(descriptor_is_on_the_dirty_list_once) {
    CHECK_EQ(cyn_poller_add(p, 5, p), 0);
    for (unsigned i = 0; i < 100; i++) {
        cyn_poller_want(p, 5, i & 1);
        cyn_poller_remove(p, 5);
        cyn_poller_add(p, 5, p);
        cyn_poller_want(p, 5, CYN_READ);
    }
    CHECK_EQ(p->dirty_count, 1);
}

POLLER_TEST(only_interest_can_be_wanted) {
    CHECK_EQ(cyn_poller_add(p, 5, p), 0);
    CHECK_EQ(cyn_poller_want(p, 5, ~0U), 0);
    CHECK_EQ(p->slots[5].wanted, CYN_INTEREST);
}

POLLER_TEST(nothing_changed_is_no_change) {
    CHECK_EQ(cyn_poller_apply(p, 10), 0);
    CHECK_EQ(cyn_poller_add(p, 0, p), 0);
    CHECK_EQ(cyn_poller_apply(p, 10), 0);
}

POLLER_TEST(want_taken_back_is_no_change) {
    int ends[2];
    check_pair(ends);
    check_watch(p, ends[0], CYN_READ);
    CHECK_EQ(cyn_poller_apply(p, 0), 1);
    cyn_poller_want(p, ends[0], CYN_WRITE);
    cyn_poller_want(p, ends[0], CYN_READ);
    CHECK_EQ(cyn_poller_apply(p, 0), 0);
}

TEST(a_slot_is_sixteen_bytes_where_pointers_are_eight) {
    CHECK(sizeof(void *) != 8 || sizeof(struct cyn_slot) == 16);
}

TEST(unknown_backend_is_refused) {
    struct cyn_poller p;
    CHECK_EQ(cyn_poller_open(&p, "nonsense"), -EINVAL);
    cyn_poller_close(&p);
}

TEST(no_name_opens_the_best) {
    struct cyn_poller p;
    CHECK_EQ(cyn_poller_open(&p, NULL), 0);
    int best = check_is(&p, cyn_poller_names[0]);
    cyn_poller_close(&p);
    CHECK(best);
}
