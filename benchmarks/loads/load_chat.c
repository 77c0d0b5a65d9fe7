/* SPDX-License-Identifier: MIT
 *
 * The load of a chat: N connections to a server on 127.0.0.1 that passes every line on to all of them. A connection is
 * primed when it has its greeting. Then they write in turn, one line at a time: a line is done when everybody has it,
 * its author as well, and the next one follows. So a message of the tally is a line to N clients.
 *
 * - Every byte that comes is compared. Each line differs from the one before.
 */
#include "load.h"
#include "message.h"

struct connection {
    int fd;            /* -1: not open */
    int is_primed;     /* it has its greeting */
    uint32_t received; /* bytes of the greeting, or of the current line */
};

static const char GREETING[] = "welcome\r\n";
static uint32_t line_number;
static int missing; /* connections that do not have the current line yet */
static uint64_t started;

static int expected(const struct load *l, const struct connection *c, const char **what) {
    *what = c->is_primed ? message : GREETING;
    return c->is_primed ? l->want.size : (int)sizeof GREETING - 1;
}

static void open_connection(struct load *l, int number) {
    struct connection *c = &l->connections[number];

    c->fd = open_socket(l->want.port);
    if (c->fd < 0)
        fail(l, &c->fd);
    else
        watch(l, EPOLL_CTL_ADD, c->fd, EPOLLIN, c);
}

static void say(struct load *l) {
    struct connection *author = &l->connections[(uint64_t)line_number * 7919 % (uint64_t)l->want.connections];
    char label[16];

    memcpy(message, label, (size_t)snprintf(label, sizeof label, "%08u ", ++line_number % 100000000));
    missing = l->want.connections;
    started = now_ns();
    if (send(author->fd, message, (size_t)l->want.size, MSG_NOSIGNAL) != l->want.size)
        fail(l, &author->fd);
}

/* Everybody has the line. */
static void finish_line(struct load *l) {
    if (l->phase == DRAINING) {
        l->alive = 0;
        return;
    }
    count_message(&l->tally, started, now_ns());
    say(l);
}

static void serve(struct load *l, struct connection *c, uint32_t events) {
    const char *what;
    int size = expected(l, c, &what), rest;
    ssize_t n;

    (void)events;
    if (c->fd < 0)
        return;
    rest = size - (int)c->received;
    n = recv(c->fd, echoed, (size_t)rest + 1, 0);
    if (n < 0 && (errno == EAGAIN || errno == EINTR))
        return;
    if (n <= 0 || n > rest || memcmp(echoed, what + c->received, (size_t)n) != 0) {
        fail(l, &c->fd);
        return;
    }
    c->received += (uint32_t)n;
    if (c->received < (uint32_t)size)
        return;
    c->received = 0;
    if (!c->is_primed) {
        c->is_primed = 1;
        finish(l);
    } else if (--missing == 0) {
        finish_line(l);
    }
}

static void begin(struct load *l) {
    l->alive = 1; /* what is owed is one line */
    say(l);
}

int main(int argc, char **argv) {
    static struct load l = {
        .want = {.connections = 5000, .size = 64, .seconds = 2, .warmup = 0.5, .patience = 30, .flight = 1},
    };

    parse(argc, argv, &l.want, (struct bounds){16, 1024, 1});
    for (int i = 0; i < l.want.size; i++)
        message[i] = (char)('a' + i % 26);
    memcpy(message + l.want.size - 2, "\r\n", 2);
    return run_load(&l, sizeof *l.connections);
}
