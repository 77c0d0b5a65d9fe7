/* SPDX-License-Identifier: MIT
 *
 * The fd-to-channel map: an array indexed by fd. The kernel hands out the lowest free number, so it stays dense, and
 * sixteen bytes a slot put four neighbours on a cache line.
 */
#ifndef CYN_SLOTS_H
#define CYN_SLOTS_H

#include "cyn_poller.h"

enum {
    CYN_SLOT_DIRTY = 1,  /* on the poller's dirty list */
    CYN_SLOT_ALWAYS = 2, /* on the always-ready list: not in the kernel */
};

struct cyn_slot {
    void *owner;         /* NULL: free */
    uint32_t generation; /* moves on at every add and remove */
    uint8_t wanted;      /* what the owner asks for */
    uint8_t armed;       /* what the kernel was told, or CYN_UNKNOWN */
    uint8_t flags;
};

static inline struct cyn_slot *cyn_slot_at(const struct cyn_poller *p, int fd) {
    return fd >= 0 && fd < p->slot_count && p->slots[fd].owner ? &p->slots[fd] : NULL;
}

/* The owner that an event belongs to, or NULL where its slot was removed or reused since. */
static inline void *cyn_poller_owner(const struct cyn_poller *p, const struct cyn_event *event) {
    const struct cyn_slot *slot = cyn_slot_at(p, event->fd);
    return slot && slot->generation == event->generation ? slot->owner : NULL;
}

/* The mask that cyn_poller_want was told last; 0 also where fd is not registered. */
static inline unsigned cyn_poller_wanted(const struct cyn_poller *p, int fd) {
    const struct cyn_slot *slot = cyn_slot_at(p, fd);
    return slot ? slot->wanted : 0;
}

#endif
