/* SPDX-License-Identifier: MIT
 *
 * What every backend must do alike.
 */
#include "check.h"

#include <netinet/in.h>
#include <sys/resource.h>

POLLER_TEST(nothing_registered_is_nothing_ready) {
    struct cyn_event event;
    CHECK_EQ(cyn_poller_apply(p, 0), 0);
    CHECK_EQ(cyn_poller_wait(p, &event, 1, 0), 0);
}

POLLER_TEST(wait_without_room_is_refused) {
    struct cyn_event event;
    CHECK_EQ(cyn_poller_wait(p, &event, 0, 0), -EINVAL);
}

POLLER_TEST(data_makes_readable) {
    int ends[2];
    check_pair(ends);
    check_watch(p, ends[0], CYN_READ);
    CHECK_EQ(check_ready(p, ends[0]), 0);
    check_send(ends[1]);
    CHECK_EQ(check_ready(p, ends[0]), CYN_READ);
}

POLLER_TEST(what_was_not_read_is_reported_again) {
    int ends[2];
    check_pair(ends);
    check_watch(p, ends[0], CYN_READ);
    check_send(ends[1]);
    CHECK_EQ(check_ready(p, ends[0]), CYN_READ);
    CHECK_EQ(check_ready(p, ends[0]), CYN_READ);
    check_take(ends[0]);
    CHECK_EQ(check_ready(p, ends[0]), 0);
}

POLLER_TEST(wait_that_blocks_ends_with_an_event) {
    int ends[2];
    check_pair(ends);
    check_watch(p, ends[0], CYN_READ);
    check_send(ends[1]);
    CHECK_EQ(check_ready_soon(p, ends[0]), CYN_READ);
}

POLLER_TEST(wait_ends_with_its_timeout) {
    struct cyn_event event;
    int ends[2];
    check_pair(ends);
    check_watch(p, ends[0], CYN_READ);
    CHECK_EQ(cyn_poller_apply(p, 0), 1);
    CHECK_EQ(cyn_poller_wait(p, &event, 1, 1000), 0);
}

POLLER_TEST(room_to_send_makes_writable) {
    int ends[2];
    check_pair(ends);
    check_watch(p, ends[0], CYN_WRITE);
    CHECK_EQ(check_ready(p, ends[0]), CYN_WRITE);
}

POLLER_TEST(full_socket_is_not_writable) {
    int ends[2];
    char block[4096] = {0};
    check_pair(ends);
    while (write(ends[0], block, sizeof block) > 0)
        continue;
    check_watch(p, ends[0], CYN_WRITE);
    CHECK_EQ(check_ready(p, ends[0]), 0);
}

POLLER_TEST(both_directions_are_one_event) {
    struct cyn_event events[4];
    int ends[2];
    check_pair(ends);
    check_watch(p, ends[0], CYN_READ | CYN_WRITE);
    check_send(ends[1]);
    CHECK_EQ(check_tick(p, events, 4), 1);
    CHECK_EQ(events[0].fd, ends[0]);
    CHECK_EQ(events[0].ready, CYN_READ | CYN_WRITE);
    CHECK_EQ(events[0].error, 0);
}

POLLER_TEST(interest_moves_from_read_to_write_and_back) {
    int ends[2];
    check_pair(ends);
    check_watch(p, ends[0], CYN_READ);
    check_send(ends[1]);
    CHECK_EQ(check_ready(p, ends[0]), CYN_READ);
    cyn_poller_want(p, ends[0], CYN_WRITE);
    CHECK_EQ(check_ready(p, ends[0]), CYN_WRITE);
    cyn_poller_want(p, ends[0], CYN_READ);
    CHECK_EQ(check_ready(p, ends[0]), CYN_READ);
}

POLLER_TEST(no_interest_is_no_event_even_when_hung_up) {
    int ends[2];
    struct cyn_event events[4];
    check_pair(ends);
    check_watch(p, ends[0], CYN_READ);
    CHECK_EQ(check_ready(p, ends[0]), 0);
    cyn_poller_want(p, ends[0], 0);
    shutdown(ends[1], SHUT_RDWR);
    CHECK_EQ(check_tick(p, events, 4), 0);
    cyn_poller_want(p, ends[0], CYN_READ);
    CHECK(check_ready(p, ends[0]) & CYN_READ);
}

POLLER_TEST(end_of_stream_is_readable) {
    int ends[2];
    check_pair(ends);
    check_watch(p, ends[0], CYN_READ);
    shutdown(ends[1], SHUT_WR);
    CHECK_EQ(check_ready(p, ends[0]), CYN_READ);
}

POLLER_TEST(both_directions_shut_is_a_hang_up) {
    int ends[2];
    check_pair(ends);
    check_watch(p, ends[0], CYN_READ | CYN_WRITE);
    check_send(ends[1]);
    shutdown(ends[1], SHUT_RDWR);
    unsigned ready = check_ready(p, ends[0]);
    CHECK(ready & CYN_READ);
    CHECK(ready & CYN_HUP);
}

POLLER_TEST(pipe_without_writer_wakes_its_reader) {
    int ends[2];
    CHECK_EQ(pipe(ends), 0);
    check_keep(ends[0]);
    check_watch(p, ends[0], CYN_READ);
    close(ends[1]);
    CHECK(check_ready(p, ends[0]) & (CYN_READ | CYN_HUP));
}

POLLER_TEST(pipe_without_reader_wakes_its_writer) {
    int ends[2];
    CHECK_EQ(pipe(ends), 0);
    check_keep(ends[1]);
    check_watch(p, ends[1], CYN_WRITE);
    CHECK_EQ(check_ready(p, ends[1]), CYN_WRITE);
    close(ends[0]);
    CHECK(check_ready(p, ends[1]) & (CYN_WRITE | CYN_ERR));
}

POLLER_TEST(refused_connect_is_an_error) {
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof address;
    int deaf = socket(AF_INET, SOCK_STREAM, 0), client = socket(AF_INET, SOCK_STREAM, 0);
    check_keep(deaf);
    check_keep(client);
    CHECK_EQ(bind(deaf, (struct sockaddr *)&address, size), 0);
    CHECK_EQ(getsockname(deaf, (struct sockaddr *)&address, &size), 0);
    fcntl(client, F_SETFL, O_NONBLOCK);
    CHECK_EQ(connect(client, (struct sockaddr *)&address, size), -1);
    check_watch(p, client, CYN_READ | CYN_WRITE);
    unsigned ready = check_ready_soon(p, client);
    CHECK(ready & CYN_WRITE);
    CHECK(ready & CYN_ERR);
}

POLLER_TEST(urgent_data_is_told_apart) {
    int ends[2];
    check_tcp_pair(ends);
    check_watch(p, ends[0], CYN_PRI);
    CHECK_EQ(check_ready(p, ends[0]), 0);
    CHECK_EQ(send(ends[1], "!", 1, MSG_OOB), 1);
    CHECK_EQ(check_ready_soon(p, ends[0]) & CYN_INTEREST, CYN_PRI);
}

POLLER_TEST(removed_descriptor_is_not_reported) {
    struct cyn_event events[4];
    int ends[2];
    check_pair(ends);
    check_watch(p, ends[0], CYN_READ);
    check_send(ends[1]);
    CHECK_EQ(check_ready(p, ends[0]), CYN_READ);
    CHECK_EQ(cyn_poller_remove(p, ends[0]), 0);
    CHECK_EQ(cyn_poller_wait(p, events, 4, 0), 0);
}

POLLER_TEST(removal_moves_no_neighbour) {
    int a[2], b[2], c[2];
    check_pair(a);
    check_pair(b);
    check_pair(c);
    check_watch(p, a[0], CYN_READ);
    check_watch(p, b[0], CYN_READ);
    check_watch(p, c[0], CYN_READ);
    CHECK_EQ(cyn_poller_apply(p, 0), 3);
    CHECK_EQ(cyn_poller_remove(p, a[0]), 0);
    check_send(b[1]);
    check_send(c[1]);
    CHECK_EQ(check_ready(p, b[0]), CYN_READ);
    CHECK_EQ(check_ready(p, c[0]), CYN_READ);
    cyn_poller_want(p, c[0], CYN_WRITE);
    CHECK_EQ(check_ready(p, c[0]), CYN_WRITE);
}

POLLER_TEST(removed_and_added_again_is_watched) {
    int ends[2];
    check_pair(ends);
    check_send(ends[1]);
    for (int i = 0; i < 3; i++) {
        check_watch(p, ends[0], CYN_READ);
        CHECK_EQ(check_ready(p, ends[0]), CYN_READ);
        CHECK_EQ(cyn_poller_remove(p, ends[0]), 0);
    }
}

POLLER_TEST(taken_over_descriptor_reports_to_its_new_owner) {
    struct cyn_event events[4];
    int ends[2], second;
    check_pair(ends);
    check_watch(p, ends[0], CYN_READ);
    check_send(ends[1]);
    CHECK_EQ(check_ready(p, ends[0]), CYN_READ);
    CHECK_EQ(cyn_poller_add(p, ends[0], &second), 0);
    cyn_poller_want(p, ends[0], CYN_READ);
    CHECK_EQ(check_tick(p, events, 4), 1);
    CHECK(cyn_poller_owner(p, &events[0]) == &second);
}

POLLER_TEST(taken_over_descriptor_that_wants_nothing_is_quiet) {
    struct cyn_event events[4];
    int ends[2];
    check_pair(ends);
    check_watch(p, ends[0], CYN_READ);
    check_send(ends[1]);
    CHECK_EQ(check_ready(p, ends[0]), CYN_READ);
    CHECK_EQ(cyn_poller_add(p, ends[0], p), 0);
    CHECK_EQ(check_tick(p, events, 4), 0);
    CHECK_EQ(check_tick(p, events, 4), 0);
}

POLLER_TEST(number_reused_after_close_is_watched_for_its_new_owner) {
    int first[2], second[2];
    check_pair(first);
    check_watch(p, first[0], CYN_READ);
    CHECK_EQ(check_ready(p, first[0]), 0);
    check_pair(second);
    CHECK_EQ(dup2(second[0], first[0]), first[0]);
    check_send(second[1]);
    check_watch(p, first[0], CYN_READ);
    CHECK_EQ(check_ready(p, first[0]), CYN_READ);
}

POLLER_TEST(number_reused_behind_our_back_is_watched_after_a_change) {
    int first[2], second[2];
    check_pair(first);
    check_watch(p, first[0], CYN_READ);
    CHECK_EQ(check_ready(p, first[0]), 0);
    check_pair(second);
    CHECK_EQ(dup2(second[0], first[0]), first[0]);
    check_send(second[1]);
    cyn_poller_want(p, first[0], CYN_READ | CYN_WRITE);
    for (int i = 0; i < 16 && check_ready(p, first[0]) == CYN_WRITE; i++)
        continue; /* one that tries tells the kernel once in a while */
    CHECK_EQ(check_ready(p, first[0]), CYN_READ | CYN_WRITE);
}

POLLER_TEST(number_that_became_a_regular_file_can_want_nothing) {
    struct cyn_event events[4];
    int ends[2];
    check_pair(ends);
    check_watch(p, ends[0], CYN_READ);
    CHECK_EQ(check_ready(p, ends[0]), 0);
    CHECK_EQ(dup2(check_regular_file(), ends[0]), ends[0]);
    cyn_poller_want(p, ends[0], 0);
    CHECK_EQ(check_tick(p, events, 4), 0);
    cyn_poller_want(p, ends[0], CYN_READ);
    CHECK_EQ(check_ready(p, ends[0]), CYN_READ);
}

POLLER_TEST(closed_behind_our_back_is_reported_once) {
    struct cyn_event events[4];
    int ends[2];
    CHECK_EQ(pipe(ends), 0);
    check_keep(ends[1]);
    check_watch(p, ends[0], CYN_READ);
    CHECK_EQ(check_ready(p, ends[0]), 0);
    close(ends[0]);
    CHECK_EQ(check_tick(p, events, 4), 1);
    CHECK_EQ(events[0].fd, ends[0]);
    CHECK_EQ(events[0].ready, CYN_NVAL);
    CHECK_EQ(events[0].error, EBADF);
    CHECK_EQ(check_tick(p, events, 4), 0);
    CHECK_EQ(cyn_poller_remove(p, ends[0]), 0);
}

/* epoll and kqueue do not tell; an audit of one at a time must come round to every descriptor. */
POLLER_TEST(audit_goes_round) {
    struct cyn_event events[4];
    int fds[6], found = 0;
    for (int i = 0; i < 6; i++) {
        int ends[2];
        check_pair(ends);
        fds[i] = ends[0];
        check_watch(p, fds[i], CYN_READ);
    }
    CHECK_EQ(cyn_poller_apply(p, 0), 6);
    for (int k = 0; k < 6; k += 5) {
        close(fds[k]);
        for (int i = 0; i < 6; i++) {
            CHECK_EQ(cyn_poller_apply(p, 1), 0);
            int n = cyn_poller_wait(p, events, 4, 0);
            found += n == 1 && events[0].fd == fds[k] && events[0].ready == CYN_NVAL;
        }
    }
    CHECK_EQ(found, 2);
}

POLLER_TEST(settle_without_audit_asks_the_kernel_nothing) {
    int ends[2];
    check_pair(ends);
    check_watch(p, ends[0], CYN_READ);
    CHECK_EQ(cyn_poller_apply(p, 0), 1);
    close(ends[0]);
    CHECK_EQ(cyn_poller_apply(p, 0), 0);
    CHECK_EQ(p->failed_count, 0);
}

POLLER_TEST(all_closed_are_reported_whatever_the_room) {
    struct cyn_event event;
    int seen = 0;
    for (int i = 0; i < 5; i++) {
        int fd = dup(0);
        check_watch(p, fd, CYN_READ);
        check_keep(fd);
    }
    CHECK_EQ(cyn_poller_apply(p, 0), 5);
    for (int fd = 0; fd < p->slot_count; fd++)
        if (p->slots[fd].owner)
            close(fd);
    for (int i = 0; i < 5; i++) {
        CHECK_EQ(check_tick(p, &event, 1), 1);
        CHECK_EQ(event.ready, CYN_NVAL);
        seen |= 1 << event.fd;
    }
    CHECK_EQ(__builtin_popcount((unsigned)seen), 5);
    CHECK_EQ(check_tick(p, &event, 1), 0);
}

POLLER_TEST(descriptor_that_never_was_open_is_reported_once) {
    struct cyn_event events[4];
    int fd = dup(0);
    close(fd);
    check_watch(p, fd, CYN_READ);
    CHECK_EQ(check_tick(p, events, 4), 1);
    CHECK_EQ(events[0].ready, CYN_NVAL);
    CHECK_EQ(events[0].error, EBADF);
    CHECK(cyn_poller_owner(p, &events[0]));
    CHECK_EQ(check_tick(p, events, 4), 0);
}

POLLER_TEST(refused_descriptor_is_tried_again_when_its_interest_changes) {
    struct cyn_event events[4];
    int ends[2], fd = dup(0);
    close(fd);
    check_watch(p, fd, CYN_READ);
    CHECK_EQ(check_tick(p, events, 4), 1);
    check_pair(ends);
    if (ends[0] != fd)
        check_keep(dup2(ends[0], fd));
    check_send(ends[1]);
    cyn_poller_want(p, fd, 0);
    CHECK_EQ(check_tick(p, events, 4), 0);
    cyn_poller_want(p, fd, CYN_READ);
    CHECK_EQ(check_ready(p, fd), CYN_READ);
}

POLLER_TEST(refusal_is_not_told_to_the_next_owner) {
    struct cyn_event events[4];
    int fd = dup(0);
    close(fd);
    check_watch(p, fd, CYN_READ);
    CHECK(cyn_poller_apply(p, 0) >= 0);
    CHECK_EQ(cyn_poller_remove(p, fd), 0);
    CHECK_EQ(cyn_poller_add(p, fd, p), 0);
    int n = cyn_poller_wait(p, events, 4, 0);
    CHECK(n >= 0);
    for (int i = 0; i < n; i++)
        CHECK(!cyn_poller_owner(p, &events[i]));
}

POLLER_TEST(remove_of_a_closed_descriptor_is_no_error) {
    int ends[2];
    CHECK_EQ(pipe(ends), 0);
    check_keep(ends[1]);
    check_watch(p, ends[0], CYN_READ);
    CHECK_EQ(check_ready(p, ends[0]), 0);
    close(ends[0]);
    CHECK_EQ(cyn_poller_remove(p, ends[0]), 0);
}

/* What a dup keeps alive after its number was closed without a word to us must not keep the loop busy for ever. */
POLLER_TEST(ghost_of_a_duplicated_descriptor_is_laid) {
    struct cyn_event events[4];
    int ends[2], others[2];
    check_pair(ends);
    check_pair(others);
    check_watch(p, ends[0], CYN_READ);
    check_watch(p, others[0], CYN_READ);
    CHECK_EQ(check_ready(p, ends[0]), 0);
    check_keep(dup(ends[0]));
    close(ends[0]);
    check_send(ends[1]);
    CHECK_EQ(cyn_poller_remove(p, ends[0]), 0);
    check_tick(p, events, 4);
    CHECK_EQ(check_tick(p, events, 4), 0);
    check_send(others[1]);
    CHECK_EQ(check_ready(p, others[0]), CYN_READ);
}

POLLER_TEST(ghost_of_a_registered_descriptor_is_laid) {
    struct cyn_event events[4];
    int ends[2];
    check_pair(ends);
    check_watch(p, ends[0], CYN_READ);
    CHECK_EQ(check_ready(p, ends[0]), 0);
    check_keep(dup(ends[0]));
    close(ends[0]);
    check_send(ends[1]);
    CHECK(check_tick(p, events, 4) >= 1);
    check_tick(p, events, 4);
    CHECK_EQ(check_tick(p, events, 4), 0);
}

POLLER_TEST(more_ready_than_room_starves_nobody) {
    enum { PAIRS = 10 };
    struct cyn_event events[3];
    int ends[PAIRS][2], seen[PAIRS] = {0}, all = 0;
    for (int i = 0; i < PAIRS; i++) {
        check_pair(ends[i]);
        check_watch(p, ends[i][0], CYN_WRITE);
    }
    CHECK_EQ(cyn_poller_apply(p, 0), p->tries && p->backend->changes_cost ? 0 : PAIRS);
    for (int round = 0; round < 4; round++) {
        cyn_poller_apply(p, 0);
        CHECK_EQ(cyn_poller_wait(p, events, 3, 0), 3);
        for (int k = 0; k < 3; k++)
            for (int i = 0; i < PAIRS; i++)
                seen[i] |= events[k].fd == ends[i][0];
    }
    for (int i = 0; i < PAIRS; i++)
        all += seen[i];
    CHECK_EQ(all, PAIRS);
}

POLLER_TEST(regular_file_is_always_ready) {
    int fd = check_regular_file();
    check_watch(p, fd, CYN_READ);
    CHECK_EQ(check_ready(p, fd), CYN_READ);
    CHECK_EQ(check_ready_soon(p, fd), CYN_READ);
    cyn_poller_want(p, fd, CYN_READ | CYN_WRITE | CYN_PRI);
    CHECK_EQ(check_ready(p, fd), CYN_READ | CYN_WRITE);
}

POLLER_TEST(regular_file_that_wants_nothing_is_quiet) {
    int fd = check_regular_file();
    check_watch(p, fd, CYN_READ);
    CHECK_EQ(check_ready(p, fd), CYN_READ);
    cyn_poller_want(p, fd, 0);
    CHECK_EQ(check_ready(p, fd), 0);
    cyn_poller_want(p, fd, CYN_WRITE);
    CHECK_EQ(check_ready(p, fd), CYN_WRITE);
    cyn_poller_want(p, fd, CYN_PRI);
    CHECK_EQ(check_ready(p, fd), 0);
    CHECK_EQ(cyn_poller_remove(p, fd), 0);
    CHECK_EQ(check_ready(p, fd), 0);
    CHECK_EQ(p->always_count, 0);
}

POLLER_TEST(number_of_a_regular_file_can_become_a_sockets) {
    int fd = check_regular_file(), ends[2];
    check_watch(p, fd, CYN_READ);
    CHECK_EQ(check_ready(p, fd), CYN_READ);
    check_pair(ends);
    CHECK_EQ(dup2(ends[0], fd), fd);
    check_watch(p, fd, CYN_READ);
    CHECK_EQ(check_ready(p, fd), 0);
    check_send(ends[1]);
    CHECK_EQ(check_ready(p, fd), CYN_READ);
}

POLLER_TEST(removed_regular_file_can_be_added_again_before_the_next_settle) {
    int fd = check_regular_file();
    struct cyn_event events[4];
    check_watch(p, fd, CYN_READ);
    CHECK_EQ(check_ready(p, fd), CYN_READ);
    CHECK_EQ(cyn_poller_remove(p, fd), 0);
    check_watch(p, fd, CYN_READ);
    CHECK_EQ(check_tick(p, events, 4), 1);
    CHECK(cyn_poller_owner(p, &events[0]));
}

POLLER_TEST(closed_regular_file_is_reported_once) {
    int fd = check_regular_file();
    struct cyn_event events[4];
    check_watch(p, fd, CYN_READ);
    CHECK_EQ(check_ready(p, fd), CYN_READ);
    close(fd);
    CHECK_EQ(check_tick(p, events, 4), 1);
    CHECK_EQ(events[0].ready, CYN_NVAL);
    CHECK_EQ(check_tick(p, events, 4), 0);
}

static void neither_side_starves(struct cyn_poller *p, int room) {
    enum { EACH = 4 };
    struct cyn_event events[ROOM];
    int file = check_regular_file(), all[2 * EACH], ends[2], seen = 0;
    for (int i = 0; i < EACH; i++) {
        check_keep(all[2 * i] = dup(file));
        check_pair(ends);
        all[2 * i + 1] = ends[0];
        check_watch(p, all[2 * i], CYN_WRITE);
        check_watch(p, all[2 * i + 1], CYN_WRITE);
    }
    for (int round = 0; round < 8 * EACH; round++) {
        int n = check_tick(p, events, room);
        CHECK(n > 0);
        for (int k = 0; k < n; k++)
            for (int i = 0; i < 2 * EACH; i++)
                seen |= (events[k].fd == all[i]) << i;
    }
    CHECK_EQ(seen, (1 << 2 * EACH) - 1);
}

POLLER_TEST(always_ready_and_the_kernels_share_one_place) {
    neither_side_starves(p, 1);
}

POLLER_TEST(always_ready_and_the_kernels_share_three_places) {
    neither_side_starves(p, 3);
}

POLLER_TEST(always_ready_and_the_kernels_fit_together) {
    neither_side_starves(p, ROOM);
}

POLLER_TEST(many_descriptors_are_watched) {
    enum { PAIRS = 200 };
    int ends[PAIRS][2];
    for (int i = 0; i < PAIRS; i++) {
        check_pair(ends[i]);
        check_watch(p, ends[i][0], CYN_READ);
    }
    CHECK_EQ(cyn_poller_apply(p, 0), PAIRS);
    for (int i = 0; i < PAIRS; i++)
        check_send(ends[i][1]);
    for (int i = 0; i < PAIRS; i++)
        CHECK_EQ(check_ready(p, ends[i][0]), CYN_READ);
}

POLLER_TEST(descriptor_beyond_fd_setsize_is_watched) {
    struct rlimit limit;
    int ends[2], high = FD_SETSIZE + 700;
    CHECK_EQ(getrlimit(RLIMIT_NOFILE, &limit), 0);
    if (limit.rlim_cur <= (rlim_t)high) {
        limit.rlim_cur = limit.rlim_max < 4096 ? limit.rlim_max : 4096;
        setrlimit(RLIMIT_NOFILE, &limit);
    }
    check_pair(ends);
    high = dup2(ends[0], high);
    if (high < 0)
        return; /* this machine's hard limit is lower */
    check_keep(high);
    check_watch(p, high, CYN_READ);
    CHECK_EQ(check_ready(p, high), 0);
    check_send(ends[1]);
    CHECK_EQ(check_ready(p, high), CYN_READ);
}

POLLER_TEST(poller_can_be_watched_by_another_loop) {
    int ends[2], fd = cyn_poller_fd(p);
    if (p->backend->reports_closed) {
        CHECK_EQ(fd, -ENOTSUP);
        return;
    }
    check_pair(ends);
    check_watch(p, ends[0], CYN_READ);
    CHECK_EQ(cyn_poller_apply(p, 0), 1);
    struct pollfd outer = {.fd = fd, .events = POLLIN};
    CHECK_EQ(poll(&outer, 1, 0), 0);
    check_send(ends[1]);
    CHECK_EQ(poll(&outer, 1, 0), 1);
}

POLLER_TEST(poller_without_a_descriptor_goes_on_with_a_backend_that_has_one) {
    int ends[2];
    check_pair(ends);
    check_watch(p, ends[0], CYN_READ);
    CHECK_EQ(cyn_poller_apply(p, 0), 1);
    if (strcmp(cyn_poller_names[0], "poll") == 0) {
        CHECK_EQ(cyn_poller_host(p), -ENOTSUP); /* this platform has neither epoll nor kqueue */
        return;
    }
    CHECK_EQ(cyn_poller_host(p), 0);
    CHECK_EQ(cyn_poller_host(p), 0);
    CHECK(!p->backend->reports_closed);
    CHECK_EQ(cyn_poller_alarm(p, CYN_NEVER), 0);
    CHECK(cyn_poller_apply(p, 0) >= 0);
    struct pollfd outer = {.fd = cyn_poller_fd(p), .events = POLLIN};
    CHECK_EQ(poll(&outer, 1, 0), 0);
    check_send(ends[1]);
    CHECK_EQ(poll(&outer, 1, 0), 1);
    CHECK_EQ(check_ready(p, ends[0]), CYN_READ);
}

POLLER_TEST(handles_are_not_inherited_by_programs) {
    if (cyn_poller_fd(p) >= 0)
        CHECK(fcntl(cyn_poller_fd(p), F_GETFD) & FD_CLOEXEC);
}

POLLER_TEST(what_can_only_be_written_comes_last) {
    enum { PAIRS = 6, MOST = 2 * PAIRS /* kqueue has an event for each direction */ };
    struct cyn_event events[MOST];
    int ends[PAIRS][2];
    for (int i = 0; i < PAIRS; i++) {
        check_pair(ends[i]);
        check_watch(p, ends[i][0], i == 0 || i == 3 ? CYN_WRITE : i == 4 ? CYN_READ | CYN_WRITE : CYN_READ);
    }
    CHECK_EQ(check_tick(p, events, MOST), 3); /* they are in the kernel's list before the others */
    for (int i = 0; i < PAIRS; i++)
        check_send(ends[i][1]);
    CHECK_EQ(check_tick(p, events, MOST), PAIRS);
    for (int i = 0; i < PAIRS; i++)
        CHECK_EQ(events[i].ready == CYN_WRITE, i >= PAIRS - 2);
}

/* What is written to at once (`tries`) */

POLLER_TEST(what_can_be_written_is_not_told_to_the_kernel) {
    int ends[2], tries = p->tries && p->backend->changes_cost;
    check_pair(ends);
    check_watch(p, ends[0], CYN_READ);
    CHECK_EQ(cyn_poller_apply(p, 0), 1);
    cyn_poller_want(p, ends[0], CYN_READ | CYN_WRITE);
    CHECK_EQ(cyn_poller_apply(p, 0), !tries);
    CHECK_EQ(cyn_poller_is_busy(p), tries);
    CHECK_EQ(check_ready(p, ends[0]), CYN_WRITE);
    CHECK_EQ(check_ready(p, ends[0]), CYN_WRITE);
    cyn_poller_want(p, ends[0], CYN_READ);
    CHECK_EQ(cyn_poller_apply(p, 0), !tries);
    CHECK_EQ(cyn_poller_is_busy(p), 0);
    CHECK_EQ(p->dirty_count, 0);
    CHECK_EQ(check_ready(p, ends[0]), 0);
}

POLLER_TEST(what_cannot_be_written_is_watched_until_it_can) {
    int ends[2];
    check_pair(ends);
    while (send(ends[0], "some bytes", 10, 0) > 0)
        ;
    check_watch(p, ends[0], CYN_WRITE);
    CHECK_EQ(cyn_poller_apply(p, 0), 1);
    CHECK_EQ(p->dirty_count, 0);
    CHECK_EQ(check_ready(p, ends[0]), 0);
    for (char taken[4096]; read(ends[1], taken, sizeof taken) > 0;)
        ;
    CHECK_EQ(check_ready_soon(p, ends[0]), CYN_WRITE);
}

POLLER_TEST(what_was_tried_is_forgotten_when_nothing_is_wanted) {
    struct cyn_event event;
    int ends[2];
    check_pair(ends);
    check_watch(p, ends[0], CYN_WRITE);
    cyn_poller_apply(p, 0);
    cyn_poller_want(p, ends[0], 0);
    cyn_poller_apply(p, 0);
    CHECK_EQ(cyn_poller_wait(p, &event, 1, 0), 0);
}

POLLER_TEST(what_can_be_written_leaves_room_for_what_can_be_read) {
    struct cyn_event events[2];
    int ends[2], others[8][2], reads = 0, writes = 0;
    check_pair(ends);
    check_watch(p, ends[0], CYN_READ);
    check_send(ends[1]);
    for (int i = 0; i < 8; i++) {
        check_pair(others[i]);
        check_watch(p, others[i][0], CYN_WRITE);
    }
    for (int round = 0; round < 64; round++) {
        cyn_poller_apply(p, 0);
        for (int n = cyn_poller_wait(p, events, 2, 0); n > 0; n--)
            events[n - 1].fd == ends[0] ? reads++ : writes++;
    }
    CHECK(reads > 0);
    CHECK(writes >= 32);
}

POLLER_TEST(what_can_be_written_gets_its_turn_however_little_room_there_is) {
    struct cyn_event events[3];
    int others[8][2];
    unsigned seen = 0;
    for (int i = 0; i < 8; i++) {
        check_pair(others[i]);
        check_watch(p, others[i][0], CYN_WRITE);
    }
    for (int round = 0; round < 16; round++) {
        cyn_poller_apply(p, 0);
        int n = cyn_poller_wait(p, events, 3, 0);
        for (int at = 0; at < n; at++)
            for (int i = 0; i < 8; i++)
                seen |= events[at].fd == others[i][0] ? 1U << i : 0U;
    }
    CHECK_EQ(seen, 255);
}
