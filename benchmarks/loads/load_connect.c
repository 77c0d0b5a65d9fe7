/* SPDX-License-Identifier: MIT
 *
 * The load of connections: N clients of an echo server on 127.0.0.1. Each connects, sends one message, receives it
 * back and closes, again and again (a closed loop). One such cycle is what is counted and timed.
 *
 * - The client closes with a reset, as in all loads. An orderly close would leave a port in TIME_WAIT in every cycle,
 *   and the ports of the loopback address would be used up within seconds. So the server gets an error, not the end
 *   of the stream.
 * - The reset is made by connect() to no address, which keeps the socket for the next cycle. Making and closing a
 *   socket each time would cost the load more than the server spends, and the load would be what is measured.
 * - Over loopback the handshake is finished when connect() returns, unless the backlog is full. So the client tries
 *   to send at once.
 * - Every byte that comes back is compared with what was sent; a difference, an excess or an end is an error.
 */
#include "load.h"
#include "message.h"

enum { CALL_MAX_BYTES = 4096 /* one send must take a whole message */ };

struct connection {
    int fd; /* -1: not open */
    uint32_t turn;
    size_t received;
    uint64_t started; /* when its connect began, ns */
};

static void stamp(const struct load *l, const struct connection *c) {
    stamp_message((uint32_t)(c - l->connections), c->turn, l->want.size);
}

/* The client is connected, or soon will be. */
static void send_message(struct load *l, struct connection *c) {
    ssize_t n;

    stamp(l, c);
    n = send(c->fd, message, (size_t)l->want.size, MSG_NOSIGNAL);
    if (n < 0 && errno == EAGAIN)
        watch(l, EPOLL_CTL_MOD, c->fd, EPOLLIN | EPOLLOUT, c);
    else if (n != l->want.size)
        fail(l, &c->fd);
}

static void begin_turn(struct load *l, struct connection *c) {
    c->turn++;
    c->received = 0;
    send_message(l, c);
}

static void open_connection(struct load *l, int number) {
    struct connection *c = &l->connections[number];

    c->started = now_ns();
    c->fd = open_socket(l->want.port);
    if (c->fd < 0) {
        fail(l, &c->fd);
        return;
    }
    watch(l, EPOLL_CTL_ADD, c->fd, EPOLLIN, c);
    begin_turn(l, c);
}

static void call_again(struct load *l, struct connection *c) {
    c->started = now_ns();
    if (start_connecting(c->fd, l->want.port) < 0)
        fail(l, &c->fd);
    else
        begin_turn(l, c);
}

static void hang_up(struct load *l, struct connection *c) {
    struct sockaddr nobody = {.sa_family = AF_UNSPEC};

    if (connect(c->fd, &nobody, sizeof nobody) < 0)
        die("connect to no address");
    if (!finish(l)) {
        watch(l, EPOLL_CTL_DEL, c->fd, 0, c); /* epoll reports a socket that is not connected at every wait */
        return;
    }
    count_message(&l->tally, c->started, now_ns());
    call_again(l, c);
}

static void receive(struct load *l, struct connection *c) {
    size_t rest = (size_t)l->want.size - c->received;
    ssize_t n = recv(c->fd, echoed, rest + 1, 0);

    if (n < 0 && (errno == EAGAIN || errno == EINTR))
        return;
    stamp(l, c);
    if (n <= 0 || (size_t)n > rest || memcmp(echoed, message + c->received, (size_t)n) != 0) {
        fail(l, &c->fd);
        return;
    }
    c->received += (size_t)n;
    if (c->received == (size_t)l->want.size)
        hang_up(l, c);
}

static void serve(struct load *l, struct connection *c, uint32_t events) {
    if (c->fd < 0)
        return;
    if (events & EPOLLOUT) {
        watch(l, EPOLL_CTL_MOD, c->fd, EPOLLIN, c);
        send_message(l, c);
    }
    if (c->fd >= 0 && events & (EPOLLIN | EPOLLERR | EPOLLHUP))
        receive(l, c);
}

static void begin(struct load *l) {
    for (int i = 0; i < l->want.connections; i++) {
        watch(l, EPOLL_CTL_ADD, l->connections[i].fd, EPOLLIN, &l->connections[i]);
        call_again(l, &l->connections[i]);
    }
}

int main(int argc, char **argv) {
    static struct load l = {
        .want = {.connections = 50, .size = 64, .seconds = 2, .warmup = 0.5, .patience = 30, .flight = 1},
    };

    parse(argc, argv, &l.want, (struct bounds){1, CALL_MAX_BYTES, 1});
    fill_message();
    return run_load(&l, sizeof *l.connections);
}
