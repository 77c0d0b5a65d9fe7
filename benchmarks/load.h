/* SPDX-License-Identifier: MIT
 *
 * What the loads share: the command line, the poller, the tally of a window and its report. A program of one file includes
 * this one, so everything here is static.
 *
 * - The server's times are read from /proc, at both ends of the window: warm-up and priming are not in them. user + system
 *   come in clock ticks (10 ms); the sum comes from the scheduler, in nanoseconds.
 * - So is the time in which the server, or this process, was ready to run and another process had its core: the measure
 *   of how far the machine was not ours.
 * - Everything is bounded: priming by --patience, the window by --seconds and --count, the whole by alarm().
 */
#ifndef CYN_BENCHMARKS_LOAD_H
#define CYN_BENCHMARKS_LOAD_H

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
    WINDOW = 64,           /* connections that are primed at a time */
    TICK_MS = 50,          /* how long a wait may keep us from looking at the clock */
    DRAIN_S = 5,           /* how long what is under way at the end of the window may take */
    LATENCY_BINS = 1 << 20 /* of a microsecond each; the last one takes the rest */
};

enum phase { PRIMING, RUNNING, DRAINING };

struct options {
    int port, connections, active, size, pid;
    int flight;   /* load_lines: lines that a connection has under way */
    int sessions; /* load_mail: a connection for every message */
    double seconds, warmup, patience;
    uint64_t count; /* of measured messages, 0: only the time ends the window */
};

/* What a window brought. */
struct tally {
    uint64_t messages, errors, turns; /* turns: waits that brought something */
    uint32_t *latency;
};

struct usage {
    uint64_t at;                                    /* ns */
    double own_user, own_system;                    /* s */
    double server_user, server_system, server_both; /* s */
    double own_delay, server_delay;                 /* s, ready to run and not running */
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

/* -- connections --------------------------------------------------------------------------------------------------- */

static void watch(int poller, int operation, int fd, uint32_t events, void *owner) {
    struct epoll_event event = {.events = events, .data.ptr = owner};

    if (epoll_ctl(poller, operation, fd, &event) < 0)
        die("epoll_ctl");
}

/* A socket that is being connected to the server, or -1 where that failed at once. */
static int open_connection(int port) {
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    struct linger reset = {.l_onoff = 1}; /* no TIME_WAIT left behind */
    int on = 1;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

    if (fd < 0)
        die("socket");
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    setsockopt(fd, SOL_SOCKET, SO_LINGER, &reset, sizeof reset);
    address.sin_port = htons((uint16_t)port);
    if (connect(fd, (struct sockaddr *)&address, sizeof address) < 0 && errno != EINPROGRESS) {
        close(fd);
        return -1;
    }
    return fd;
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

/* The bin that the given share of the messages does not exceed, in us. */
static int latency_at(const struct tally *t, double share) {
    uint64_t wanted = (uint64_t)(share * (double)t->messages), seen = 0;

    for (int i = 0; i < LATENCY_BINS; i++) {
        seen += t->latency[i];
        if (seen > wanted)
            return i;
    }
    return t->messages ? LATENCY_BINS - 1 : 0;
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

static struct usage read_usage(int pid) {
    struct usage u = {0};
    struct rusage own;

    read_server(pid, &u);
    u.server_delay = pid ? read_delay(pid) : 0;
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

/* The most that the server ever had resident. */
static long peak_bytes(int pid) {
    char path[64], line[256];
    long kilobytes = 0;
    FILE *file;

    snprintf(path, sizeof path, "/proc/%d/status", pid);
    file = pid ? fopen(path, "r") : NULL;
    if (file == NULL)
        return 0;
    while (fgets(line, sizeof line, file) != NULL && sscanf(line, "VmHWM: %ld", &kilobytes) != 1)
        ;
    fclose(file);
    return kilobytes * 1024;
}

static void report(const struct tally *t, int primed, const struct usage *a, const struct usage *b, long grown,
                   long peak) {
    double seconds = (double)(b->at - a->at) / 1e9;

    printf("{\"connected\": %d, \"messages\": %llu, \"errors\": %llu, \"seconds\": %.6f, \"rate\": %.1f, ", primed,
           (unsigned long long)t->messages, (unsigned long long)t->errors, seconds,
           seconds > 0 ? (double)t->messages / seconds : 0.0);
    printf("\"turns\": %llu, ", (unsigned long long)t->turns);
    printf("\"p50_us\": %d, \"p99_us\": %d, ", latency_at(t, 0.50), latency_at(t, 0.99));
    printf("\"load_user\": %.6f, \"load_system\": %.6f, ", b->own_user - a->own_user, b->own_system - a->own_system);
    printf("\"server_user\": %.6f, \"server_system\": %.6f, \"server_cpu\": %.6f, ", b->server_user - a->server_user,
           b->server_system - a->server_system, b->server_both - a->server_both);
    printf("\"load_delay\": %.6f, \"server_delay\": %.6f, ", b->own_delay - a->own_delay,
           b->server_delay - a->server_delay);
    printf("\"server_grown_bytes\": %ld, \"server_peak_bytes\": %ld}\n", grown, peak);
}

/* -- the command line ---------------------------------------------------------------------------------------------- */

static const struct option OPTIONS[] = {
    {"port", required_argument, NULL, 'p'},     {"connections", required_argument, NULL, 'n'},
    {"active", required_argument, NULL, 'k'},   {"size", required_argument, NULL, 's'},
    {"seconds", required_argument, NULL, 't'},  {"warmup", required_argument, NULL, 'w'},
    {"count", required_argument, NULL, 'c'},    {"patience", required_argument, NULL, 'a'},
    {"pid", required_argument, NULL, 'i'},      {"flight", required_argument, NULL, 'f'},
    {"sessions", required_argument, NULL, 'q'}, {NULL, 0, NULL, 0},
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
    default:
        exit(2);
    }
}

static int sensible(const struct options *o, int size_max, int flight_max) {
    return o->port >= 1 && o->port <= 65535 && o->connections >= 1 && o->active >= 1 && o->active <= o->connections &&
           o->size >= 1 && o->size <= size_max && o->seconds > 0 && o->seconds <= 600 && o->warmup >= 0 &&
           o->warmup <= 60 && o->patience > 0 && o->patience <= 600 && o->flight >= 1 && o->flight <= flight_max;
}

/* Ends the program where the words make no sense; arranges its end in any case. */
static void parse(int argc, char **argv, struct options *o, int size_max, int flight_max) {
    int option;

    while ((option = getopt_long(argc, argv, "", OPTIONS, NULL)) != -1)
        take_option(option, o);
    if (o->active == 0)
        o->active = o->connections;
    if (!sensible(o, size_max, flight_max)) {
        fprintf(stderr,
                "usage: %s --port P [--connections N] [--active K] [--size BYTES] [--seconds S] [--warmup S]\n"
                "       [--count MESSAGES] [--patience S] [--pid SERVER] [--flight LINES] [--sessions 0|1]\n",
                argv[0]);
        exit(2);
    }
    alarm((unsigned)(o->patience + o->warmup + o->seconds) + DRAIN_S + 10);
}

#endif
