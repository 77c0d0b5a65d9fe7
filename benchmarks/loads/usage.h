/* SPDX-License-Identifier: MIT
 *
 * What a window cost: CPU time and memory of the server and of this process, as the kernel accounts for them.
 *
 * - The server's times are read from /proc, at both ends of the window: warm-up and priming are not in them. user + system
 *   come in clock ticks (10 ms); the sum comes from the scheduler, in nanoseconds.
 * - So is the time in which the server, or this process, was ready to run and another process had its core: the measure
 *   of how far the machine was not ours. Of a server with threads it is the first one's.
 */
#ifndef CYN_BENCHMARKS_USAGE_H
#define CYN_BENCHMARKS_USAGE_H

#define _GNU_SOURCE
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

struct usage {
    uint64_t at;                                    /* ns */
    double own_user, own_system;                    /* s */
    double server_user, server_system, server_both; /* s */
    double server_first;                            /* s, of both, by its first thread */
    double own_delay, server_delay;                 /* s, ready to run and not running */
};

static uint64_t now_ns(void) {
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

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

/* How long the first thread of a process has run, and how long it was ready to run and did not; in seconds. */
static void read_schedule(int pid, double *ran, double *delay) {
    char path[64];
    unsigned long long ns[2] = {0, 0};
    FILE *file;

    snprintf(path, sizeof path, "/proc/%d/schedstat", pid);
    file = fopen(path, "r");
    if (file == NULL)
        return; /* a kernel without CONFIG_SCHED_INFO */
    if (fscanf(file, "%llu %llu", &ns[0], &ns[1]) == 2) {
        *ran = (double)ns[0] / 1e9;
        *delay = (double)ns[1] / 1e9;
    }
    fclose(file);
}

static struct usage read_usage(int pid) {
    struct usage u = {0};
    struct rusage own;
    double ran;

    read_server(pid, &u);
    if (pid)
        read_schedule(pid, &u.server_first, &u.server_delay);
    read_schedule(getpid(), &ran, &u.own_delay);
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

#endif
