/* SPDX-License-Identifier: MIT
 *
 * The system calls of csrc and the extension modules, which a test can replace.
 *
 * Every caller writes CYN_SYS(recv)(fd, ...). In a release build this is the function of the C library. In a build with
 * -DCYN_SYS_TABLE it is a member of the table `cyn_sys`. The members are the C library's functions at first, and a test
 * replaces one to make that call fail.
 */
#ifndef CYN_SYS_H
#define CYN_SYS_H

#ifdef __linux__
#ifndef _GNU_SOURCE
#define _GNU_SOURCE 1 /* for accept4, ppoll and recvmmsg; a file that calls them includes this one first */
#endif
#define CYN_HAVE_ACCEPT4 1 /* and an accepted socket does not inherit O_NONBLOCK */
#else
#define CYN_HAVE_ACCEPT4 0
#endif
#ifdef __APPLE__
#define _DARWIN_UNLIMITED_SELECT 1 /* without it select refuses descriptors from FD_SETSIZE on */
#endif

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/select.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

#if defined(__linux__)
#define CYN_HAVE_EPOLL 1
#define CYN_HAVE_EVENTFD 1
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/syscall.h>
#include <sys/timerfd.h>
#endif

#if defined(__linux__) || defined(__FreeBSD__) || defined(__OpenBSD__)
#define CYN_HAVE_PPOLL 1
#endif

#if defined(__APPLE__) || defined(__FreeBSD__) || defined(__NetBSD__) || defined(__OpenBSD__) || defined(CYN_USE_KQUEUE)
#define CYN_HAVE_KQUEUE 1
#include <sys/event.h>
#endif

#ifdef CYN_HAVE_EPOLL
/* glibc has the function only from 2.35 on, and the headers that wheels are built with may lack its number, which is
 * 441 on all but a few old machines. Its timespec has members of 64 bits everywhere. Android kills a process that
 * makes a system call which is not on its list. */
#if !defined(__NR_epoll_pwait2) && (defined(__LP64__) || defined(__i386__) || defined(__arm__)) &&                     \
    !defined(__alpha__) && !defined(__mips__) && !defined(__ia64__)
#define __NR_epoll_pwait2 441
#endif
static inline int cyn_epoll_pwait2(int epoll, struct epoll_event *events, int room, const struct timespec *limit) {
#if defined(__NR_epoll_pwait2) && !defined(__ANDROID__)
    const int64_t pair[2] = {limit->tv_sec, limit->tv_nsec};
    return (int)syscall(__NR_epoll_pwait2, epoll, events, room, pair, NULL, (size_t)0);
#else
    (void)epoll, (void)events, (void)room, (void)limit;
    return errno = ENOSYS, -1;
#endif
}
#endif

#ifdef __NetBSD__
typedef size_t cyn_kevent_count;
#else
typedef int cyn_kevent_count;
#endif

#ifdef CYN_SYS_TABLE
#ifdef __linux__
struct mmsghdr;
#ifdef __GLIBC__
typedef int cyn_mmsg_flags;
#else
typedef unsigned cyn_mmsg_flags; /* musl */
#endif
#endif
struct cyn_sys {
    void *(*calloc)(size_t, size_t);
    void *(*realloc)(void *, size_t);
    void (*free)(void *);
    int (*clock_gettime)(clockid_t, struct timespec *);
    int (*close)(int);
    int (*fcntl)(int, int, ...);
    __typeof__(ioctl) *ioctl; /* musl and glibc differ in its second argument */
    int (*getsockopt)(int, int, int, void *, socklen_t *);
    int (*pipe)(int[2]);
    int (*poll)(struct pollfd *, nfds_t, int);
#ifdef CYN_HAVE_PPOLL
    int (*ppoll)(struct pollfd *, nfds_t, const struct timespec *, const sigset_t *);
#endif
    int (*pselect)(int, fd_set *, fd_set *, fd_set *, const struct timespec *, const sigset_t *);
    ssize_t (*read)(int, void *, size_t);
    ssize_t (*write)(int, const void *, size_t);
    ssize_t (*recv)(int, void *, size_t, int);
    ssize_t (*send)(int, const void *, size_t, int);
    ssize_t (*recvmsg)(int, struct msghdr *, int);
    ssize_t (*sendmsg)(int, const struct msghdr *, int);
#ifdef __linux__ /* not every file asks for the declarations of these two, nor for their struct */
    int (*recvmmsg)(int, struct mmsghdr *, unsigned, cyn_mmsg_flags, struct timespec *);
    int (*sendmmsg)(int, struct mmsghdr *, unsigned, cyn_mmsg_flags);
#elif defined(__FreeBSD__) || defined(__NetBSD__)
    __typeof__(recvmmsg) *recvmmsg;
    __typeof__(sendmmsg) *sendmmsg;
#endif
    int (*getpeername)(int, struct sockaddr *, socklen_t *);
#if CYN_HAVE_ACCEPT4
    int (*accept4)(int, struct sockaddr *, socklen_t *, int);
#endif
#ifdef CYN_HAVE_EPOLL
    int (*epoll_create1)(int);
    int (*epoll_ctl)(int, int, int, struct epoll_event *);
    int (*epoll_wait)(int, struct epoll_event *, int, int);
    int (*cyn_epoll_pwait2)(int, struct epoll_event *, int, const struct timespec *);
    int (*timerfd_create)(int, int);
    int (*timerfd_settime)(int, int, const struct itimerspec *, struct itimerspec *);
#endif
#ifdef CYN_HAVE_EVENTFD
    int (*eventfd)(unsigned, int);
#endif
#ifdef CYN_HAVE_KQUEUE
    int (*kqueue)(void);
    int (*fstat)(int, struct stat *);
    int (*kevent)(int, const struct kevent *, cyn_kevent_count, struct kevent *, cyn_kevent_count,
                  const struct timespec *);
#endif
};
extern struct cyn_sys cyn_sys;
#define CYN_SYS(call) cyn_sys.call
#else
#define CYN_SYS(call) call
#endif

#endif
