/* SPDX-License-Identifier: MIT
 *
 * The load of mail: N clients, each of which says one SMTP command, waits for the whole reply and says the next (no
 * pipelining). Either each keeps its connection and sends message after message (MAIL, RCPT, DATA, the body), or with
 * --sessions 1 it opens a connection for every message (the greeting, EHLO, ..., QUIT, and the server's end of stream).
 * Reports as load.c does; a message counts when the server took it, and with --sessions when its session has ended.
 *
 * - Every reply must have the code that a server gives who takes the mail, and nothing may follow it: anything else is an
 *   error, and so is an end of stream before QUIT.
 * - When the window has ended, each client must come to the end of its message within DRAIN_S.
 * - The server is the one who closes, so it is not this end that stays in TIME_WAIT; this end answers with a reset, and
 *   then nobody does.
 */
#include "load.h"

enum { SIZE_MAX_BYTES = 1 << 20, SIZE_MIN_BYTES = 64, REPLY_MAX_BYTES = 4096, LINE_BYTES = 64 };

enum step { GREETING, HELLO, MAIL, RECIPIENT, DATA, BODY, QUIT, END, STEPS };

struct command {
    const char *text;
    size_t length;
    const char *code; /* of the reply; of END none, but the end of the stream */
};

struct client {
    int fd; /* -1: not open */
    enum step step;
    size_t sent;      /* bytes of the step's command */
    size_t have;      /* bytes of the reply */
    uint64_t started; /* ns: when the message, or the session, began */
    char reply[REPLY_MAX_BYTES];
};

struct load {
    struct options want;
    struct tally tally;
    struct client *clients;
    struct command commands[STEPS];
    int poller;
    int opened, primed, alive;
    enum phase phase;
};

/* -- what is said -------------------------------------------------------------------------------------------------- */

static void set_command(struct load *l, enum step step, const char *text, const char *code) {
    struct command *c = &l->commands[step];

    c->text = text;
    c->length = strlen(text);
    c->code = code;
}

/* A header, lines of letters, of which every eighth begins with a dot (doubled, as SMTP wants it), and the final dot. */
static char *make_body(int size) {
    static const char HEADER[] = "Subject: a message\r\n\r\n";
    size_t length = sizeof HEADER - 1;
    char *body = malloc((size_t)size + LINE_BYTES + 8);

    if (body == NULL)
        die("malloc");
    memcpy(body, HEADER, length);
    for (int number = 0; length < (size_t)size; number++) {
        size_t line = (size_t)size - length;

        line = line < LINE_BYTES ? (line < 3 ? 3 : line) : LINE_BYTES;
        for (size_t i = 0; i < line - 2; i++)
            body[length + i] = (char)('a' + (i + (size_t)number) % 26);
        if (number % 8 == 0 && line == LINE_BYTES)
            memcpy(body + length, "..", 2);
        memcpy(body + length + line - 2, "\r\n", 2);
        length += line;
    }
    memcpy(body + length, ".\r\n", 4);
    return body;
}

static void fill_commands(struct load *l) {
    set_command(l, GREETING, "", "220");
    set_command(l, HELLO, "EHLO client.example\r\n", "250");
    set_command(l, MAIL, "MAIL FROM:<sender@client.example>\r\n", "250");
    set_command(l, RECIPIENT, "RCPT TO:<recipient@server.example>\r\n", "250");
    set_command(l, DATA, "DATA\r\n", "354");
    set_command(l, BODY, make_body(l->want.size), "250");
    set_command(l, QUIT, "QUIT\r\n", "221");
    set_command(l, END, "", "");
}

/* -- a client ------------------------------------------------------------------------------------------------------ */

static void fail(struct load *l, struct client *c) {
    if (c->have)
        fprintf(stderr, "step %d: the server said %.*s\n", c->step, (int)c->have, c->reply);
    if (c->fd >= 0)
        close(c->fd);
    c->fd = -1;
    l->alive--;
    l->tally.errors++;
}

static void send_rest(struct load *l, struct client *c) {
    const struct command *now = &l->commands[c->step];
    size_t rest = now->length - c->sent;
    ssize_t n;

    if (rest == 0)
        return; /* the other end speaks first */
    n = send(c->fd, now->text + c->sent, rest, MSG_NOSIGNAL);
    if (n < 0 && errno != EAGAIN) {
        fail(l, c);
        return;
    }
    c->sent += n > 0 ? (size_t)n : 0;
    if (c->sent < now->length)
        watch(l->poller, EPOLL_CTL_MOD, c->fd, EPOLLIN | EPOLLOUT, c);
}

static void begin_step(struct load *l, struct client *c, enum step step) {
    c->step = step;
    c->sent = c->have = 0;
    send_rest(l, c);
}

static void open_client(struct load *l, struct client *c) {
    c->started = now_ns();
    c->step = GREETING;
    c->sent = c->have = 0;
    c->fd = open_connection(l->want.port);
    if (c->fd < 0)
        fail(l, c);
    else
        watch(l->poller, EPOLL_CTL_ADD, c->fd, EPOLLIN, c);
}

static void open_next(struct load *l) {
    l->alive++;
    open_client(l, &l->clients[l->opened++]);
}

static void begin_message(struct load *l, struct client *c) {
    if (l->want.sessions) {
        open_client(l, c);
        return;
    }
    c->started = now_ns();
    begin_step(l, c, MAIL);
}

static void finish_message(struct load *l, struct client *c) {
    if (l->phase == PRIMING) {
        l->primed++;
        if (l->opened < l->want.connections)
            open_next(l);
        return;
    }
    if (l->phase == DRAINING) {
        l->alive--;
        return;
    }
    count_message(&l->tally, c->started, now_ns());
    begin_message(l, c);
}

/* Is there a whole reply, up to the line whose code no hyphen follows? -1: there is what no reply is. */
static int has_reply(const struct client *c, const char *code) {
    const char *line = c->reply, *end = c->reply + c->have;

    for (;;) {
        const char *newline = memchr(line, '\n', (size_t)(end - line));

        if (newline == NULL)
            return c->have < REPLY_MAX_BYTES ? 0 : -1;
        if (newline - line < 4 || memcmp(line, code, 3) != 0)
            return -1;
        if (line[3] != '-')
            return newline + 1 == end ? 1 : -1;
        line = newline + 1;
    }
}

static void take_reply(struct load *l, struct client *c) {
    if (c->step == BODY && !l->want.sessions)
        finish_message(l, c);
    else
        begin_step(l, c, c->step + 1);
}

static void receive(struct load *l, struct client *c) {
    ssize_t n = recv(c->fd, c->reply + c->have, REPLY_MAX_BYTES - c->have, 0);
    int whole;

    if (n < 0 && (errno == EAGAIN || errno == EINTR))
        return;
    if (n == 0 && c->step == END && c->have == 0) {
        close(c->fd);
        c->fd = -1;
        finish_message(l, c);
        return;
    }
    c->have += n > 0 ? (size_t)n : 0;
    whole = n > 0 && c->step != END && c->sent == l->commands[c->step].length ? has_reply(c, l->commands[c->step].code)
                                                                              : -1;
    if (whole < 0)
        fail(l, c);
    else if (whole)
        take_reply(l, c);
}

static void serve(struct load *l, struct client *c, uint32_t events) {
    if (c->fd < 0)
        return;
    if (events & EPOLLOUT) {
        watch(l->poller, EPOLL_CTL_MOD, c->fd, EPOLLIN, c);
        send_rest(l, c);
    }
    if (c->fd >= 0 && events & (EPOLLIN | EPOLLERR | EPOLLHUP))
        receive(l, c);
}

/* -- phases -------------------------------------------------------------------------------------------------------- */

static void turn(struct load *l) {
    struct epoll_event events[BATCH];
    int n = epoll_wait(l->poller, events, BATCH, TICK_MS);

    if (n < 0 && errno != EINTR)
        die("epoll_wait");
    l->tally.turns += n > 0;
    for (int i = 0; i < n; i++)
        serve(l, events[i].data.ptr, events[i].events);
}

static void prime(struct load *l) {
    uint64_t end = now_ns() + (uint64_t)(l->want.patience * 1e9);

    while (l->opened < l->want.connections && l->opened < WINDOW)
        open_next(l);
    while (l->primed < l->want.connections && l->tally.errors == 0 && now_ns() < end)
        turn(l);
    l->phase = RUNNING;
}

static void run(struct load *l, double seconds, uint64_t count) {
    uint64_t end = now_ns() + (uint64_t)(seconds * 1e9);

    while (l->alive > 0 && now_ns() < end && (count == 0 || l->tally.messages < count))
        turn(l);
}

/* A reply that never comes only shows when one stops waiting for it. */
static void drain(struct load *l) {
    uint64_t end = now_ns() + (uint64_t)DRAIN_S * 1000000000u;

    l->phase = DRAINING;
    while (l->alive > 0 && now_ns() < end)
        turn(l);
    l->tally.errors += (uint64_t)l->alive;
}

int main(int argc, char **argv) {
    static struct load l = {
        .want = {.connections = 100, .size = 2048, .seconds = 2, .warmup = 0.5, .patience = 30, .flight = 1},
    };
    struct usage before = {0}, after = {0};
    long resident, peak = 0;

    parse(argc, argv, &l.want, SIZE_MAX_BYTES, 1);
    if (l.want.size < SIZE_MIN_BYTES) {
        fprintf(stderr, "a message has %d bytes or more\n", SIZE_MIN_BYTES);
        return 2;
    }
    fill_commands(&l);
    l.clients = calloc((size_t)l.want.connections, sizeof *l.clients);
    l.tally.latency = calloc(LATENCY_BINS, sizeof *l.tally.latency);
    l.poller = epoll_create1(EPOLL_CLOEXEC);
    if (l.clients == NULL || l.tally.latency == NULL || l.poller < 0)
        die("start");

    resident = resident_bytes(l.want.pid);
    prime(&l);
    resident = resident_bytes(l.want.pid) - resident;
    if (l.primed == l.want.connections) {
        for (int i = 0; i < l.want.connections; i++)
            begin_message(&l, &l.clients[i]);
        run(&l, l.want.warmup, 0);
        begin_window(&l.tally);
        before = read_usage(l.want.pid);
        run(&l, l.want.seconds, l.want.count);
        after = read_usage(l.want.pid);
        peak = peak_bytes(l.want.pid);
        drain(&l);
    }
    report(&l.tally, l.primed, &before, &after, resident, peak);
    return 0;
}
