/* SPDX-License-Identifier: MIT
 *
 * The load of lines: N connections to a server on 127.0.0.1 that answers each line with the same line. On each of
 * them F lines are on their way (a closed loop: a line that came back makes room for the next one).
 *
 * - A connection sends the RING lines of its own again and again. Each of them differs from its neighbours and from
 *   those of the other connections, and every byte is compared. So a line that is lost, repeated, out of order or
 *   another connection's is found.
 * - The lines that one recv makes room for leave in one send. A server that answers line by line therefore gets its
 *   lines in smaller pieces than one that joins its answers.
 * - The time of a line begins before the send that contains it and ends after the recv that completes it.
 */
#include "load.h"

enum { RING = 128, SIZE_MAX_BYTES = 1024, SIZE_MIN_BYTES = 16, FLIGHT_MAX = 128 };

struct connection {
    int fd;                       /* -1: not open */
    uint64_t sent, received;      /* bytes since the connection was opened */
    uint64_t allowed;             /* bytes that may be sent */
    uint64_t started[FLIGHT_MAX]; /* ns, of line number i at i % FLIGHT_MAX */
    char *ring;                   /* RING + FLIGHT_MAX lines, so that the lines on their way are always contiguous */
};

static char replies[FLIGHT_MAX * SIZE_MAX_BYTES + 1];

static void fill_ring(const struct load *l, struct connection *c, int number) {
    char label[SIZE_MIN_BYTES];
    size_t size = (size_t)l->want.size;

    c->ring = malloc((RING + FLIGHT_MAX) * size);
    if (c->ring == NULL)
        die("malloc");
    for (int i = 0; i < RING + FLIGHT_MAX; i++) {
        char *line = c->ring + (size_t)i * size;

        for (size_t k = 0; k < size; k++)
            line[k] = (char)('a' + (k + (size_t)number) % 26);
        memcpy(line, label, (size_t)snprintf(label, sizeof label, "%05d.%03d ", number % 100000, i % RING));
        memcpy(line + size - 2, "\r\n", 2);
    }
}

static const char *place(const struct load *l, const struct connection *c, uint64_t offset) {
    return c->ring + offset % ((uint64_t)RING * (uint64_t)l->want.size);
}

static void send_allowed(struct load *l, struct connection *c, uint64_t now) {
    uint64_t rest = c->allowed - c->sent, size = (uint64_t)l->want.size;
    ssize_t n = send(c->fd, place(l, c, c->sent), rest, MSG_NOSIGNAL);

    if (n < 0 && errno != EAGAIN) {
        fail(l, &c->fd);
        return;
    }
    for (uint64_t i = c->sent / size; i * size < c->allowed; i++)
        c->started[i % FLIGHT_MAX] = now;
    c->sent += n > 0 ? (uint64_t)n : 0;
    if (c->sent < c->allowed)
        watch(l, EPOLL_CTL_MOD, c->fd, EPOLLIN | EPOLLOUT, c);
}

/* Returns how many lines were completed, or -1 where the connection is broken and was closed. */
static int receive(struct load *l, struct connection *c) {
    uint64_t rest = c->sent - c->received, size = (uint64_t)l->want.size, before = c->received / size;
    ssize_t n = recv(c->fd, replies, rest + 1, 0);

    if (n < 0 && (errno == EAGAIN || errno == EINTR))
        return 0;
    if (n <= 0 || (uint64_t)n > rest || memcmp(replies, place(l, c, c->received), (size_t)n) != 0) {
        fail(l, &c->fd);
        return -1;
    }
    c->received += (uint64_t)n;
    return (int)(c->received / size - before);
}

static void open_connection(struct load *l, int number) {
    struct connection *c = &l->connections[number];

    c->fd = open_socket(l->want.port);
    if (c->fd < 0) {
        fail(l, &c->fd);
        return;
    }
    fill_ring(l, c, number + 1);
    c->allowed = (uint64_t)l->want.size;
    watch(l, EPOLL_CTL_ADD, c->fd, EPOLLIN | EPOLLOUT, c); /* writable when connected: the first line goes */
}

static void finish_lines(struct load *l, struct connection *c, int lines) {
    uint64_t now, first = c->received / (uint64_t)l->want.size - (uint64_t)lines;

    if ((l->phase == DRAINING && c->received < c->allowed) || !finish(l))
        return;
    now = now_ns();
    for (uint64_t i = first; i < first + (uint64_t)lines; i++)
        count_message(&l->tally, c->started[i % FLIGHT_MAX], now);
    c->allowed += (uint64_t)(lines * l->want.size);
    send_allowed(l, c, now);
}

static void serve(struct load *l, struct connection *c, uint32_t events) {
    int lines;

    if (c->fd < 0)
        return;
    if (events & EPOLLOUT) {
        watch(l, EPOLL_CTL_MOD, c->fd, EPOLLIN, c);
        send_allowed(l, c, now_ns());
    }
    if (c->fd >= 0 && events & (EPOLLIN | EPOLLERR | EPOLLHUP)) {
        lines = receive(l, c);
        if (lines > 0)
            finish_lines(l, c, lines);
    }
}

static void begin(struct load *l) {
    for (int i = 0; i < l->want.connections; i++) {
        struct connection *c = &l->connections[i];

        c->allowed += (uint64_t)(l->want.flight * l->want.size);
        send_allowed(l, c, now_ns());
    }
}

int main(int argc, char **argv) {
    static struct load l = {
        .want = {.connections = 50, .size = 64, .seconds = 2, .warmup = 0.5, .patience = 30, .flight = 1},
    };

    parse(argc, argv, &l.want, (struct bounds){SIZE_MIN_BYTES, SIZE_MAX_BYTES, FLIGHT_MAX - 1});
    return run_load(&l, sizeof *l.connections);
}
