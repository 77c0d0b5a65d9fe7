/* SPDX-License-Identifier: MIT
 *
 * The one table of system calls that csrc and the extension modules go through.
 *
 * A release build calls the C library directly. A build with -DCYN_SYS_TABLE calls through `cyn_sys`, whose
 * members start as the C library's functions and which a test replaces to make any call fail at will. Every
 * caller writes CYN_SYS(recv)(fd, ...), so neither build can reach the kernel past this file.
 */
#ifndef CYN_SYS_H
#define CYN_SYS_H

#ifdef __linux__
#ifndef _GNU_SOURCE
#define _GNU_SOURCE 1 /* for accept4: who calls it includes this file first */
#endif
#define CYN_HAVE_ACCEPT4 1 /* and a socket that it makes does not inherit O_NONBLOCK */
#else
#define CYN_HAVE_ACCEPT4 0
#endif
#ifdef __APPLE__
#define _DARWIN_UNLIMITED_SELECT 1 /* or select refuses descriptors from FD_SETSIZE on */
#endif

#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <stdlib.h>
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
#endif

#if defined(__APPLE__) || defined(__FreeBSD__) || defined(__NetBSD__) || defined(__OpenBSD__) || defined(CYN_USE_KQUEUE)
#define CYN_HAVE_KQUEUE 1
#include <sys/event.h>
#endif

#ifdef CYN_SYS_TABLE
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
    int (*select)(int, fd_set *, fd_set *, fd_set *, struct timeval *);
    ssize_t (*read)(int, void *, size_t);
    ssize_t (*write)(int, const void *, size_t);
    ssize_t (*recv)(int, void *, size_t, int);
    ssize_t (*send)(int, const void *, size_t, int);
    ssize_t (*sendmsg)(int, const struct msghdr *, int);
    int (*getpeername)(int, struct sockaddr *, socklen_t *);
#if CYN_HAVE_ACCEPT4
    int (*accept4)(int, struct sockaddr *, socklen_t *, int);
#endif
#ifdef CYN_HAVE_EPOLL
    int (*epoll_create1)(int);
    int (*epoll_ctl)(int, int, int, struct epoll_event *);
    int (*epoll_wait)(int, struct epoll_event *, int, int);
#endif
#ifdef CYN_HAVE_EVENTFD
    int (*eventfd)(unsigned, int);
#endif
#ifdef CYN_HAVE_KQUEUE
    int (*kqueue)(void);
    int (*fstat)(int, struct stat *);
    __typeof__(kevent) *kevent; /* NetBSD has counts of its own type */
#endif
};
extern struct cyn_sys cyn_sys;
#define CYN_SYS(call) cyn_sys.call
#else
#define CYN_SYS(call) call
#endif

#endif
