/* SPDX-License-Identifier: MIT
 *
 * The address of a peer as the kernel gives it, in 28 bytes, for those who make text of it later, or never.
 *
 * Internet addresses only. Of the others (a name in the file system, a netlink port ...) nothing is kept: `family` is 0.
 */
#ifndef CYN_PEER_H
#define CYN_PEER_H

#include <stdint.h>

enum { CYN_PEER_TEXT = 46 }; /* bytes of the longest address as text, with its end (INET6_ADDRSTRLEN) */

struct cyn_peer {
    uint16_t family; /* AF_INET, AF_INET6, or 0: no address is kept */
    uint16_t port;   /* this and what follows in host order */
    uint32_t flow, scope;
    uint8_t host[16]; /* in network order; an AF_INET address is the first four */
};

/* getpeername(2). 1: it is kept; 0: it is of another family; -errno. */
int cyn_peer_find(int fd, struct cyn_peer *peer);

/* accept(2): the new descriptor, close-on-exec and blocking, and its peer; -errno. */
int cyn_peer_accept(int fd, struct cyn_peer *peer);

/* The host as text, and its length. */
int cyn_peer_host(const struct cyn_peer *peer, char text[CYN_PEER_TEXT]);

#endif
