/* SPDX-License-Identifier: MIT
 *
 * What the loads have in common: options, connections, phases, the tally of messages, and the report about it and
 * about what the server used meanwhile. Each load is one source file that includes this header. So everything here is
 * static, and the source file defines what is declared under "the program".
 *
 * - First every connection is primed: one message goes there and back, on WINDOW connections at a time. So the server
 *   has accepted all of them before the window begins. Then the active connections go on, message after message.
 * - When the window has ended, the messages that are on their way must come back within DRAIN_S. Only then does it
 *   show whether one was lost.
 * - Everything is bounded: priming by --patience, the window by --seconds and --count, and the whole by alarm().
 */
#ifndef CYN_BENCHMARKS_LOAD_H
#define CYN_BENCHMARKS_LOAD_H

#include "usage.h"
#include <arpa/inet.h>
#include <errno.h>
#include <getopt.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/socket.h>

enum {
    BATCH = 256,
    WINDOW = 64,           /* connections that are primed at a time */
    TICK_MS = 50,          /* the longest wait between two looks at the clock */
    DRAIN_S = 5,           /* how long the messages that are on their way when the window ends may take */
    LATENCY_BINS = 1 << 20 /* a microsecond each; the last one takes all that is longer */
};

enum phase { PRIMING, RUNNING, DRAINING };

struct options {
    int port, connections, active, size, pid;
    int flight;   /* load_lines: lines that are on their way on a connection */
    int sessions; /* load_mail: whether every message has a connection of its own */
    int joined;   /* load_datagrams: whether those that leave together leave as one, by UDP_SEGMENT */
    double seconds, warmup, patience;
    uint64_t count; /* measured messages that end the window; 0: only the time ends it */
};

/* What came back in a window. */
struct tally {
    uint64_t messages, errors, turns; /* turns: waits that brought an event */
    uint32_t *latency;
};

struct connection; /* defined by the program */

struct load {
    struct options want;
    struct tally tally;
    struct connection *connections;
    int poller;
    int opened, primed, alive; /* counts of connections; `alive`: those that still owe a message */
    enum phase phase;
};

/* -- the program --------------------------------------------------------------------------------------------------- */

/* Opens l->connections[number] and sends its first message as soon as possible. The caller has counted it as alive. */
static void open_connection(struct load *l, int number);

/* Handles these events of a connection. */
static void serve(struct load *l, struct connection *c, uint32_t events);

/* Sends the first message of the window on every active connection; all connections are primed. */
static void begin(struct load *l);

/* ------------------------------------------------------------------------------------------------------------------ */

static void die(const char *what) {
    perror(what);
    exit(1);
}

/* -- connections --------------------------------------------------------------------------------------------------- */

static void watch(struct load *l, int operation, int fd, uint32_t events, struct connection *c) {
    struct epoll_event event = {.events = events, .data.ptr = c};

    if (epoll_ctl(l->poller, operation, fd, &event) < 0)
        die("epoll_ctl");
}

/* Returns 0 where the connection is being made, and -1 where it failed at once. */
static int start_connecting(int fd, int port) {
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};

    address.sin_port = htons((uint16_t)port);
    return connect(fd, (struct sockaddr *)&address, sizeof address) < 0 && errno != EINPROGRESS ? -1 : 0;
}

/* Returns a socket that is being connected to the server, or -1 where that failed at once. */
static int open_socket(int port) {
    struct linger reset = {.l_onoff = 1}; /* so that no port stays in TIME_WAIT */
    int on = 1;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

    if (fd < 0)
        die("socket");
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    setsockopt(fd, SOL_SOCKET, SO_LINGER, &reset, sizeof reset);
    if (start_connecting(fd, port) == 0)
        return fd;
    close(fd);
    return -1;
}

/* Closes a broken connection and counts the error. */
static void fail(struct load *l, int *fd) {
    if (*fd >= 0)
        close(*fd);
    *fd = -1;
    l->alive--;
    l->tally.errors++;
}

/* -- the tally ----------------------------------------------------------------------------------------------------- */

static void count_message(struct tally *t, uint64_t started, uint64_t now) {
    uint64_t us = (now - started) / 1000;

    t->messages++;
    t->latency[us < LATENCY_BINS ? us : LATENCY_BINS - 1]++;
}

static void begin_window(struct tally *t) {
    t->messages = t->turns = 0;
    memset(t->latency, 0, LATENCY_BINS * sizeof *t->latency);
}

/* The time in us that this share of the messages did not exceed. */
static int latency_at(const struct tally *t, double share) {
    uint64_t wanted = (uint64_t)(share * (double)t->messages), seen = 0;

    for (int i = 0; i < LATENCY_BINS; i++) {
        seen += t->latency[i];
        if (seen > wanted)
            return i;
    }
    return t->messages ? LATENCY_BINS - 1 : 0;
}

static void report(const struct load *l, const struct usage *a, const struct usage *b, long grown, long peak) {
    const struct tally *t = &l->tally;
    double seconds = (double)(b->at - a->at) / 1e9;

    printf("{\"connected\": %d, \"messages\": %llu, \"errors\": %llu, \"seconds\": %.6f, \"rate\": %.1f, ", l->primed,
           (unsigned long long)t->messages, (unsigned long long)t->errors, seconds,
           seconds > 0 ? (double)t->messages / seconds : 0.0);
    printf("\"turns\": %llu, ", (unsigned long long)t->turns);
    printf("\"p50_us\": %d, \"p99_us\": %d, ", latency_at(t, 0.50), latency_at(t, 0.99));
    printf("\"load_user\": %.6f, \"load_system\": %.6f, ", b->own_user - a->own_user, b->own_system - a->own_system);
    printf("\"server_user\": %.6f, \"server_system\": %.6f, \"server_cpu\": %.6f, ", b->server_user - a->server_user,
           b->server_system - a->server_system, b->server_both - a->server_both);
    printf("\"server_first\": %.6f, ", b->server_first - a->server_first);
    printf("\"load_delay\": %.6f, \"server_delay\": %.6f, ", b->own_delay - a->own_delay,
           b->server_delay - a->server_delay);
    printf("\"server_grown_bytes\": %ld, \"server_peak_bytes\": %ld}\n", grown, peak);
}

/* -- phases -------------------------------------------------------------------------------------------------------- */

static void open_next(struct load *l) {
    l->alive++;
    open_connection(l, l->opened++);
}

/* A message came back. Returns 1 where it belongs to the window, and the next one may follow. */
static int finish(struct load *l) {
    if (l->phase == PRIMING) {
        l->primed++;
        if (l->opened < l->want.connections)
            open_next(l);
    }
    if (l->phase == DRAINING)
        l->alive--;
    return l->phase == RUNNING;
}

static void turn(struct load *l) {
    struct epoll_event events[BATCH];
    int n = epoll_wait(l->poller, events, BATCH, TICK_MS);

    if (n < 0 && errno != EINTR)
        die("epoll_wait");
    l->tally.turns += n > 0 && l->phase == RUNNING;
    for (int i = 0; i < n; i++)
        serve(l, events[i].data.ptr, events[i].events);
}

static void prime(struct load *l) {
    uint64_t end = now_ns() + (uint64_t)(l->want.patience * 1e9);

    while (l->opened < l->want.connections && l->opened < WINDOW)
        open_next(l);
    while (l->primed < l->want.connections && l->tally.errors == 0 && now_ns() < end)
        turn(l);
}

static void run(struct load *l, double seconds, uint64_t count) {
    uint64_t end = now_ns() + (uint64_t)(seconds * 1e9);

    while (l->alive > 0 && now_ns() < end && (count == 0 || l->tally.messages < count))
        turn(l);
}

static void drain(struct load *l) {
    uint64_t end = now_ns() + (uint64_t)DRAIN_S * 1000000000u;

    l->phase = DRAINING;
    while (l->alive > 0 && now_ns() < end)
        turn(l);
    l->tally.errors += (uint64_t)l->alive;
}

/* Runs all phases. `each` is the size of a struct connection. Returns what main() is to return. */
static int run_load(struct load *l, size_t each) {
    struct usage before = {0}, after = {0};
    long resident, peak = 0;

    l->connections = calloc((size_t)l->want.connections, each);
    l->tally.latency = calloc(LATENCY_BINS, sizeof *l->tally.latency);
    l->poller = epoll_create1(EPOLL_CLOEXEC);
    if (l->connections == NULL || l->tally.latency == NULL || l->poller < 0)
        die("start");

    resident = resident_bytes(l->want.pid);
    prime(l);
    resident = resident_bytes(l->want.pid) - resident;
    if (l->primed == l->want.connections) {
        l->phase = RUNNING;
        l->alive = l->want.active;
        begin(l);
        run(l, l->want.warmup, 0);
        begin_window(&l->tally);
        before = read_usage(l->want.pid);
        run(l, l->want.seconds, l->want.count);
        after = read_usage(l->want.pid);
        peak = peak_bytes(l->want.pid);
        drain(l);
    }
    report(l, &before, &after, resident, peak);
    return 0;
}

/* -- the command line ---------------------------------------------------------------------------------------------- */

static const struct option OPTIONS[] = {
    {"port", required_argument, NULL, 'p'},
    {"connections", required_argument, NULL, 'n'},
    {"active", required_argument, NULL, 'k'},
    {"size", required_argument, NULL, 's'},
    {"seconds", required_argument, NULL, 't'},
    {"warmup", required_argument, NULL, 'w'},
    {"count", required_argument, NULL, 'c'},
    {"patience", required_argument, NULL, 'a'},
    {"pid", required_argument, NULL, 'i'},
    {"flight", required_argument, NULL, 'f'},
    {"sessions", required_argument, NULL, 'q'},
    {"joined", required_argument, NULL, 'j'},
    {NULL, 0, NULL, 0},
};

static void take_option(int option, struct options *o) {
    switch (option) {
    case 'p':
        o->port = atoi(optarg);
        break;
    case 'n':
        o->connections = atoi(optarg);
        break;
    case 'k':
        o->active = atoi(optarg);
        break;
    case 's':
        o->size = atoi(optarg);
        break;
    case 't':
        o->seconds = atof(optarg);
        break;
    case 'w':
        o->warmup = atof(optarg);
        break;
    case 'c':
        o->count = strtoull(optarg, NULL, 10);
        break;
    case 'a':
        o->patience = atof(optarg);
        break;
    case 'i':
        o->pid = atoi(optarg);
        break;
    case 'f':
        o->flight = atoi(optarg);
        break;
    case 'q':
        o->sessions = atoi(optarg);
        break;
    case 'j':
        o->joined = atoi(optarg);
        break;
    default:
        exit(2);
    }
}

/* What a program accepts. */
struct bounds {
    int size_min, size_max, flight_max;
};

static int sensible(const struct options *o, const struct bounds *b) {
    return o->port >= 1 && o->port <= 65535 && o->connections >= 1 && o->active >= 1 && o->active <= o->connections &&
           o->size >= b->size_min && o->size <= b->size_max && o->seconds > 0 && o->seconds <= 600 && o->warmup >= 0 &&
           o->warmup <= 60 && o->patience > 0 && o->patience <= 600 && o->flight >= 1 && o->flight <= b->flight_max;
}

/* Reads the command line. Ends the program where an option is wrong, and sets the alarm that ends it at the latest. */
static void parse(int argc, char **argv, struct options *o, struct bounds bounds) {
    int option;

    while ((option = getopt_long(argc, argv, "", OPTIONS, NULL)) != -1)
        take_option(option, o);
    if (o->active == 0)
        o->active = o->connections;
    if (!sensible(o, &bounds)) {
        fprintf(
            stderr,
            "usage: %s --port P [--connections N] [--active K] [--size BYTES] [--seconds S] [--warmup S]\n"
            "       [--count MESSAGES] [--patience S] [--pid SERVER] [--flight LINES] [--sessions 0|1] [--joined 0|1]\n"
            "       a message has %d to %d bytes\n",
            argv[0], bounds.size_min, bounds.size_max);
        exit(2);
    }
    alarm((unsigned)(o->patience + o->warmup + o->seconds) + DRAIN_S + 10);
}

#endif
