/* SPDX-License-Identifier: MIT */
#include "cyn_datagram.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/udp.h>
#include <string.h>

#ifdef __linux__
#include <linux/errqueue.h>
/* The headers that wheels are built with may be older than the kernel that they run on. */
#ifndef UDP_SEGMENT
#define UDP_SEGMENT 103
#endif
#ifndef UDP_GRO
#define UDP_GRO 104
#endif
#ifndef SOL_UDP
#define SOL_UDP 17
#endif
#endif

/* musl's macro; clang and gcc each find something else in it */
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wsign-compare"
#pragma GCC diagnostic ignored "-Wsign-conversion"
static struct cmsghdr *part_after(struct msghdr *head, struct cmsghdr *part) {
    return CMSG_NXTHDR(head, part);
}
#pragma GCC diagnostic pop

/* -- many at once -------------------------------------------------------------------------------------------------- */

#if CYN_HAVE_MMSG
static int receive(int fd, struct mmsghdr *heads, int room) {
    return (int)CYN_SYS(recvmmsg)(fd, heads, (unsigned)room, MSG_DONTWAIT | MSG_TRUNC, NULL);
}

static int dispatch(int fd, struct mmsghdr *heads, int count) {
    return (int)CYN_SYS(sendmmsg)(fd, heads, (unsigned)count, MSG_DONTWAIT | MSG_NOSIGNAL);
}
#else
static int receive(int fd, struct mmsghdr *heads, int room) {
    int at;
    for (at = 0; at < room; at++) {
        ssize_t got = CYN_SYS(recvmsg)(fd, &heads[at].msg_hdr, MSG_DONTWAIT);
        if (got < 0)
            break; /* an error that is not a lack of datagrams comes again, or has lost nothing */
        heads[at].msg_len = (unsigned)got;
    }
    return at > 0 ? at : -1;
}

static int dispatch(int fd, struct mmsghdr *heads, int count) {
    int at;
    for (at = 0; at < count; at++)
        if (CYN_SYS(sendmsg)(fd, &heads[at].msg_hdr, MSG_DONTWAIT | MSG_NOSIGNAL) < 0)
            break;
    return at > 0 ? at : -1;
}
#endif

/* -- what comes ---------------------------------------------------------------------------------------------------- */

int cyn_inbound_open(struct cyn_inbound *in) {
    in->data =
        CYN_SYS(realloc)(NULL, (size_t)CYN_DATAGRAMS * CYN_DATAGRAM_STEP); /* what nobody touches takes no page */
    if (in->data == NULL)
        return -ENOMEM;
    in->used = CYN_DATAGRAMS;
    in->wanted = 0;
    for (int i = 0; i < CYN_DATAGRAMS; i++) {
        in->pieces[i] = (struct iovec){in->data + (size_t)i * CYN_DATAGRAM_STEP, CYN_DATAGRAM_ROOM};
        in->heads[i].msg_hdr = (struct msghdr){.msg_iov = &in->pieces[i], .msg_iovlen = 1};
    }
    return 0;
}

void cyn_inbound_close(struct cyn_inbound *in) {
    CYN_SYS(free)(in->data);
    in->data = NULL;
}

/* Makes the heads ready again that the kernel has written into. */
static void prepare(struct cyn_inbound *in, unsigned wanted) {
    int count = in->wanted == wanted ? in->used : CYN_DATAGRAMS;
    for (int i = 0; i < count; i++) {
        struct msghdr *head = &in->heads[i].msg_hdr;
        head->msg_name = wanted & CYN_WANT_SENDER ? &in->names[i].any : NULL;
        head->msg_namelen = wanted & CYN_WANT_SENDER ? sizeof in->names[i].path : 0;
        head->msg_control = wanted & CYN_WANT_CONTROL ? in->control[i] : NULL;
        head->msg_controllen = wanted & CYN_WANT_CONTROL ? CYN_DATAGRAM_CONTROL : 0;
        head->msg_flags = 0;
    }
    in->wanted = wanted;
    in->used = 0;
}

int cyn_inbound_take(struct cyn_inbound *in, int fd, int room, unsigned wanted) {
    prepare(in, wanted);
    int count = receive(fd, in->heads, room);
    if (count < 0)
        return -errno;
    in->used = count;
    for (int i = 0; i < count; i++)
        in->names[i].size = in->heads[i].msg_hdr.msg_namelen;
    return count;
}

static void read_four(struct cyn_peer *to, const void *host, int interface) {
    *to = (struct cyn_peer){.family = AF_INET, .scope = (uint32_t)interface};
    memcpy(to->host, host, 4);
}

/* Reads one control message. */
static void read_control(const struct cmsghdr *part, struct cyn_datagram *found) {
#ifdef __linux__
    if (part->cmsg_level == SOL_UDP && part->cmsg_type == UDP_GRO) {
        int size;
        memcpy(&size, CMSG_DATA(part), sizeof size);
        found->segment = size > 0 ? (size_t)size : 0;
    }
#endif
#ifdef IP_PKTINFO
    if (part->cmsg_level == IPPROTO_IP && part->cmsg_type == IP_PKTINFO) {
        struct in_pktinfo told;
        memcpy(&told, CMSG_DATA(part), sizeof told);
        read_four(&found->to, &told.ipi_addr, (int)told.ipi_ifindex);
    }
#elif defined(IP_RECVDSTADDR)
    if (part->cmsg_level == IPPROTO_IP && part->cmsg_type == IP_RECVDSTADDR)
        read_four(&found->to, CMSG_DATA(part), 0);
#endif
#ifdef IPV6_PKTINFO
    if (part->cmsg_level == IPPROTO_IPV6 && part->cmsg_type == IPV6_PKTINFO) {
        struct in6_pktinfo told;
        memcpy(&told, CMSG_DATA(part), sizeof told);
        found->to = (struct cyn_peer){.family = AF_INET6, .scope = (uint32_t)told.ipi6_ifindex};
        memcpy(found->to.host, &told.ipi6_addr, 16);
    }
#endif
}

static size_t size_at(const struct cyn_inbound *in, int at) {
    size_t whole = (size_t)in->heads[at].msg_len; /* signed on FreeBSD */
    return whole < CYN_DATAGRAM_ROOM ? whole : CYN_DATAGRAM_ROOM;
}

size_t cyn_inbound_size(const struct cyn_inbound *in, int count) {
    size_t size = 0;
    for (int at = 0; at < count; at++)
        size += size_at(in, at);
    return size;
}

void cyn_inbound_read(const struct cyn_inbound *in, int at, struct cyn_datagram *found) {
    struct msghdr *head = (struct msghdr *)&in->heads[at].msg_hdr;
    found->data = in->data + (size_t)at * CYN_DATAGRAM_STEP;
    found->whole = (size_t)in->heads[at].msg_len;
    found->size = size_at(in, at);
    if (head->msg_flags & MSG_TRUNC && found->whole <= found->size)
        found->whole = found->size + 1; /* a kernel that does not tell how long it was */
    found->segment = 0;
    found->from = &in->names[at];
    found->to.family = 0;
    if (head->msg_controllen > 0)
        for (struct cmsghdr *part = CMSG_FIRSTHDR(head); part != NULL; part = part_after(head, part))
            read_control(part, found);
    if (found->segment >= found->size)
        found->segment = 0;
}

/* -- what leaves --------------------------------------------------------------------------------------------------- */

static int is_for_many(const struct cyn_peer *source) {
    if (source->family == AF_INET)
        return source->host[0] >= 224;
    return source->host[0] == 0xff;
}

struct content {
    int level, type;
    const void *data;
    size_t size;
};

/* Puts a control message behind those that end at `at`. Returns where it ends. */
static size_t put_control(struct msghdr *head, size_t at, struct content content) {
    struct cmsghdr *part = (struct cmsghdr *)((char *)head->msg_control + at);
    part->cmsg_level = content.level;
    part->cmsg_type = content.type;
    part->cmsg_len = (__typeof__(part->cmsg_len))CMSG_LEN(content.size);
    memcpy(CMSG_DATA(part), content.data, content.size);
    return at + CMSG_SPACE(content.size);
}

static size_t put_source(struct msghdr *head, size_t at, const struct cyn_peer *source) {
    size_t width = is_for_many(source) ? 0 : source->family == AF_INET ? 4 : 16; /* of a group, the interface counts */
#ifdef IP_PKTINFO
    if (source->family == AF_INET) {
        struct in_pktinfo told;
        memset(&told, 0, sizeof told);
        told.ipi_ifindex = (__typeof__(told.ipi_ifindex))source->scope;
        memcpy(&told.ipi_spec_dst, source->host, width);
        return put_control(head, at, (struct content){IPPROTO_IP, IP_PKTINFO, &told, sizeof told});
    }
#elif defined(IP_SENDSRCADDR)
    if (source->family == AF_INET)
        return width ? put_control(head, at, (struct content){IPPROTO_IP, IP_SENDSRCADDR, source->host, width}) : at;
#endif
#ifdef IPV6_PKTINFO
    if (source->family == AF_INET6) {
        struct in6_pktinfo told = {.ipi6_ifindex = source->scope};
        memcpy(&told.ipi6_addr, source->host, width);
        return put_control(head, at, (struct content){IPPROTO_IPV6, IPV6_PKTINFO, &told, sizeof told});
    }
#endif
    (void)width;
    return at;
}

static int same_way(const struct cyn_outbound *out, int one, int other) {
    const struct cyn_name *a = &out->names[one], *b = &out->names[other];
    return a->size == b->size && memcmp(&a->any, &b->any, a->size) == 0 &&
           memcmp(&out->sources[one], &out->sources[other], sizeof out->sources[0]) == 0;
}

/* Returns the place behind the last datagram that can leave as one with the one at `first`. */
static int group_end(const struct cyn_outbound *out, int first, unsigned most) {
    size_t size = out->pieces[first].iov_len, total = size;
    int at = first + 1;
    if (size == 0 || size > most)
        return at;
    while (at < out->count && total + out->pieces[at].iov_len <= CYN_SEGMENTS_MOST) {
        size_t next = out->pieces[at].iov_len;
        if (next == 0 || next > size || !same_way(out, first, at))
            break;
        total += next;
        at++;
        if (next < size)
            break; /* only the last may be shorter */
    }
    return at;
}

static void fill_head(struct cyn_outbound *out, int place, int first, int end) {
    struct msghdr *head = &out->heads[place].msg_hdr;
    size_t used = 0;
    *head = (struct msghdr){.msg_iov = &out->pieces[first]};
    head->msg_iovlen = (__typeof__(head->msg_iovlen))(end - first); /* its type differs between systems */
    if (out->names[first].size > 0) {
        head->msg_name = &out->names[first].any;
        head->msg_namelen = out->names[first].size;
    }
    head->msg_control = out->control[place];
    if (out->sources[first].family)
        used = put_source(head, used, &out->sources[first]);
#ifdef __linux__
    if (end - first > 1) {
        uint16_t size = (uint16_t)out->pieces[first].iov_len;
        used = put_control(head, used, (struct content){SOL_UDP, UDP_SEGMENT, &size, sizeof size});
    }
#endif
    if (used == 0)
        head->msg_control = NULL;
    head->msg_controllen = (__typeof__(head->msg_controllen))used;
}

static int send_from(struct cyn_outbound *out, int fd, int first, unsigned most) {
    int count = 0;
    for (int at = first; at < out->count; count++) {
        int end = most > 0 ? group_end(out, at, most) : at + 1;
        fill_head(out, count, at, end);
        out->ends[count] = (unsigned char)end;
        at = end;
    }
    if (count == 0)
        return 0; /* nothing is left */
    int sent = dispatch(fd, out->heads, count);
    return sent < 0 ? -errno : out->ends[sent - 1] - first;
}

int cyn_outbound_send(struct cyn_outbound *out, int fd, int first, unsigned *most) {
    int sent = send_from(out, fd, first, *most);
    if (sent >= 0 || out->ends[0] - first < 2)
        return sent;
    if (sent != -EINVAL && sent != -EMSGSIZE && sent != -EIO)
        return sent;
    *most = sent == -EIO ? 0 : (unsigned)out->pieces[first].iov_len - 1;
    return send_from(out, fd, first, *most);
}

/* -- what fails ---------------------------------------------------------------------------------------------------- */

#ifdef __linux__
static int is_failure(struct msghdr *head, struct cyn_mishap *mishap) {
    for (struct cmsghdr *part = CMSG_FIRSTHDR(head); part != NULL; part = part_after(head, part)) {
        struct sock_extended_err told;
        if (!(part->cmsg_level == IPPROTO_IP && part->cmsg_type == IP_RECVERR) &&
            !(part->cmsg_level == IPPROTO_IPV6 && part->cmsg_type == IPV6_RECVERR))
            continue;
        memcpy(&told, CMSG_DATA(part), sizeof told);
        mishap->error = (int)told.ee_errno;
        mishap->is_local = told.ee_origin == SO_EE_ORIGIN_LOCAL;
        return told.ee_origin == SO_EE_ORIGIN_LOCAL || told.ee_origin == SO_EE_ORIGIN_ICMP ||
               told.ee_origin == SO_EE_ORIGIN_ICMP6;
    }
    return 0;
}

int cyn_mishap_take(int fd, struct cyn_mishap *mishap) {
    _Alignas(struct cmsghdr) char control[512];
    char start; /* of what was sent; qemu's user mode makes no call where there is no room for any */
    struct iovec piece = {&start, sizeof start};
    for (;;) {
        struct msghdr head = {.msg_name = &mishap->to.any, .msg_namelen = sizeof mishap->to.path};
        head.msg_iov = &piece;
        head.msg_iovlen = 1;
        head.msg_control = control;
        head.msg_controllen = sizeof control;
        if (CYN_SYS(recvmsg)(fd, &head, MSG_ERRQUEUE | MSG_DONTWAIT) < 0)
            return 0;
        mishap->to.size = head.msg_namelen;
        if (is_failure(&head, mishap))
            return 1; /* else it is a time stamp or the like, which somebody has asked for */
    }
}
#else
int cyn_mishap_take(int fd, struct cyn_mishap *mishap) {
    (void)fd, (void)mishap;
    return 0;
}
#endif

/* -- options ------------------------------------------------------------------------------------------------------- */

static int turn_on(int fd, int level, int option) {
    int on = 1;
    return setsockopt(fd, level, option, &on, sizeof on) == 0;
}

/* Asks for the addresses that datagrams were sent to. */
static int tell_destination(int fd, int family) {
#ifdef IPV6_RECVPKTINFO
    if (family == AF_INET6)
        return turn_on(fd, IPPROTO_IPV6, IPV6_RECVPKTINFO); /* tells of IPv4 as well, as a mapped address */
#endif
#ifdef IP_PKTINFO
    if (family == AF_INET)
        return turn_on(fd, IPPROTO_IP, IP_PKTINFO);
#elif defined(IP_RECVDSTADDR)
    if (family == AF_INET)
        return turn_on(fd, IPPROTO_IP, IP_RECVDSTADDR);
#endif
    return 0;
}

unsigned cyn_datagram_options(int fd, int family, unsigned wanted) {
    unsigned granted = 0;
    if (family != AF_INET && family != AF_INET6)
        return 0;
    if (wanted & CYN_TELL_DESTINATION && tell_destination(fd, family))
        granted |= CYN_TELL_DESTINATION;
#ifdef __linux__
    int none = 0;
    if (wanted & CYN_TELL_FAILURES) {
        if (turn_on(fd, IPPROTO_IP, IP_RECVERR) | (family == AF_INET6 && turn_on(fd, IPPROTO_IPV6, IPV6_RECVERR)))
            granted |= CYN_TELL_FAILURES;
    }
    if (wanted & CYN_JOIN_SEGMENTS && turn_on(fd, SOL_UDP, UDP_GRO))
        granted |= CYN_JOIN_SEGMENTS;
    if (wanted & CYN_CAN_SEGMENT && setsockopt(fd, SOL_UDP, UDP_SEGMENT, &none, sizeof none) == 0)
        granted |= CYN_CAN_SEGMENT;
#endif
    return granted;
}

/* -- names --------------------------------------------------------------------------------------------------------- */

int cyn_name_make(struct cyn_name *name, int family, const char *host, const struct cyn_peer *rest) {
    memset(name, 0, sizeof name->size + sizeof name->six + 4);
    if (family == AF_INET) {
        name->four.sin_family = AF_INET;
        name->four.sin_port = htons(rest->port);
        name->size = sizeof name->four;
#ifdef SIN6_LEN
        name->any.sa_len = (uint8_t)name->size;
#endif
        return inet_pton(AF_INET, host, &name->four.sin_addr) == 1;
    }
    name->six.sin6_family = AF_INET6;
    name->six.sin6_port = htons(rest->port);
    name->six.sin6_flowinfo = htonl(rest->flow);
    name->six.sin6_scope_id = rest->scope;
    name->size = sizeof name->six;
#ifdef SIN6_LEN
    name->any.sa_len = (uint8_t)name->size;
#endif
    return family == AF_INET6 && inet_pton(AF_INET6, host, &name->six.sin6_addr) == 1;
}

int cyn_name_peer(const struct cyn_name *name, struct cyn_peer *peer) {
    return cyn_peer_of(&name->any, name->size, peer);
}
