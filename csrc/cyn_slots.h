/* SPDX-License-Identifier: MIT
 *
 * The slots: an array indexed by fd, with the owner of each descriptor. It stays dense, because the kernel always gives
 * the lowest free number. A slot has sixteen bytes, so that four share a cache line.
 */
#ifndef CYN_SLOTS_H
#define CYN_SLOTS_H

#include "cyn_poller.h"

enum {
    CYN_SLOT_DIRTY = 1,  /* on the poller's dirty list */
    CYN_SLOT_ALWAYS = 2, /* on the always-ready list, and not registered in the kernel */
    CYN_SLOT_EARLY = 4,  /* among the early events, and not reported yet */
};

struct cyn_slot {
    void *owner;         /* NULL: free */
    uint32_t generation; /* grows with every add and remove */
    uint8_t wanted;      /* the interest of the owner */
    uint8_t armed;       /* the mask that the kernel was given, or CYN_UNKNOWN */
    uint8_t flags;
};

static inline struct cyn_slot *cyn_slot_at(const struct cyn_poller *p, int fd) {
    return fd >= 0 && fd < p->slot_count && p->slots[fd].owner ? &p->slots[fd] : NULL;
}

/* Returns the owner of an event, or NULL if its slot was removed or has another owner since. */
static inline void *cyn_poller_owner(const struct cyn_poller *p, const struct cyn_event *event) {
    const struct cyn_slot *slot = cyn_slot_at(p, event->fd);
    return slot && slot->generation == event->generation ? slot->owner : NULL;
}

/* Returns the interest mask that was set last; 0 also if fd is not registered. */
static inline unsigned cyn_poller_wanted(const struct cyn_poller *p, int fd) {
    const struct cyn_slot *slot = cyn_slot_at(p, fd);
    return slot ? slot->wanted : 0;
}

#endif
