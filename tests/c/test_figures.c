/* SPDX-License-Identifier: MIT
 *
 * The figures alone: into which bucket a time goes.
 */
#include "check.h"

#include "cyn_figures.h"

TEST(first_bucket_has_what_is_below_its_bound) {
    CHECK_EQ(cyn_times_place(0), 0);
    CHECK_EQ(cyn_times_place((1 << CYN_TIMES_FIRST) - 1), 0);
    CHECK_EQ(cyn_times_place(1 << CYN_TIMES_FIRST), 1);
}

TEST(each_bucket_has_twice_the_time) {
    for (int place = 1; place < CYN_TIMES - 1; place++) {
        CHECK_EQ(cyn_times_place((uint64_t)1 << (CYN_TIMES_FIRST + place - 1)), place);
        CHECK_EQ(cyn_times_place(((uint64_t)1 << (CYN_TIMES_FIRST + place)) - 1), place);
    }
}

TEST(last_bucket_has_what_is_longer) {
    CHECK_EQ(cyn_times_place((uint64_t)1 << (CYN_TIMES_FIRST + CYN_TIMES - 2)), CYN_TIMES - 1);
    CHECK_EQ(cyn_times_place(UINT64_MAX), CYN_TIMES - 1);
}

TEST(times_are_summed_and_one_below_zero_is_none) {
    struct cyn_times times = {0};
    cyn_times_note(&times, 5000);
    cyn_times_note(&times, 2000);
    cyn_times_note(&times, -1);
    CHECK_EQ(times.counts[0], 1);
    CHECK_EQ(times.counts[1], 1);
    CHECK_EQ(times.counts[3], 1);
    CHECK_EQ(times.total, 7000);
    CHECK_EQ(times.most, 5000);
}
