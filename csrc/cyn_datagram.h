/* SPDX-License-Identifier: MIT
 *
 * Datagrams, many to a system call: what has come, what is to leave, and what has failed on its way.
 *
 * Facts of the kernel that shape it (Linux; what others lack is said at the end):
 * - recvmmsg(2) returns how many datagrams it has taken. An error behind the first of them is kept in the socket, and
 *   the next call returns it. sendmmsg(2) returns how many were sent; the next call returns why the one behind them
 *   was not. With MSG_TRUNC the size that is returned is that of the datagram, whatever there was room for.
 * - A datagram of 0 bytes is one like any other (udp(7)).
 * - With IP_RECVERR (ip(7)), which works on sockets without a peer as well, an ICMP error is queued together with the
 *   address that the datagram was sent to. The next recvmmsg or sendmmsg then fails with that error, once; such a send
 *   has sent nothing of its own. While the queue holds anything, poll reports an error. recvmsg(2) with MSG_ERRQUEUE
 *   takes one out.
 * - Errors of one's own (a datagram that is too long for its path) are in that queue as well, marked as local.
 * - IP_PKTINFO tells which of the addresses of this host a datagram was sent to, and through which interface it came. A
 *   socket that is bound to all addresses answers from that address only if the same is given to sendmsg(2); an address
 *   of a group or of a broadcast cannot be given.
 * - With UDP_SEGMENT one message is sent as datagrams of a given size, of which the last may be shorter: at most 64 of
 *   them, and 65,507 bytes. They must fit into the packets of the path: EINVAL or EMSGSIZE if not, EIO from a device
 *   that cannot do it. None of them was sent then.
 * - With UDP_GRO datagrams of one sender and one size may come as one, up to 65,535 bytes, with the size in a control
 *   message. Nothing tells of it otherwise, so there must be room for all of it.
 *
 * Where there is no recvmmsg and sendmmsg, recvmsg and sendmsg are called one by one. IP_RECVERR, UDP_SEGMENT and
 * UDP_GRO are Linux's.
 */
#ifndef CYN_DATAGRAM_H
#define CYN_DATAGRAM_H

#include "cyn_sys.h"

#include <netinet/in.h>
#include <sys/un.h>

#include "cyn_peer.h"

#if (defined(__linux__) || defined(__FreeBSD__) || defined(__NetBSD__)) && !defined(CYN_NO_MMSG)
#define CYN_HAVE_MMSG 1
#else
#define CYN_HAVE_MMSG 0
struct cyn_mmsghdr {
    struct msghdr msg_hdr;
    unsigned msg_len;
};
#define mmsghdr cyn_mmsghdr
#endif

enum {
    CYN_DATAGRAMS = 64,                 /* how many one call receives, or sends; UDP_SEGMENT takes no more either */
    CYN_DATAGRAM_ROOM = 65536,          /* bytes of the largest that is received whole */
    CYN_DATAGRAM_STEP = 65536 + 64 * 5, /* from one to the next: with a power of two all would share a cache set */
    CYN_DATAGRAM_CONTROL = 128,         /* bytes: IP_PKTINFO and IPV6_PKTINFO, both at once, and UDP_GRO */
    CYN_SEGMENTS_MOST = 65000,          /* bytes that are sent as one, headers not counted */
};

/* What is wanted of the datagrams that come. */
enum { CYN_WANT_SENDER = 1, CYN_WANT_CONTROL = 2 };

struct cyn_name {
    socklen_t size; /* 0: there is none */
    union {
        struct sockaddr any;
        struct sockaddr_in four;
        struct sockaddr_in6 six;
        struct sockaddr_un path;
    };
};

struct cyn_inbound {
    struct mmsghdr heads[CYN_DATAGRAMS];
    struct iovec pieces[CYN_DATAGRAMS];
    struct cyn_name names[CYN_DATAGRAMS];
    _Alignas(struct cmsghdr) char control[CYN_DATAGRAMS][CYN_DATAGRAM_CONTROL];
    char *data;
    int used; /* of the heads: the kernel has written into so many */
    unsigned wanted;
};

struct cyn_datagram {
    const char *data;
    size_t size;    /* that were received */
    size_t whole;   /* that were sent; more than `size` if it was cut */
    size_t segment; /* each datagram in it has so many, the last may have less; 0: it is one */
    const struct cyn_name *from;
    struct cyn_peer to; /* the address that it was sent to, and in `scope` the interface; family 0: it was not told */
};

struct cyn_outbound {
    int count; /* how many wait; the members below have as many */
    struct iovec pieces[CYN_DATAGRAMS];
    struct cyn_name names[CYN_DATAGRAMS];   /* size 0: to the peer of the socket */
    struct cyn_peer sources[CYN_DATAGRAMS]; /* as `to` above; family 0: the kernel chooses */
    struct mmsghdr heads[CYN_DATAGRAMS];    /* made when they are sent, as is what follows */
    _Alignas(struct cmsghdr) char control[CYN_DATAGRAMS][CYN_DATAGRAM_CONTROL];
    unsigned char ends[CYN_DATAGRAMS]; /* the place behind the last datagram in a head */
};

struct cyn_mishap {
    int error;
    int is_local;       /* this host itself has refused it */
    struct cyn_name to; /* where it was sent to */
};

/* 0, or -ENOMEM. */
int cyn_inbound_open(struct cyn_inbound *in);
void cyn_inbound_close(struct cyn_inbound *in);

/* Receives at most `room`, at least one. Returns how many, or -errno. */
int cyn_inbound_take(struct cyn_inbound *in, int fd, int room, unsigned wanted);
void cyn_inbound_read(const struct cyn_inbound *in, int at, struct cyn_datagram *found);
size_t cyn_inbound_size(const struct cyn_inbound *in, int count); /* bytes of the first so many */

/* Sends those from `first` on. `most`: the largest size of those that are sent as one; made smaller where that has been
 * refused, so that they were sent one by one. Returns how many were sent, or -errno, of the one at `first`. */
int cyn_outbound_send(struct cyn_outbound *out, int fd, int first, unsigned *most);

/* Takes a failure out of the queue. 1: it is in *mishap; 0: there is none. */
int cyn_mishap_take(int fd, struct cyn_mishap *mishap);

/* Asks for failures to be queued, and for more where it is asked for. Returns what the kernel has granted, of: */
enum { CYN_TELL_FAILURES = 1, CYN_TELL_DESTINATION = 2, CYN_JOIN_SEGMENTS = 4, CYN_CAN_SEGMENT = 8 };
unsigned cyn_datagram_options(int fd, int family, unsigned wanted);

/* Makes a name of an address in digits. 1: it is in *name; 0: the host is no address of that family. */
int cyn_name_make(struct cyn_name *name, int family, const char *host, const struct cyn_peer *rest);

/* Makes of a name what `cyn_peer.h` calls a peer. 0: it is no Internet address. */
int cyn_name_peer(const struct cyn_name *name, struct cyn_peer *peer);

static inline uint64_t cyn_name_hash(const struct cyn_name *name) {
    uint64_t words[3] = {0, 0, 0};
    if (name->any.sa_family == AF_INET) {
        memcpy(words, &name->any, 8); /* the family, the port and the host */
    } else {
        words[0] = name->six.sin6_port;
        memcpy(words + 1, &name->six.sin6_addr, 16);
    }
    return (words[0] ^ (words[1] * 0x9E3779B97F4A7C15u) ^ (words[2] * 0xC2B2AE3D27D4EB4Fu)) * 0xD6E8FEB86659FD93u;
}

#endif
