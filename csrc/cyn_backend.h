/* SPDX-License-Identifier: MIT
 *
 * What a backend must supply: one kernel interface, translated. It decides nothing; cyn_poller.c does.
 */
#ifndef CYN_BACKEND_H
#define CYN_BACKEND_H

#include "cyn_poller.h"

enum {
    CYN_UNKNOWN = 64, /* as an armed mask: anything or nothing may be registered, under any generation */
};

struct cyn_backend {
    const char *name;
    int reports_closed; /* does it tell (CYN_NVAL) when a registered descriptor was closed behind our back? */

    int (*open)(struct cyn_poller *p); /* sets p->state */
    void (*close)(struct cyn_poller *p);

    /* Makes room where wanted is not 0, so it belongs to settle's thread; with 0 it also runs beside a wait that blocks.
     * Takes the kernel from `armed` to `wanted` (0: not registered). `armed` may be wrong, in either direction, after a
     * descriptor was closed or duplicated behind our back: the backend repairs what it can (ENOENT, EEXIST).
     * -EPERM: the kernel does not watch this kind of file because it is always ready. */
    int (*set)(struct cyn_poller *p, int fd, unsigned armed, unsigned wanted, uint32_t generation);

    /* As cyn_poller_wait; touches no slot. What is reported with CYN_NVAL is no longer watched. */
    int (*wait)(struct cyn_poller *p, struct cyn_event *out, int room, int timeout);

    int (*fd)(const struct cyn_poller *p);
};

extern const struct cyn_backend cyn_epoll_backend, cyn_kqueue_backend, cyn_poll_backend, cyn_select_backend;

/* An array with room for `need` items of `size` bytes, the new ones zero, or NULL: the old one is untouched then. */
void *cyn_grow(void *array, int *room, int need, size_t size);

/* The flags of poll(2) in terms of ours, which select uses too; and back. */
unsigned cyn_from_poll(int revents);
short cyn_to_poll(unsigned mask);

#endif
