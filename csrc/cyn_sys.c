/* SPDX-License-Identifier: MIT
 *
 * The table of system calls of a -DCYN_SYS_TABLE build, with the functions of the C library.
 */
#include "cyn_sys.h"

#ifdef CYN_SYS_TABLE
struct cyn_sys cyn_sys = {
    .calloc = calloc,
    .realloc = realloc,
    .free = free,
    .clock_gettime = clock_gettime,
    .close = close,
    .fcntl = fcntl,
    .ioctl = ioctl,
    .getsockopt = getsockopt,
    .pipe = pipe,
    .poll = poll,
#ifdef CYN_HAVE_PPOLL
    .ppoll = ppoll,
#endif
    .pselect = pselect,
    .read = read,
    .write = write,
    .recv = recv,
    .send = send,
    .recvmsg = recvmsg,
    .sendmsg = sendmsg,
#if defined(__linux__) || defined(__FreeBSD__) || defined(__NetBSD__)
    .recvmmsg = recvmmsg,
    .sendmmsg = sendmmsg,
#endif
    .getpeername = getpeername,
#if CYN_HAVE_ACCEPT4
    .accept4 = accept4,
#endif
#ifdef CYN_HAVE_EPOLL
    .epoll_create1 = epoll_create1,
    .epoll_ctl = epoll_ctl,
    .epoll_wait = epoll_wait,
    .cyn_epoll_pwait2 = cyn_epoll_pwait2,
    .timerfd_create = timerfd_create,
    .timerfd_settime = timerfd_settime,
#endif
#ifdef CYN_HAVE_EVENTFD
    .eventfd = eventfd,
#endif
#ifdef CYN_HAVE_KQUEUE
    .kqueue = kqueue,
    .fstat = fstat,
    .kevent = kevent,
#endif
};
#else
typedef int cyn_sys_is_the_c_library; /* ISO C does not allow an empty translation unit */
#endif
