/* SPDX-License-Identifier: MIT
 *
 * The load of mail: N clients, each of which sends one SMTP command, waits for the whole reply, and sends the next
 * (no pipelining). Each client keeps its connection and sends message after message (MAIL, RCPT, DATA, the body).
 * With --sessions 1 it opens a connection for every message (greeting, EHLO, ..., QUIT, end of stream from the
 * server). A message counts when the server has accepted it, and with --sessions 1 when its session has ended.
 *
 * - Every reply must have the code of a server that accepts the mail, and nothing may follow it. Anything else is an
 *   error, and so is an end of stream before QUIT.
 * - The server closes first, so no port of the client stays in TIME_WAIT. The client answers with a reset, and so no
 *   port of the server does.
 */
#include "load.h"

enum { SIZE_MAX_BYTES = 1 << 20, SIZE_MIN_BYTES = 64, REPLY_MAX_BYTES = 4096, LINE_BYTES = 64 };

enum step { GREETING, HELLO, MAIL, RECIPIENT, DATA, BODY, QUIT, END, STEPS };

struct command {
    const char *text;
    size_t length;
    const char *code; /* of the reply; END has none, since the stream ends there */
};

struct connection {
    int fd; /* -1: not open */
    enum step step;
    size_t sent;      /* bytes of the step's command */
    size_t have;      /* bytes of the reply */
    uint64_t started; /* ns: when the message, or the session, began */
    char reply[REPLY_MAX_BYTES];
};

static struct command commands[STEPS];

/* -- the commands -------------------------------------------------------------------------------------------------- */

static void set_command(enum step step, const char *text, const char *code) {
    struct command *c = &commands[step];

    c->text = text;
    c->length = strlen(text);
    c->code = code;
}

/* A header, lines of letters, and the final dot. Every eighth line begins with a dot, doubled as SMTP requires. */
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

static void fill_commands(int size) {
    set_command(GREETING, "", "220");
    set_command(HELLO, "EHLO client.example\r\n", "250");
    set_command(MAIL, "MAIL FROM:<sender@client.example>\r\n", "250");
    set_command(RECIPIENT, "RCPT TO:<recipient@server.example>\r\n", "250");
    set_command(DATA, "DATA\r\n", "354");
    set_command(BODY, make_body(size), "250");
    set_command(QUIT, "QUIT\r\n", "221");
    set_command(END, "", "");
}

/* -- a client ------------------------------------------------------------------------------------------------------ */

static void fail_client(struct load *l, struct connection *c) {
    if (c->have)
        fprintf(stderr, "step %d: the server said %.*s\n", c->step, (int)c->have, c->reply);
    fail(l, &c->fd);
}

static void send_rest(struct load *l, struct connection *c) {
    const struct command *now = &commands[c->step];
    size_t rest = now->length - c->sent;
    ssize_t n;

    if (rest == 0)
        return; /* the server speaks first */
    n = send(c->fd, now->text + c->sent, rest, MSG_NOSIGNAL);
    if (n < 0 && errno != EAGAIN) {
        fail_client(l, c);
        return;
    }
    c->sent += n > 0 ? (size_t)n : 0;
    if (c->sent < now->length)
        watch(l, EPOLL_CTL_MOD, c->fd, EPOLLIN | EPOLLOUT, c);
}

static void begin_step(struct load *l, struct connection *c, enum step step) {
    c->step = step;
    c->sent = c->have = 0;
    send_rest(l, c);
}

static void open_client(struct load *l, struct connection *c) {
    c->started = now_ns();
    c->step = GREETING;
    c->sent = c->have = 0;
    c->fd = open_socket(l->want.port);
    if (c->fd < 0)
        fail_client(l, c);
    else
        watch(l, EPOLL_CTL_ADD, c->fd, EPOLLIN, c);
}

static void open_connection(struct load *l, int number) {
    open_client(l, &l->connections[number]);
}

static void begin_message(struct load *l, struct connection *c) {
    if (l->want.sessions) {
        open_client(l, c);
        return;
    }
    c->started = now_ns();
    begin_step(l, c, MAIL);
}

static void finish_message(struct load *l, struct connection *c) {
    if (!finish(l))
        return;
    count_message(&l->tally, c->started, now_ns());
    begin_message(l, c);
}

/* Returns 1 where the reply is whole, which is up to the line without a hyphen after its code; 0 where it is not yet;
 * -1 where it is no reply with this code. */
static int has_reply(const struct connection *c, const char *code) {
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

static void take_reply(struct load *l, struct connection *c) {
    if (c->step == BODY && !l->want.sessions)
        finish_message(l, c);
    else
        begin_step(l, c, c->step + 1);
}

static void receive(struct load *l, struct connection *c) {
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
    whole = n > 0 && c->step != END && c->sent == commands[c->step].length ? has_reply(c, commands[c->step].code) : -1;
    if (whole < 0)
        fail_client(l, c);
    else if (whole)
        take_reply(l, c);
}

static void serve(struct load *l, struct connection *c, uint32_t events) {
    if (c->fd < 0)
        return;
    if (events & EPOLLOUT) {
        watch(l, EPOLL_CTL_MOD, c->fd, EPOLLIN, c);
        send_rest(l, c);
    }
    if (c->fd >= 0 && events & (EPOLLIN | EPOLLERR | EPOLLHUP))
        receive(l, c);
}

static void begin(struct load *l) {
    for (int i = 0; i < l->want.connections; i++)
        begin_message(l, &l->connections[i]);
}

int main(int argc, char **argv) {
    static struct load l = {
        .want = {.connections = 100, .size = 2048, .seconds = 2, .warmup = 0.5, .patience = 30, .flight = 1},
    };

    parse(argc, argv, &l.want, (struct bounds){SIZE_MIN_BYTES, SIZE_MAX_BYTES, 1});
    fill_commands(l.want.size);
    return run_load(&l, sizeof *l.connections);
}
