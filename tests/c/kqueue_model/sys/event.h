/* SPDX-License-Identifier: MIT
 *
 * As much of kqueue(2) as cyn_kqueue.c uses, for systems that have none: a model in user space, for tests only.
 */
#ifndef KQUEUE_MODEL_H
#define KQUEUE_MODEL_H

#include <stdint.h>
#include <time.h>

enum { EVFILT_READ = -1, EVFILT_WRITE = -2 };
#define EVFILT_TIMER (-7)
#define EVFILT_EXCEPT (-15)
#define EV_ADD 0x0001
#define EV_DELETE 0x0002
#define EV_ONESHOT 0x0010
#define EV_RECEIPT 0x0040
#define EV_ERROR 0x4000
#define EV_EOF 0x8000
#define NOTE_OOB 0x0002
#define NOTE_NSECONDS 0x0004

struct kevent {
    uintptr_t ident;
    short filter;
    unsigned short flags;
    unsigned fflags;
    int64_t data;
    void *udata;
};

#define EV_SET(event, ident_, filter_, flags_, fflags_, data_, udata_)                                                 \
    (*(event) = (struct kevent){(ident_), (short)(filter_), (unsigned short)(flags_), (fflags_), (data_), (udata_)})

int kqueue(void);
int kevent(int queue, const struct kevent *changes, int change_count, struct kevent *events, int room,
           const struct timespec *limit);

#endif
