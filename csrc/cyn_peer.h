/* SPDX-License-Identifier: MIT
 *
 * The address of a peer as the kernel gives it, in 28 bytes. Its text is made later, if it is needed.
 *
 * Internet addresses only. An address of another family (a name in the file system, a netlink port) is not kept:
 * `family` is 0 then.
 */
#ifndef CYN_PEER_H
#define CYN_PEER_H

#include <stdint.h>
#include <sys/socket.h>

enum { CYN_PEER_TEXT = 46 }; /* bytes of the longest address as text, with the final zero (INET6_ADDRSTRLEN) */

struct cyn_peer {
    uint16_t family; /* AF_INET, AF_INET6, or 0: no address is kept */
    uint16_t port;   /* this and what follows in host order */
    uint32_t flow, scope;
    uint8_t host[16]; /* in network order; an AF_INET address is the first four */
};

/* 1: the address is in *peer; 0: it is of another family. */
int cyn_peer_of(const struct sockaddr *address, socklen_t size, struct cyn_peer *peer);

/* Calls getpeername(2). 1: the address is in *peer; 0: it is of another family; -errno. */
int cyn_peer_find(int fd, struct cyn_peer *peer);

/* Calls accept(2). Returns the new descriptor, which is close-on-exec and blocking, and fills *peer; -errno. */
int cyn_peer_accept(int fd, struct cyn_peer *peer);

/* Writes the host as text, and returns the length of that. */
int cyn_peer_host(const struct cyn_peer *peer, char text[CYN_PEER_TEXT]);

#endif
