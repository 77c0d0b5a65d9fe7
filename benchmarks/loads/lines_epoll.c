/* SPDX-License-Identifier: MIT
 *
 * The reference for lines: a server that finds the CRLFs in what it received, copies each line to its answer, and
 * sends all answers to one recv at once.
 *
 * A line that has not ended waits in the buffer of its connection. The load sends no line longer than LINE_MAX_BYTES;
 * a client that does is disconnected.
 */
#include "listener.h"
#include <string.h>

enum { LINE_MAX_BYTES = 4096 };

struct peer {
    int fd;
    size_t kept; /* bytes of the line that has not ended */
    char line[LINE_MAX_BYTES];
};

static char answers[LINE_MAX_BYTES + CHUNK];

/* Copies the complete lines of `data` to the answers. Returns where the rest begins. */
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

static void serve(epoll_data_t connection) {
    struct peer *p = connection.ptr;
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

static epoll_data_t welcome(int fd) {
    struct peer *p = calloc(1, sizeof *p);

    if (p == NULL)
        die("calloc");
    p->fd = fd;
    return (epoll_data_t){.ptr = p};
}

int main(void) {
    run_server();
}
