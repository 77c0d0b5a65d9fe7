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
 * - The server's times are read here, from /proc, at both ends of the window: warm-up and priming are not in them.
 *   user + system come in clock ticks (10 ms); the sum comes from the scheduler, in nanoseconds.
 * - So is the time in which the server, or this process, was ready to run and another process had its core: the measure
 *   of how far the machine was not ours.
 * - Everything is bounded: priming by --patience, the window by --seconds and --count, the whole by alarm().
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <getopt.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum {
    BATCH = 256,
    WINDOW = 64,
    SIZE_MAX_BYTES = 65536,
    STAMP = 8,             /* bytes of a message that tell the connection and the turn */
    TICK_MS = 50,          /* how long a wait may keep us from looking at the clock */
    LATENCY_BINS = 1 << 20 /* of a microsecond each; the last one takes the rest */
};

struct options {
    int port, connections, active, size, pid;
    double seconds, warmup, patience;
    uint64_t count; /* of measured messages, 0: only the time ends the window */
};

struct connection {
    int fd; /* -1: not open */
    uint32_t turn;
    uint32_t sent, received; /* bytes of the current message */
    uint64_t started;        /* when its send began, ns */
};

struct usage {
    uint64_t at;                                    /* ns */
    double own_user, own_system;                    /* s */
    double server_user, server_system, server_both; /* s */
    double own_delay, server_delay;                 /* s, ready to run and not running */
};

struct load {
    struct options want;
    struct connection *connections;
    int poller;
    int opened, primed, alive;        /* counts; `alive` of the active ones */
    int priming;                      /* a finished message opens the next connection, and is not followed by another */
    uint64_t messages, errors, turns; /* turns: waits that brought something */
    uint32_t *latency;
    char message[SIZE_MAX_BYTES], echoed[SIZE_MAX_BYTES + 1];
};

static void die(const char *what) {
    perror(what);
    exit(1);
}

static uint64_t now_ns(void) {
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

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

static void watch(struct load *l, struct connection *c, int operation, uint32_t events) {
    struct epoll_event event = {.events = events, .data.ptr = c};

    if (epoll_ctl(l->poller, operation, c->fd, &event) < 0)
        die("epoll_ctl");
}

static void fail(struct load *l, struct connection *c) {
    close(c->fd);
    c->fd = -1;
    l->alive--;
    l->errors++;
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
        watch(l, c, EPOLL_CTL_MOD, EPOLLIN | EPOLLOUT);
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
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    struct linger reset = {.l_onoff = 1}; /* no TIME_WAIT left behind */
    struct connection *c = &l->connections[l->opened++];
    int on = 1;

    address.sin_port = htons((uint16_t)l->want.port);
    c->fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (c->fd < 0)
        die("socket");
    setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    setsockopt(c->fd, SOL_SOCKET, SO_LINGER, &reset, sizeof reset);
    l->alive++;
    if (connect(c->fd, (struct sockaddr *)&address, sizeof address) < 0 && errno != EINPROGRESS) {
        fail(l, c);
        return;
    }
    c->turn = 1;
    watch(l, c, EPOLL_CTL_ADD, EPOLLIN | EPOLLOUT); /* writable when connected: the first message goes out then */
}

static void finish_message(struct load *l, struct connection *c) {
    uint64_t now, us;

    if (l->priming) {
        l->primed++;
        if (l->opened < l->want.connections)
            open_next(l);
        return;
    }
    now = now_ns();
    us = (now - c->started) / 1000;
    l->messages++;
    l->latency[us < LATENCY_BINS ? us : LATENCY_BINS - 1]++;
    send_message(l, c, now);
}

static void serve(struct load *l, struct connection *c, uint32_t events) {
    if (c->fd < 0)
        return;
    if (events & EPOLLOUT) {
        watch(l, c, EPOLL_CTL_MOD, EPOLLIN);
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
    l->turns += n > 0;
    for (int i = 0; i < n; i++)
        serve(l, events[i].data.ptr, events[i].events);
}

/* -- phases -------------------------------------------------------------------------------------------------------- */

static void prime(struct load *l) {
    uint64_t end = now_ns() + (uint64_t)(l->want.patience * 1e9);

    l->priming = 1;
    while (l->opened < l->want.connections && l->opened < WINDOW)
        open_next(l);
    while (l->primed < l->want.connections && l->errors == 0 && now_ns() < end)
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

    while (l->alive > 0 && now_ns() < end && (count == 0 || l->messages < count))
        turn(l);
}

/* -- what it cost -------------------------------------------------------------------------------------------------- */

static double seconds_of(struct timeval t) {
    return (double)t.tv_sec + (double)t.tv_usec / 1e6;
}

static void read_server(int pid, struct usage *u) {
    char path[64], text[1024], *end;
    unsigned long user, system;
    struct timespec both;
    clockid_t clock;
    FILE *file;

    if (pid == 0)
        return;
    snprintf(path, sizeof path, "/proc/%d/stat", pid);
    file = fopen(path, "r");
    if (file == NULL)
        return; /* the server died: the errors say so */
    text[fread(text, 1, sizeof text - 1, file)] = '\0';
    fclose(file);
    end = strrchr(text, ')'); /* the name before it may hold anything */
    if (end && sscanf(end + 1, " %*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %lu %lu", &user, &system) == 2) {
        u->server_user = (double)user / (double)sysconf(_SC_CLK_TCK);
        u->server_system = (double)system / (double)sysconf(_SC_CLK_TCK);
    }
    if (clock_getcpuclockid(pid, &clock) == 0 && clock_gettime(clock, &both) == 0)
        u->server_both = (double)both.tv_sec + (double)both.tv_nsec / 1e9;
}

static double read_delay(int pid) {
    char path[64];
    unsigned long long delay = 0;
    FILE *file;

    snprintf(path, sizeof path, "/proc/%d/schedstat", pid);
    file = fopen(path, "r");
    if (file == NULL)
        return 0; /* a kernel without CONFIG_SCHED_INFO */
    if (fscanf(file, "%*u %llu", &delay) != 1)
        delay = 0;
    fclose(file);
    return (double)delay / 1e9;
}

static struct usage read_usage(const struct load *l) {
    struct usage u = {0};
    struct rusage own;

    read_server(l->want.pid, &u);
    u.server_delay = l->want.pid ? read_delay(l->want.pid) : 0;
    u.own_delay = read_delay(getpid());
    getrusage(RUSAGE_SELF, &own);
    u.own_user = seconds_of(own.ru_utime);
    u.own_system = seconds_of(own.ru_stime);
    u.at = now_ns();
    return u;
}

static long resident_bytes(int pid) {
    char path[64];
    long pages = 0;
    FILE *file;

    snprintf(path, sizeof path, "/proc/%d/statm", pid);
    file = pid ? fopen(path, "r") : NULL;
    if (file == NULL)
        return 0;
    if (fscanf(file, "%*d %ld", &pages) != 1)
        pages = 0;
    fclose(file);
    return pages * sysconf(_SC_PAGESIZE);
}

/* The bin that the given share of the messages does not exceed, in us. */
static int latency_at(const struct load *l, double share) {
    uint64_t wanted = (uint64_t)(share * (double)l->messages), seen = 0;

    for (int i = 0; i < LATENCY_BINS; i++) {
        seen += l->latency[i];
        if (seen > wanted)
            return i;
    }
    return l->messages ? LATENCY_BINS - 1 : 0;
}

static void report(const struct load *l, const struct usage *a, const struct usage *b, long grown) {
    double seconds = (double)(b->at - a->at) / 1e9;

    printf("{\"connected\": %d, \"messages\": %llu, \"errors\": %llu, \"seconds\": %.6f, \"rate\": %.1f, ", l->primed,
           (unsigned long long)l->messages, (unsigned long long)l->errors, seconds,
           seconds > 0 ? (double)l->messages / seconds : 0.0);
    printf("\"turns\": %llu, ", (unsigned long long)l->turns);
    printf("\"p50_us\": %d, \"p99_us\": %d, ", latency_at(l, 0.50), latency_at(l, 0.99));
    printf("\"load_user\": %.6f, \"load_system\": %.6f, ", b->own_user - a->own_user, b->own_system - a->own_system);
    printf("\"server_user\": %.6f, \"server_system\": %.6f, \"server_cpu\": %.6f, ", b->server_user - a->server_user,
           b->server_system - a->server_system, b->server_both - a->server_both);
    printf("\"load_delay\": %.6f, \"server_delay\": %.6f, ", b->own_delay - a->own_delay,
           b->server_delay - a->server_delay);
    printf("\"server_grown_bytes\": %ld}\n", grown);
}

/* -- the command line ---------------------------------------------------------------------------------------------- */

static const struct option OPTIONS[] = {
    {"port", required_argument, NULL, 'p'},    {"connections", required_argument, NULL, 'n'},
    {"active", required_argument, NULL, 'k'},  {"size", required_argument, NULL, 's'},
    {"seconds", required_argument, NULL, 't'}, {"warmup", required_argument, NULL, 'w'},
    {"count", required_argument, NULL, 'c'},   {"patience", required_argument, NULL, 'a'},
    {"pid", required_argument, NULL, 'i'},     {NULL, 0, NULL, 0},
};

static int sensible(const struct options *o) {
    return o->port >= 1 && o->port <= 65535 && o->connections >= 1 && o->active >= 1 && o->active <= o->connections &&
           o->size >= 1 && o->size <= SIZE_MAX_BYTES && o->seconds > 0 && o->seconds <= 600 && o->warmup >= 0 &&
           o->warmup <= 60 && o->patience > 0 && o->patience <= 600;
}

static void parse(int argc, char **argv, struct options *o) {
    int option;

    while ((option = getopt_long(argc, argv, "", OPTIONS, NULL)) != -1) {
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
        default:
            exit(2);
        }
    }
    if (o->active == 0)
        o->active = o->connections;
    if (!sensible(o)) {
        fprintf(stderr,
                "usage: load --port P [--connections N] [--active K] [--size BYTES] [--seconds S] [--warmup S]\n"
                "            [--count MESSAGES] [--patience S] [--pid SERVER]\n");
        exit(2);
    }
}

int main(int argc, char **argv) {
    static struct load l = {
        .want = {.connections = 100, .size = 64, .seconds = 2, .warmup = 0.5, .patience = 30},
    };
    struct usage before = {0}, after = {0};
    long resident;

    parse(argc, argv, &l.want);
    alarm((unsigned)(l.want.patience + l.want.warmup + l.want.seconds) + 10);
    l.connections = calloc((size_t)l.want.connections, sizeof *l.connections);
    l.latency = calloc(LATENCY_BINS, sizeof *l.latency);
    l.poller = epoll_create1(EPOLL_CLOEXEC);
    if (l.connections == NULL || l.latency == NULL || l.poller < 0)
        die("start");
    fill_message(&l);

    resident = resident_bytes(l.want.pid);
    prime(&l);
    resident = resident_bytes(l.want.pid) - resident;
    if (l.primed == l.want.connections) {
        start_active(&l);
        run(&l, l.want.warmup, 0);
        l.messages = l.turns = 0;
        memset(l.latency, 0, LATENCY_BINS * sizeof *l.latency);
        before = read_usage(&l);
        run(&l, l.want.seconds, l.want.count);
        after = read_usage(&l);
    }
    report(&l, &before, &after, resident);
    return 0;
}
