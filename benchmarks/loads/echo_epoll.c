/* SPDX-License-Identifier: MIT
 *
 * The yardstick: an echo server that does what the kernel asks for and nothing else: one recv and one
 * send for a message.
 *
 * A send that does not fit waits for room with poll(): the load never has more than one message of at most 64 KiB in
 * flight on a connection, so that wait is never long, and the common path stays free of bookkeeping.
 */
#include "listener.h"

static epoll_data_t welcome(int fd) {
    return (epoll_data_t){.u64 = (uint64_t)fd};
}

static void serve(epoll_data_t connection) {
    static char data[CHUNK];
    int fd = (int)connection.u64;
    ssize_t n = recv(fd, data, sizeof data, 0);

    if (n < 0 && (errno == EAGAIN || errno == EINTR))
        return;
    if (n <= 0 || send_all(fd, data, n) < 0)
        close(fd);
}

int main(void) {
    run_server();
}
