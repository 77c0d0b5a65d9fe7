/* SPDX-License-Identifier: MIT
 *
 * The load of TLS: N connections to an echo server on 127.0.0.1, K of them active, one message in flight on each (a
 * closed loop). --sessions says what a message is:
 *
 * - 0: a message on a standing connection. Priming sends one on each, so a server has then seen one both ways.
 * - 1: a connection of its own with a full handshake, the message, and the end of the connection.
 * - 2: the same, with the session of the connection before it, which the server must resume.
 * - 3: as 0, but a connection is primed when its handshake has ended, and nothing was sent on it.
 *
 * - Before anything else REHEARSED connections come, have a message echoed, and go. A server whose library takes its
 *   buffers from the kernel anew for each message until then (uvloop's does) is measured as one that has run a while.
 * - The load does not look at the certificate: what is measured is the server.
 * - A connection that was to be resumed and was not is an error. So is any byte that differs from what was sent.
 * - A connection ends with a reset, without close_notify: an orderly end would leave a port in TIME_WAIT each time.
 */
#include "load.h"
#include "message.h"
#include <fcntl.h>
#include <openssl/err.h>
#include <openssl/ssl.h>

enum { REHEARSED = 100 };
enum sessions { STANDING, NEW, RESUMED, QUIET };

struct connection {
    int fd; /* -1: not open */
    SSL *tls;
    SSL_SESSION *session; /* the newest one of the server */
    uint32_t turn;
    uint32_t sent, received; /* bytes of the current message */
    uint32_t wanted;         /* what epoll watches for */
    uint64_t started;        /* when the message, or its connection, began, ns */
    int is_open;             /* the handshake has ended */
};

static SSL_CTX *context;

static int keeps_session(SSL *tls, SSL_SESSION *session) {
    struct connection *c = SSL_get_app_data(tls);

    SSL_SESSION_free(c->session);
    c->session = session;
    return 1; /* it is ours now */
}

static void make_context(void) {
    context = SSL_CTX_new(TLS_client_method());
    if (context == NULL)
        die("SSL_CTX_new");
    SSL_CTX_set_verify(context, SSL_VERIFY_NONE, NULL);
    SSL_CTX_set_mode(context, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
    SSL_CTX_set_session_cache_mode(context, SSL_SESS_CACHE_CLIENT | SSL_SESS_CACHE_NO_INTERNAL);
}

/* -- connections --------------------------------------------------------------------------------------------------- */

static void want(struct load *l, struct connection *c, uint32_t events) {
    if (events != c->wanted)
        watch(l, c->wanted ? EPOLL_CTL_MOD : EPOLL_CTL_ADD, c->fd, events, c);
    c->wanted = events;
}

static void let_go(struct connection *c) {
    SSL_set_quiet_shutdown(c->tls, 1); /* a session that was not shut down could not be resumed */
    SSL_shutdown(c->tls);
    SSL_free(c->tls);
    c->tls = NULL;
}

static void give_up(struct load *l, struct connection *c, const char *what) {
    static int told;

    if (!told++)
        fprintf(stderr, "%s: %s\n", what, ERR_reason_error_string(ERR_peek_error()));
    ERR_clear_error();
    SSL_free(c->tls);
    c->tls = NULL;
    fail(l, &c->fd);
}

/* Returns 0 where the call waits for the socket, which is then watched, and -1 where the connection is broken. */
static int waits(struct load *l, struct connection *c, int result) {
    int reason = SSL_get_error(c->tls, result);

    if (reason == SSL_ERROR_WANT_READ)
        want(l, c, EPOLLIN);
    else if (reason == SSL_ERROR_WANT_WRITE)
        want(l, c, EPOLLIN | EPOLLOUT);
    else
        return -1;
    return 0;
}

static void start(struct load *l, struct connection *c) {
    c->fd = open_socket(l->want.port);
    c->wanted = 0;
    c->is_open = 0;
    c->sent = c->received = 0;
    c->turn++;
    c->started = now_ns();
    c->tls = SSL_new(context);
    if (c->tls == NULL || c->fd < 0) {
        give_up(l, c, "connect");
        return;
    }
    SSL_set_app_data(c->tls, c);
    SSL_set_fd(c->tls, c->fd);
    if (l->want.sessions == RESUMED && c->session != NULL)
        SSL_set_session(c->tls, c->session);
    want(l, c, EPOLLIN | EPOLLOUT);
}

static void open_connection(struct load *l, int number) {
    start(l, &l->connections[number]);
}

/* -- messages ------------------------------------------------------------------------------------------------------ */

static void stamp(const struct load *l, const struct connection *c) {
    stamp_message((uint32_t)(c - l->connections), c->turn, l->want.size);
}

/* Returns 1 where all was sent, 0 where the rest waits, -1 where the connection is broken. */
static int send_rest(struct load *l, struct connection *c) {
    stamp(l, c);
    while (c->sent < (uint32_t)l->want.size) {
        int n = SSL_write(c->tls, message + c->sent, (int)((uint32_t)l->want.size - c->sent));

        if (n <= 0)
            return waits(l, c, n);
        c->sent += (uint32_t)n;
    }
    want(l, c, EPOLLIN);
    return 1;
}

/* Returns 1 where the message is complete, 0 where it is not yet, -1 where the connection is broken. */
static int receive(struct load *l, struct connection *c) {
    stamp(l, c);
    while (c->received < (uint32_t)l->want.size) {
        uint32_t rest = (uint32_t)l->want.size - c->received;
        int n = SSL_read(c->tls, echoed, (int)rest + 1);

        if (n <= 0)
            return waits(l, c, n);
        if ((uint32_t)n > rest || memcmp(echoed, message + c->received, (size_t)n) != 0)
            return -1;
        c->received += (uint32_t)n;
    }
    return 1;
}

static void send_message(struct load *l, struct connection *c, uint64_t now) {
    c->turn++;
    c->sent = c->received = 0;
    c->started = now;
    if (send_rest(l, c) < 0)
        give_up(l, c, "send");
}

/* The message came back, or with QUIET the handshake has ended in priming. */
static void finish_message(struct load *l, struct connection *c) {
    int goes_on, is_own = l->want.sessions == NEW || l->want.sessions == RESUMED;
    uint64_t now;

    if (is_own) {
        let_go(c);
        close(c->fd);
        c->fd = -1;
    }
    goes_on = finish(l);
    if (!goes_on)
        return;
    now = now_ns();
    count_message(&l->tally, c->started, now);
    if (is_own)
        start(l, c);
    else
        send_message(l, c, now);
}

/* Returns 1 where the handshake has ended, 0 where it goes on, -1 where it failed. */
static int shake_hands(struct load *l, struct connection *c) {
    int n = SSL_connect(c->tls);

    if (n <= 0)
        return waits(l, c, n);
    if (l->want.sessions == RESUMED && c->session != NULL && !SSL_session_reused(c->tls))
        return -1;
    c->is_open = 1;
    return 1;
}

static void serve(struct load *l, struct connection *c, uint32_t events) {
    int result;

    (void)events;
    if (c->fd < 0)
        return;
    if (!c->is_open) {
        result = shake_hands(l, c);
        if (result < 0)
            give_up(l, c, "handshake");
        if (result <= 0)
            return;
        if (l->want.sessions == QUIET && l->phase == PRIMING) {
            want(l, c, EPOLLIN);
            c->sent = c->received = (uint32_t)l->want.size;
            finish_message(l, c);
            return;
        }
    }
    if (c->sent < (uint32_t)l->want.size) {
        result = send_rest(l, c);
        if (result < 0)
            give_up(l, c, "send");
        if (result <= 0)
            return;
    }
    if (c->received == (uint32_t)l->want.size && l->want.sessions == QUIET) {
        SSL_read(c->tls, echoed, 1); /* the server's tickets, which come when nothing was asked for */
        return;
    }
    result = receive(l, c);
    if (result < 0)
        give_up(l, c, "receive");
    else if (result > 0)
        finish_message(l, c);
}

static void begin(struct load *l) {
    for (int i = 0; i < l->want.active; i++) {
        int64_t place = (int64_t)i * l->want.connections / l->want.active;
        struct connection *c = &l->connections[place];

        if (c->fd < 0)
            start(l, c);
        else
            send_message(l, c, now_ns());
    }
}

/* -- the rehearsal ------------------------------------------------------------------------------------------------- */

/* Opens a connection that waits in its calls, and has a message echoed. */
static SSL *rehearse_one(const struct load *l) {
    int n = 0, fd = open_socket(l->want.port);
    SSL *tls = SSL_new(context);

    if (fd < 0 || tls == NULL)
        die("rehearsal");
    fcntl(fd, F_SETFL, 0);
    SSL_set_fd(tls, fd);
    if (SSL_connect(tls) != 1 || SSL_write(tls, message, l->want.size) != l->want.size)
        die("rehearsal: handshake");
    for (int got = 0; got < l->want.size; got += n) {
        n = SSL_read(tls, echoed, l->want.size - got);
        if (n <= 0)
            die("rehearsal: echo");
    }
    return tls;
}

static void rehearse(const struct load *l) {
    static SSL *all[REHEARSED];

    for (int i = 0; i < REHEARSED; i++)
        all[i] = rehearse_one(l);
    for (int i = 0; i < REHEARSED; i++) {
        close(SSL_get_fd(all[i]));
        SSL_free(all[i]);
    }
}

int main(int argc, char **argv) {
    static struct load l = {
        .want = {.connections = 100, .size = 1024, .seconds = 2, .warmup = 0.5, .patience = 30, .flight = 1},
    };

    parse(argc, argv, &l.want, (struct bounds){1, SIZE_MAX_BYTES, 1});
    if (l.want.sessions < STANDING || l.want.sessions > QUIET)
        exit(2);
    fill_message();
    make_context();
    rehearse(&l);
    SSL_CTX_sess_set_new_cb(context, keeps_session);
    return run_load(&l, sizeof *l.connections);
}
