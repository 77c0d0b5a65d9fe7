/* SPDX-License-Identifier: MIT
 *
 * The load: N connections to an echo server on 127.0.0.1, K of them active, one message in flight on each (a closed
 * loop). The active ones are spread evenly: the first connection, and then every (N/K)th.
 *
 * - Every byte that comes back is compared with what was sent; a difference, an excess or an end is an error.
 * - The time of a message begins before its send and ends after its last recv.
 */
#include "load.h"
#include "message.h"

struct connection {
    int fd; /* -1: not open */
    uint32_t turn;
    uint32_t sent, received; /* bytes of the current message */
    uint64_t started;        /* when its send began, ns */
};

/* -- messages ------------------------------------------------------------------------------------------------------ */

static void stamp(const struct load *l, const struct connection *c) {
    stamp_message((uint32_t)(c - l->connections), c->turn, l->want.size);
}

static void send_rest(struct load *l, struct connection *c) {
    uint32_t rest = (uint32_t)l->want.size - c->sent;
    ssize_t n;

    stamp(l, c);
    n = send(c->fd, message + c->sent, rest, MSG_NOSIGNAL);
    if (n < 0 && errno != EAGAIN) {
        fail(l, &c->fd);
        return;
    }
    c->sent += n > 0 ? (uint32_t)n : 0;
    if (n != (ssize_t)rest)
        watch(l, EPOLL_CTL_MOD, c->fd, EPOLLIN | EPOLLOUT, c);
}

static void send_message(struct load *l, struct connection *c, uint64_t now) {
    c->turn++;
    c->sent = c->received = 0;
    c->started = now;
    send_rest(l, c);
}

/* Returns 1 where the message is complete, 0 where it is not yet, -1 where the connection is broken and was closed. */
static int receive(struct load *l, struct connection *c) {
    uint32_t rest = (uint32_t)l->want.size - c->received;
    ssize_t n = recv(c->fd, echoed, rest + 1, 0);

    if (n < 0 && (errno == EAGAIN || errno == EINTR))
        return 0;
    stamp(l, c);
    if (n <= 0 || n > (ssize_t)rest || memcmp(echoed, message + c->received, (size_t)n) != 0) {
        fail(l, &c->fd);
        return -1;
    }
    c->received += (uint32_t)n;
    return c->received == (uint32_t)l->want.size;
}

/* -- connections --------------------------------------------------------------------------------------------------- */

static void open_connection(struct load *l, int number) {
    struct connection *c = &l->connections[number];

    c->fd = open_socket(l->want.port);
    c->turn = 1;
    if (c->fd < 0)
        fail(l, &c->fd);
    else
        watch(l, EPOLL_CTL_ADD, c->fd, EPOLLIN | EPOLLOUT,
              c); /* it is writable when it is connected, and sends its first message */
}

static void finish_message(struct load *l, struct connection *c) {
    uint64_t now;

    if (!finish(l))
        return;
    now = now_ns();
    count_message(&l->tally, c->started, now);
    send_message(l, c, now);
}

static void serve(struct load *l, struct connection *c, uint32_t events) {
    if (c->fd < 0)
        return;
    if (events & EPOLLOUT) {
        watch(l, EPOLL_CTL_MOD, c->fd, EPOLLIN, c);
        send_rest(l, c);
    }
    if (c->fd >= 0 && events & (EPOLLIN | EPOLLERR | EPOLLHUP) && receive(l, c) > 0)
        finish_message(l, c);
}

static void begin(struct load *l) {
    for (int i = 0; i < l->want.active; i++) {
        int64_t place = (int64_t)i * l->want.connections / l->want.active;

        send_message(l, &l->connections[place], now_ns());
    }
}

int main(int argc, char **argv) {
    static struct load l = {
        .want = {.connections = 100, .size = 64, .seconds = 2, .warmup = 0.5, .patience = 30, .flight = 1},
    };

    parse(argc, argv, &l.want, (struct bounds){1, SIZE_MAX_BYTES, 1});
    fill_message();
    return run_load(&l, sizeof *l.connections);
}
