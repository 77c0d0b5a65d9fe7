/* SPDX-License-Identifier: MIT
 *
 * The usage of a window: CPU time and memory of the server and of this process, as the kernel accounts for them.
 *
 * - The times of the server are read from /proc at both ends of the window, so warm-up and priming are not in them.
 *   User and system time are counted in clock ticks (10 ms), their sum in nanoseconds, by the scheduler.
 * - The scheduler also knows the time in which a process was ready to run while another one had its core. It shows
 *   how much the machine was used by others. For a server with threads it is the time of the first thread.
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
    double server_first;                            /* s, the part of server_both that its first thread used */
    double own_delay, server_delay;                 /* s, in which it was ready to run and did not run */
};

static uint64_t now_ns(void) {
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static double seconds_of(struct timeval t) {
    return (double)t.tv_sec + (double)t.tv_usec / 1e6;
}

/* A file of /proc/PID, or NULL where the process has ended, the kernel has no such file, or the pid is 0. */
static FILE *open_proc(int pid, const char *name) {
    char path[64];

    if (pid == 0)
        return NULL;
    snprintf(path, sizeof path, "/proc/%d/%s", pid, name);
    return fopen(path, "r");
}

static void read_server(int pid, struct usage *u) {
    char text[1024], *end;
    unsigned long user, system;
    struct timespec both;
    clockid_t clock;
    FILE *file = open_proc(pid, "stat");

    if (file == NULL)
        return; /* where the server has died, the load has errors */
    text[fread(text, 1, sizeof text - 1, file)] = '\0';
    fclose(file);
    end = strrchr(text, ')'); /* the name in parentheses may contain anything */
    if (end && sscanf(end + 1, " %*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %lu %lu", &user, &system) == 2) {
        u->server_user = (double)user / (double)sysconf(_SC_CLK_TCK);
        u->server_system = (double)system / (double)sysconf(_SC_CLK_TCK);
    }
    if (clock_getcpuclockid(pid, &clock) == 0 && clock_gettime(clock, &both) == 0)
        u->server_both = (double)both.tv_sec + (double)both.tv_nsec / 1e9;
}

/* Seconds in which the first thread of a process ran, and in which it was ready to run and did not run. */
static void read_schedule(int pid, double *ran, double *delay) {
    unsigned long long ns[2] = {0, 0};
    FILE *file = open_proc(pid, "schedstat");

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
    read_schedule(pid, &u.server_first, &u.server_delay);
    read_schedule(getpid(), &ran, &u.own_delay);
    getrusage(RUSAGE_SELF, &own);
    u.own_user = seconds_of(own.ru_utime);
    u.own_system = seconds_of(own.ru_stime);
    u.at = now_ns();
    return u;
}

static long resident_bytes(int pid) {
    long pages = 0;
    FILE *file = open_proc(pid, "statm");

    if (file == NULL)
        return 0;
    if (fscanf(file, "%*d %ld", &pages) != 1)
        pages = 0;
    fclose(file);
    return pages * sysconf(_SC_PAGESIZE);
}

/* The largest resident size that the process ever had. */
static long peak_bytes(int pid) {
    char line[256];
    long kilobytes = 0;
    FILE *file = open_proc(pid, "status");

    if (file == NULL)
        return 0;
    while (fgets(line, sizeof line, file) != NULL && sscanf(line, "VmHWM: %ld", &kilobytes) != 1)
        ;
    fclose(file);
    return kilobytes * 1024;
}

#endif
