/* SPDX-License-Identifier: MIT
 *
 * The reference for echo: a server that does only what the kernel requires, one recv and one send for each message.
 *
 * Where a send does not fit, poll() waits for room. The load never has more than one message of at most 64 KiB in
 * flight on a connection. So that wait is short, and the common path needs no bookkeeping.
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
