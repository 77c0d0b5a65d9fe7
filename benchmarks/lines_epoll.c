/* SPDX-License-Identifier: MIT
 *
 * The yardstick of lines: a server that finds the CRLFs in what came, copies each line to its answer and sends the answers
 * of one recv at once. One thread, level-triggered epoll. Prints "listening PORT" and serves 127.0.0.1 until it is killed.
 *
 * A line that has not ended waits in its connection's buffer. Nothing that the load sends is longer than LINE_MAX_BYTES;
 * who sends more is cut off.
 */
#include "listener.h"
#include <string.h>

enum { LINE_MAX_BYTES = 4096 };

struct peer {
    int fd;
    size_t kept; /* bytes of a line that has not ended */
    char line[LINE_MAX_BYTES];
};

static char answers[LINE_MAX_BYTES + CHUNK];

/* Moves the whole lines of `data` to the answers, and returns where the rest begins. */
static const char *take_lines(const char *data, const char *end, size_t *length) {
    for (;;) {
        const char *found = memmem(data, (size_t)(end - data), "\r\n", 2);

        if (found == NULL)
            return data;
        memcpy(answers + *length, data, (size_t)(found - data));
        *length += (size_t)(found - data);
        memcpy(answers + *length, "\r\n", 2);
        *length += 2;
        data = found + 2;
    }
}

static void hang_up(struct peer *p) {
    close(p->fd);
    free(p);
}

static void serve(struct peer *p) {
    static char data[LINE_MAX_BYTES + CHUNK];
    size_t length = 0;
    const char *rest, *end;
    ssize_t n = recv(p->fd, data + p->kept, CHUNK, 0);

    if (n < 0 && (errno == EAGAIN || errno == EINTR))
        return;
    if (n <= 0) {
        hang_up(p);
        return;
    }
    memcpy(data, p->line, p->kept);
    end = data + p->kept + n;
    rest = take_lines(data, end, &length);
    if (end - rest > LINE_MAX_BYTES || send_all(p->fd, answers, (ssize_t)length) < 0) {
        hang_up(p);
        return;
    }
    p->kept = (size_t)(end - rest);
    memcpy(p->line, rest, p->kept);
}

static void accept_burst(int poller, int listener) {
    for (int i = 0; i < ACCEPTS; i++) {
        int fd = accept_one(listener);
        struct peer *p = fd < 0 ? NULL : calloc(1, sizeof *p);

        if (fd < 0)
            return;
        if (p == NULL)
            die("calloc");
        p->fd = fd;
        watch(poller, fd, (epoll_data_t){.ptr = p});
    }
}

int main(void) {
    struct epoll_event events[BATCH];
    int poller = epoll_create1(EPOLL_CLOEXEC);
    int listener = listen_on_loopback();

    if (poller < 0)
        die("epoll_create1");
    watch(poller, listener, (epoll_data_t){.ptr = NULL});
    for (;;) {
        int n = epoll_wait(poller, events, BATCH, -1);

        if (n < 0 && errno != EINTR)
            die("epoll_wait");
        for (int i = 0; i < n; i++) {
            if (events[i].data.ptr == NULL)
                accept_burst(poller, listener);
            else
                serve(events[i].data.ptr);
        }
    }
}
