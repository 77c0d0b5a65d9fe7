/* SPDX-License-Identifier: MIT
 *
 * The yardstick: an echo server that does what the kernel asks for and nothing else. One thread, level-triggered epoll,
 * one recv and one send for a message. Prints "listening PORT" and serves 127.0.0.1 until it is killed.
 *
 * A send that does not fit waits for room with poll(): the load never has more than one message of at most 64 KiB in
 * flight on a connection, so that wait is never long, and the common path stays free of bookkeeping.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

enum { BATCH = 256, BACKLOG = 1024, CHUNK = 65536, ACCEPTS = 64 };

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

static void watch(int poller, int fd) {
    struct epoll_event event = {.events = EPOLLIN, .data.fd = fd};

    if (epoll_ctl(poller, EPOLL_CTL_ADD, fd, &event) < 0)
        die("epoll_ctl");
}

static void accept_burst(int poller, int listener) {
    int on = 1;

    for (int i = 0; i < ACCEPTS; i++) {
        int fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);

        if (fd < 0) {
            if (errno == EAGAIN || errno == ECONNABORTED || errno == EINTR)
                return;
            die("accept4");
        }
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
        watch(poller, fd);
    }
}

/* 0, or -1 where the connection is broken. */
static int send_all(int fd, const char *data, ssize_t length) {
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

static void echo(int fd) {
    static char data[CHUNK];
    ssize_t n = recv(fd, data, sizeof data, 0);

    if (n < 0 && (errno == EAGAIN || errno == EINTR))
        return;
    if (n <= 0 || send_all(fd, data, n) < 0)
        close(fd);
}

int main(void) {
    struct epoll_event events[BATCH];
    int poller = epoll_create1(EPOLL_CLOEXEC);
    int listener = listen_on_loopback();

    if (poller < 0)
        die("epoll_create1");
    watch(poller, listener);
    for (;;) {
        int n = epoll_wait(poller, events, BATCH, -1);

        if (n < 0 && errno != EINTR)
            die("epoll_wait");
        for (int i = 0; i < n; i++) {
            if (events[i].data.fd == listener)
                accept_burst(poller, listener);
            else
                echo(events[i].data.fd);
        }
    }
}
