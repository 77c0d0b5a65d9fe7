/* SPDX-License-Identifier: MIT
 *
 * One call of the C library fails; preloaded, and told which by `fault_arm`. Only calls out of the object files whose
 * addresses `fault_range` was given can fail, so that the interpreter's own go on.
 *
 * glibc's. What a call does is done by it, under the name that it has for itself or by the system call.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <poll.h>
#include <stdarg.h>
#include <stdint.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>

enum { RANGES = 64 };

static struct {
    const char *call; /* which kind */
    long left;        /* until it fails */
    int error;
    long seen;  /* calls of that kind */
    long waits; /* of any */
} fault;
static struct { uintptr_t low, high; } ranges[RANGES];
static int range_count;

void *__libc_malloc(size_t);
void *__libc_calloc(size_t, size_t);
void *__libc_realloc(void *, size_t);

/* The addresses of one mapping of an object file. */
void fault_range(uintptr_t low, uintptr_t high) {
    if (range_count < RANGES) {
        ranges[range_count].low = low;
        ranges[range_count++].high = high;
    }
}

/* The `number`-th call of that name from now on fails; 0: none. */
void fault_arm(const char *call, long number, int error) {
    fault.call = call;
    fault.left = number;
    fault.error = error;
    fault.seen = fault.waits = 0;
}

long fault_seen(void) {
    return fault.seen;
}

long fault_waits(void) {
    return fault.waits;
}

static int fails(const char *call, const void *from) {
    uintptr_t at = (uintptr_t)from;
    int ours = 0;
    for (int i = 0; i < range_count && !ours; i++)
        ours = at >= ranges[i].low && at < ranges[i].high;
    if (!ours)
        return 0;
    if (strncmp(call, "epoll_wait", 10) == 0 || strcmp(call, "epoll_pwait2") == 0)
        fault.waits++;
    if (!fault.call || strcmp(call, fault.call) != 0)
        return 0;
    fault.seen++;
    if (fault.left == 0 || --fault.left > 0)
        return 0;
    errno = fault.error;
    return 1;
}

#define FAILS(call) fails(call, __builtin_return_address(0))
#define NEXT(call) ((__typeof__(&call))next(#call))

static void *next(const char *name) {
    return dlsym(RTLD_NEXT, name);
}

void *malloc(size_t size) {
    return FAILS("malloc") ? NULL : __libc_malloc(size);
}

void *calloc(size_t count, size_t size) {
    return FAILS("calloc") ? NULL : __libc_calloc(count, size);
}

void *realloc(void *old, size_t size) {
    return FAILS("realloc") ? NULL : __libc_realloc(old, size);
}

int epoll_create1(int flags) {
    return FAILS("epoll_create1") ? -1 : NEXT(epoll_create1)(flags);
}

int epoll_ctl(int fd, int op, int of, struct epoll_event *event) {
    return FAILS("epoll_ctl") ? -1 : NEXT(epoll_ctl)(fd, op, of, event);
}

int epoll_wait(int fd, struct epoll_event *events, int room, int timeout) {
    return FAILS("epoll_wait") ? -1 : NEXT(epoll_wait)(fd, events, room, timeout);
}

int epoll_pwait2(int fd, struct epoll_event *events, int room, const struct timespec *limit, const sigset_t *mask) {
    return FAILS("epoll_pwait2") ? -1 : NEXT(epoll_pwait2)(fd, events, room, limit, mask);
}

int eventfd(unsigned value, int flags) {
    int (*real)(unsigned, int) = (int (*)(unsigned, int))next("eventfd");
    return FAILS("eventfd") ? -1 : real(value, flags);
}

int accept4(int fd, struct sockaddr *from, socklen_t *size, int flags) {
    int (*real)(int, struct sockaddr *, socklen_t *, int) =
        (int (*)(int, struct sockaddr *, socklen_t *, int))next("accept4");
    return FAILS("accept4") ? -1 : real(fd, from, size, flags);
}

int getpeername(int fd, struct sockaddr *peer, socklen_t *size) {
    int (*real)(int, struct sockaddr *, socklen_t *) =
        (int (*)(int, struct sockaddr *, socklen_t *))next("getpeername");
    return FAILS("getpeername") ? -1 : real(fd, peer, size);
}

int getsockopt(int fd, int level, int name, void *value, socklen_t *size) {
    return FAILS("getsockopt") ? -1 : NEXT(getsockopt)(fd, level, name, value, size);
}

ssize_t recv(int fd, void *buffer, size_t size, int flags) {
    return FAILS("recv") ? -1 : NEXT(recv)(fd, buffer, size, flags);
}

ssize_t send(int fd, const void *data, size_t size, int flags) {
    return FAILS("send") ? -1 : NEXT(send)(fd, data, size, flags);
}

ssize_t sendmsg(int fd, const struct msghdr *message, int flags) {
    return FAILS("sendmsg") ? -1 : NEXT(sendmsg)(fd, message, flags);
}

int recvmmsg(int fd, struct mmsghdr *heads, unsigned count, int flags, struct timespec *limit) {
    return FAILS("recvmmsg") ? -1 : NEXT(recvmmsg)(fd, heads, count, flags, limit);
}

int sendmmsg(int fd, struct mmsghdr *heads, unsigned count, int flags) {
    return FAILS("sendmmsg") ? -1 : NEXT(sendmmsg)(fd, heads, count, flags);
}

ssize_t read(int fd, void *buffer, size_t size) {
    ssize_t (*real)(int, void *, size_t) = (ssize_t(*)(int, void *, size_t))next("read");
    return FAILS("read") ? -1 : real(fd, buffer, size);
}

ssize_t write(int fd, const void *data, size_t size) {
    ssize_t (*real)(int, const void *, size_t) = (ssize_t(*)(int, const void *, size_t))next("write");
    return FAILS("write") ? -1 : real(fd, data, size);
}

int poll(struct pollfd *fds, nfds_t count, int timeout) {
    return FAILS("poll") ? -1 : NEXT(poll)(fds, count, timeout);
}

int close(int fd) {
    int (*real)(int) = (int (*)(int))next("close");
    int closed = real(fd); /* Linux has closed it, whatever it says */
    return FAILS("close") ? -1 : closed;
}

int fcntl(int fd, int command, ...) {
    int (*real)(int, int, ...) = (int (*)(int, int, ...))next("fcntl");
    va_list rest;
    va_start(rest, command);
    void *argument = va_arg(rest, void *);
    va_end(rest);
    return FAILS("fcntl") ? -1 : real(fd, command, argument);
}

int fcntl64(int fd, int command, ...) {
    int (*real)(int, int, ...) = (int (*)(int, int, ...))next("fcntl64");
    va_list rest;
    va_start(rest, command);
    void *argument = va_arg(rest, void *);
    va_end(rest);
    return FAILS("fcntl") ? -1 : real(fd, command, argument);
}

int ioctl(int fd, unsigned long request, ...) {
    int (*real)(int, unsigned long, ...) = (int (*)(int, unsigned long, ...))next("ioctl");
    va_list rest;
    va_start(rest, request);
    void *argument = va_arg(rest, void *);
    va_end(rest);
    return FAILS("ioctl") ? -1 : real(fd, request, argument);
}
