/* SPDX-License-Identifier: MIT
 *
 * What the servers in C have in common: a listener on 127.0.0.1 that accepts in bursts, the loop, and a send that
 * waits for room. There is one thread, with level-triggered epoll. It prints "listening PORT" and serves until it is
 * killed. Each server is one source file that includes this header and defines what is declared under "the program".
 */
#ifndef CYN_BENCHMARKS_LISTENER_H
#define CYN_BENCHMARKS_LISTENER_H

#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

enum { BATCH = 256, BACKLOG = 1024, CHUNK = 65536, ACCEPTS = 64 };

/* -- the program --------------------------------------------------------------------------------------------------- */

/* Returns what represents a new connection in its events; it must differ from LISTENER. */
static epoll_data_t welcome(int fd);

/* Serves a connection that is readable. */
static void serve(epoll_data_t connection);

/* ------------------------------------------------------------------------------------------------------------------ */

#define LISTENER UINT64_MAX

static void die(const char *what) {
    perror(what);
    exit(1);
}

static int listen_on_loopback(void) {
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t length = sizeof address;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

    if (fd < 0)
        die("socket");
    if (bind(fd, (struct sockaddr *)&address, length) < 0)
        die("bind");
    if (listen(fd, BACKLOG) < 0)
        die("listen");
    if (getsockname(fd, (struct sockaddr *)&address, &length) < 0)
        die("getsockname");
    printf("listening %d\n", ntohs(address.sin_port));
    fflush(stdout);
    return fd;
}

static void watch(int poller, int fd, epoll_data_t data) {
    struct epoll_event event = {.events = EPOLLIN, .data = data};

    if (epoll_ctl(poller, EPOLL_CTL_ADD, fd, &event) < 0)
        die("epoll_ctl");
}

/* Accepts the next connection. Returns -1 where none is waiting. */
static int accept_one(int listener) {
    int on = 1;
    int fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);

    if (fd < 0) {
        if (errno == EAGAIN || errno == ECONNABORTED || errno == EINTR)
            return -1;
        die("accept4");
    }
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    return fd;
}

/* Returns 0, or -1 where the connection is broken. */
__attribute__((unused)) static int send_all(int fd, const char *data, ssize_t length) {
    while (length > 0) {
        ssize_t n = send(fd, data, (size_t)length, MSG_NOSIGNAL);

        if (n >= 0) {
            data += n;
            length -= n;
        } else if (errno == EAGAIN) {
            struct pollfd room = {.fd = fd, .events = POLLOUT};

            poll(&room, 1, 1000);
        } else if (errno != EINTR) {
            return -1;
        }
    }
    return 0;
}

static void accept_burst(int poller, int listener) {
    for (int i = 0; i < ACCEPTS; i++) {
        int fd = accept_one(listener);

        if (fd < 0)
            return;
        watch(poller, fd, welcome(fd));
    }
}

static _Noreturn void run_server(void) {
    struct epoll_event events[BATCH];
    int poller = epoll_create1(EPOLL_CLOEXEC);
    int listener = listen_on_loopback();

    if (poller < 0)
        die("epoll_create1");
    watch(poller, listener, (epoll_data_t){.u64 = LISTENER});
    for (;;) {
        int n = epoll_wait(poller, events, BATCH, -1);

        if (n < 0 && errno != EINTR)
            die("epoll_wait");
        for (int i = 0; i < n; i++) {
            if (events[i].data.u64 == LISTENER)
                accept_burst(poller, listener);
            else
                serve(events[i].data);
        }
    }
}

#endif
