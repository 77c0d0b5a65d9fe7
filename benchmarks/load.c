/* SPDX-License-Identifier: MIT
 *
 * The load: N connections to an echo server on 127.0.0.1, K of them active, one message in flight on each (a closed
 * loop). Prints one line of JSON about a measured window and about what the server process spent in that window.
 *
 * What to know before reading the figures:
 * - Every connection is primed: it sends one message and sees it come back, so the server has accepted all of them
 *   before the window begins. At most WINDOW connections wait for that at a time.
 * - Every byte that comes back is compared with what was sent; a difference, an excess or an end is an error.
 * - A message's time runs from before its send to the end of its last recv, read once for each message.
 */
#include "load.h"

enum {
    SIZE_MAX_BYTES = 65536,
    STAMP = 8 /* bytes of a message that tell the connection and the turn */
};

struct connection {
    int fd; /* -1: not open */
    uint32_t turn;
    uint32_t sent, received; /* bytes of the current message */
    uint64_t started;        /* when its send began, ns */
};

struct load {
    struct options want;
    struct tally tally;
    struct connection *connections;
    int poller;
    int opened, primed, alive; /* counts; `alive` of the active ones */
    int priming;               /* a finished message opens the next connection, and is not followed by another */
    char message[SIZE_MAX_BYTES], echoed[SIZE_MAX_BYTES + 1];
};

/* -- messages ------------------------------------------------------------------------------------------------------ */

static void fill_message(struct load *l) {
    for (int i = 0; i < SIZE_MAX_BYTES; i++)
        l->message[i] = (char)(i * 31 + i / 256);
}

/* Makes l->message the current one of this connection. */
static void stamp(struct load *l, const struct connection *c) {
    uint32_t words[2] = {(uint32_t)(c - l->connections), c->turn};

    memcpy(l->message, words, (size_t)(l->want.size < STAMP ? l->want.size : STAMP));
}

static void fail(struct load *l, struct connection *c) {
    close(c->fd);
    c->fd = -1;
    l->alive--;
    l->tally.errors++;
}

static void send_rest(struct load *l, struct connection *c) {
    uint32_t rest = (uint32_t)l->want.size - c->sent;
    ssize_t n;

    stamp(l, c);
    n = send(c->fd, l->message + c->sent, rest, MSG_NOSIGNAL);
    if (n < 0 && errno != EAGAIN) {
        fail(l, c);
        return;
    }
    c->sent += n > 0 ? (uint32_t)n : 0;
    if (n != (ssize_t)rest)
        watch(l->poller, EPOLL_CTL_MOD, c->fd, EPOLLIN | EPOLLOUT, c);
}

static void send_message(struct load *l, struct connection *c, uint64_t now) {
    c->turn++;
    c->sent = c->received = 0;
    c->started = now;
    send_rest(l, c);
}

/* 1: the message is complete, 0: not yet, -1: broken, and closed by now. */
static int receive(struct load *l, struct connection *c) {
    uint32_t rest = (uint32_t)l->want.size - c->received;
    ssize_t n = recv(c->fd, l->echoed, rest + 1, 0);

    if (n < 0 && (errno == EAGAIN || errno == EINTR))
        return 0;
    stamp(l, c);
    if (n <= 0 || n > (ssize_t)rest || memcmp(l->echoed, l->message + c->received, (size_t)n) != 0) {
        fail(l, c);
        return -1;
    }
    c->received += (uint32_t)n;
    return c->received == (uint32_t)l->want.size;
}

/* -- connections --------------------------------------------------------------------------------------------------- */

static void open_next(struct load *l) {
    struct connection *c = &l->connections[l->opened++];

    l->alive++;
    c->fd = open_connection(l->want.port);
    if (c->fd < 0) {
        l->alive--;
        l->tally.errors++;
        return;
    }
    c->turn = 1;
    watch(l->poller, EPOLL_CTL_ADD, c->fd, EPOLLIN | EPOLLOUT, c); /* writable when connected: the first message goes */
}

static void finish_message(struct load *l, struct connection *c) {
    uint64_t now;

    if (l->priming) {
        l->primed++;
        if (l->opened < l->want.connections)
            open_next(l);
        return;
    }
    now = now_ns();
    count_message(&l->tally, c->started, now);
    send_message(l, c, now);
}

static void serve(struct load *l, struct connection *c, uint32_t events) {
    if (c->fd < 0)
        return;
    if (events & EPOLLOUT) {
        watch(l->poller, EPOLL_CTL_MOD, c->fd, EPOLLIN, c);
        send_rest(l, c);
    }
    if (c->fd >= 0 && events & (EPOLLIN | EPOLLERR | EPOLLHUP) && receive(l, c) > 0)
        finish_message(l, c);
}

static void turn(struct load *l) {
    struct epoll_event events[BATCH];
    int n = epoll_wait(l->poller, events, BATCH, TICK_MS);

    if (n < 0 && errno != EINTR)
        die("epoll_wait");
    l->tally.turns += n > 0;
    for (int i = 0; i < n; i++)
        serve(l, events[i].data.ptr, events[i].events);
}

/* -- phases -------------------------------------------------------------------------------------------------------- */

static void prime(struct load *l) {
    uint64_t end = now_ns() + (uint64_t)(l->want.patience * 1e9);

    l->priming = 1;
    while (l->opened < l->want.connections && l->opened < WINDOW)
        open_next(l);
    while (l->primed < l->want.connections && l->tally.errors == 0 && now_ns() < end)
        turn(l);
    l->priming = 0;
}

static void start_active(struct load *l) {
    l->alive = l->want.active;
    for (int i = 0; i < l->want.active; i++) {
        int64_t place = (int64_t)i * l->want.connections / l->want.active;

        send_message(l, &l->connections[place], now_ns());
    }
}

static void run(struct load *l, double seconds, uint64_t count) {
    uint64_t end = now_ns() + (uint64_t)(seconds * 1e9);

    while (l->alive > 0 && now_ns() < end && (count == 0 || l->tally.messages < count))
        turn(l);
}

/* -- the program --------------------------------------------------------------------------------------------------- */

int main(int argc, char **argv) {
    static struct load l = {
        .want = {.connections = 100, .size = 64, .seconds = 2, .warmup = 0.5, .patience = 30, .flight = 1},
    };
    struct usage before = {0}, after = {0};
    long resident;

    parse(argc, argv, &l.want, SIZE_MAX_BYTES, 1);
    l.connections = calloc((size_t)l.want.connections, sizeof *l.connections);
    l.tally.latency = calloc(LATENCY_BINS, sizeof *l.tally.latency);
    l.poller = epoll_create1(EPOLL_CLOEXEC);
    if (l.connections == NULL || l.tally.latency == NULL || l.poller < 0)
        die("start");
    fill_message(&l);

    resident = resident_bytes(l.want.pid);
    prime(&l);
    resident = resident_bytes(l.want.pid) - resident;
    if (l.primed == l.want.connections) {
        start_active(&l);
        run(&l, l.want.warmup, 0);
        begin_window(&l.tally);
        before = read_usage(l.want.pid);
        run(&l, l.want.seconds, l.want.count);
        after = read_usage(l.want.pid);
    }
    report(&l.tally, l.primed, &before, &after, resident, peak_bytes(l.want.pid));
    return 0;
}
