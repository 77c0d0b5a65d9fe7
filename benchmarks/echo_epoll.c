/* SPDX-License-Identifier: MIT
 *
 * The yardstick: an echo server that does what the kernel asks for and nothing else. One thread, level-triggered epoll,
 * one recv and one send for a message. Prints "listening PORT" and serves 127.0.0.1 until it is killed.
 *
 * A send that does not fit waits for room with poll(): the load never has more than one message of at most 64 KiB in
 * flight on a connection, so that wait is never long, and the common path stays free of bookkeeping.
 */
#include "listener.h"

static void accept_burst(int poller, int listener) {
    for (int i = 0; i < ACCEPTS; i++) {
        int fd = accept_one(listener);

        if (fd < 0)
            return;
        watch(poller, fd, (epoll_data_t){.fd = fd});
    }
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
    watch(poller, listener, (epoll_data_t){.fd = listener});
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
