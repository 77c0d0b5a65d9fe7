/* SPDX-License-Identifier: MIT
 *
 * Datagrams: what is received and sent together, what is cut up and joined, and what fails.
 */
#include "cyn_datagram.h"

#include <arpa/inet.h>
#include <stdio.h>

#include "check.h"

static int made(int family, struct cyn_name *name) {
    int fd = socket(family, SOCK_DGRAM, 0);
    struct cyn_peer none = {0};
    CHECK_EQ(cyn_name_make(name, family, family == AF_INET ? "127.0.0.1" : "::1", &none), 1);
    CHECK_EQ(bind(fd, &name->any, name->size), 0);
    CHECK_EQ(getsockname(fd, &name->any, &name->size), 0);
    return fd;
}

static int kept(int family, struct cyn_name *name) {
    int fd = made(family, name);
    check_keep(fd);
    return fd;
}

static void put(struct cyn_outbound *out, const struct cyn_name *to, const char *data, size_t size) {
    int at = out->count++;
    out->pieces[at] = (struct iovec){(char *)(uintptr_t)data, size};
    out->names[at] = *to;
    out->sources[at] = (struct cyn_peer){0};
}

static void send_all(struct cyn_outbound *out, int fd, unsigned most) {
    int first = 0;
    while (first < out->count) {
        int sent = cyn_outbound_send(out, fd, first, &most);
        CHECK(sent > 0);
        first += sent;
    }
    out->count = 0;
}

static void goes_there_and_back(int family) {
    static struct cyn_inbound in;
    static struct cyn_outbound out;
    struct cyn_name one, other;
    struct cyn_datagram found;
    int sender = kept(family, &one), receiver = kept(family, &other);
    CHECK_EQ(cyn_inbound_open(&in), 0);
    CHECK_EQ(cyn_inbound_take(&in, receiver, CYN_DATAGRAMS, CYN_WANT_SENDER), -EAGAIN);
    for (int turn = 0; turn < 2; turn++) {
        put(&out, &other, "first", 5);
        put(&out, &other, "", 0);
        put(&out, &other, "third one", 9);
        send_all(&out, sender, 0);
        CHECK_EQ(cyn_inbound_take(&in, receiver, CYN_DATAGRAMS, CYN_WANT_SENDER), 3);
        cyn_inbound_read(&in, 2, &found);
        CHECK_EQ(found.size, 9);
        CHECK_EQ(found.whole, 9);
        CHECK_EQ(memcmp(found.data, "third one", 9), 0);
        CHECK_EQ(found.from->size, one.size);
        CHECK_EQ(memcmp(&found.from->any, &one.any, one.size), 0);
        CHECK_EQ(cyn_name_hash(found.from), cyn_name_hash(&one));
        CHECK_EQ(found.to.family, 0);
        CHECK_EQ(cyn_inbound_size(&in, 3), 14);
        cyn_inbound_read(&in, 1, &found);
        CHECK_EQ(found.size, 0);
    }
    cyn_inbound_close(&in);
}

TEST(both_families) {
    goes_there_and_back(AF_INET);
    goes_there_and_back(AF_INET6);
}

TEST(to_the_peer) {
    static struct cyn_inbound in;
    static struct cyn_outbound out;
    struct cyn_name one, other, nobody = {0};
    int sender = kept(AF_INET, &one), receiver = kept(AF_INET, &other);
    CHECK_EQ(connect(sender, &other.any, other.size), 0);
    CHECK_EQ(cyn_inbound_open(&in), 0);
    put(&out, &nobody, "x", 1);
    send_all(&out, sender, 0);
    CHECK_EQ(cyn_inbound_take(&in, receiver, 1, 0), 1);
    cyn_inbound_close(&in);
}

TEST(one_call_takes_what_there_is_room_for) {
    static struct cyn_inbound in;
    static struct cyn_outbound out;
    struct cyn_name one, other;
    int sender = kept(AF_INET, &one), receiver = kept(AF_INET, &other);
    CHECK_EQ(cyn_inbound_open(&in), 0);
    for (int i = 0; i < CYN_DATAGRAMS; i++)
        put(&out, &other, "x", 1);
    send_all(&out, sender, 0);
    CHECK_EQ(cyn_inbound_take(&in, receiver, 10, CYN_WANT_SENDER), 10);
    CHECK_EQ(cyn_inbound_take(&in, receiver, CYN_DATAGRAMS, CYN_WANT_SENDER), CYN_DATAGRAMS - 10);
    cyn_inbound_close(&in);
}

TEST(destination_is_told_and_can_be_the_source) {
#ifdef __linux__
    static struct cyn_inbound in;
    static struct cyn_outbound out;
    struct cyn_name one, other, seven;
    struct cyn_datagram found;
    struct cyn_peer peer, rest = {0};
    char text[CYN_PEER_TEXT];
    int client = kept(AF_INET, &one), server = socket(AF_INET, SOCK_DGRAM, 0);
    check_keep(server);
    CHECK_EQ(cyn_name_make(&other, AF_INET, "0.0.0.0", &rest), 1);
    CHECK_EQ(bind(server, &other.any, other.size), 0);
    CHECK_EQ(getsockname(server, &other.any, &other.size), 0);
    CHECK_EQ(cyn_datagram_options(server, AF_INET, CYN_TELL_DESTINATION), CYN_TELL_DESTINATION);
    rest.port = ntohs(other.four.sin_port);
    CHECK_EQ(cyn_name_make(&seven, AF_INET, "127.0.0.7", &rest), 1);
    CHECK_EQ(cyn_inbound_open(&in), 0);
    put(&out, &seven, "x", 1);
    send_all(&out, client, 0);
    CHECK_EQ(cyn_inbound_take(&in, server, 1, CYN_WANT_SENDER | CYN_WANT_CONTROL), 1);
    cyn_inbound_read(&in, 0, &found);
    CHECK_EQ(found.to.family, AF_INET);
    cyn_peer_host(&found.to, text);
    CHECK_EQ(strcmp(text, "127.0.0.7"), 0);
    put(&out, found.from, "y", 1);
    out.sources[0] = found.to;
    send_all(&out, server, 0);
    CHECK_EQ(cyn_inbound_take(&in, client, 1, CYN_WANT_SENDER), 1);
    cyn_inbound_read(&in, 0, &found);
    CHECK_EQ(cyn_name_peer(found.from, &peer), 1);
    cyn_peer_host(&peer, text);
    CHECK_EQ(strcmp(text, "127.0.0.7"), 0);
    cyn_inbound_close(&in);
#endif
}

#ifdef __linux__
/*
 * qemu's user mode leaves UDP_SEGMENT and UDP_GRO as they are. Where the processor that it acts is big-endian, the
 * kernel reads their sizes the wrong way round: it cuts by a size that is little-endian, which none of its own does.
 */
static int is_misread(void) {
#if __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
    _Alignas(struct cmsghdr) char control[CMSG_SPACE(sizeof(uint16_t))] = {0};
    char data[20] = {0};
    struct cyn_name one, other;
    int sender = kept(AF_INET, &one), receiver = kept(AF_INET, &other);
    struct iovec piece = {data, sizeof data};
    struct msghdr head = {.msg_name = &other.any, .msg_namelen = other.size, .msg_iov = &piece, .msg_iovlen = 1};
    head.msg_control = control;
    head.msg_controllen = sizeof control;
    struct cmsghdr *part = CMSG_FIRSTHDR(&head);
    part->cmsg_level = IPPROTO_UDP;
    part->cmsg_type = 103; /* UDP_SEGMENT, which old headers lack */
    part->cmsg_len = CMSG_LEN(sizeof(uint16_t));
    CMSG_DATA(part)[0] = sizeof data / 2;
    return sendmsg(sender, &head, 0) > 0 && recv(receiver, data, sizeof data, 0) < (ssize_t)sizeof data;
#else
    return 0;
#endif
}
#endif

TEST(many_leave_as_one_and_come_as_one) {
#ifdef __linux__
    if (is_misread())
        return;
    static struct cyn_inbound in;
    static struct cyn_outbound out;
    struct cyn_name one, other;
    struct cyn_datagram found;
    unsigned most = 65535;
    int sender = kept(AF_INET, &one), receiver = kept(AF_INET, &other);
    unsigned granted = cyn_datagram_options(sender, AF_INET, CYN_CAN_SEGMENT);
    granted |= cyn_datagram_options(receiver, AF_INET, CYN_JOIN_SEGMENTS);
    if (granted != (CYN_CAN_SEGMENT | CYN_JOIN_SEGMENTS))
        return;
    CHECK_EQ(cyn_inbound_open(&in), 0);
    for (int i = 0; i < 4; i++)
        put(&out, &other, "0123456789", 10);
    put(&out, &other, "tail", 4);
    put(&out, &other, "0123456789", 10); /* behind a shorter one: another message */
    CHECK_EQ(cyn_outbound_send(&out, sender, 0, &most), 6);
    CHECK_EQ(out.ends[0], 5);
    CHECK_EQ(cyn_inbound_take(&in, receiver, CYN_DATAGRAMS, CYN_WANT_SENDER | CYN_WANT_CONTROL), 2);
    cyn_inbound_read(&in, 0, &found);
    CHECK_EQ(found.size, 44);
    CHECK_EQ(found.segment, 10);
    cyn_inbound_read(&in, 1, &found);
    CHECK_EQ(found.segment, 0);
    cyn_inbound_close(&in);
#endif
}

TEST(failures_come_with_their_addresses) {
#ifdef __linux__
    static struct cyn_outbound out;
    struct cyn_name one, other;
    struct cyn_mishap mishap;
    unsigned most = 0;
    int sender = kept(AF_INET, &one), receiver = made(AF_INET, &other);
    CHECK_EQ(cyn_datagram_options(sender, AF_INET, CYN_TELL_FAILURES), CYN_TELL_FAILURES);
    CHECK_EQ(cyn_mishap_take(sender, &mishap), 0);
    close(receiver);
    put(&out, &other, "x", 1);
    CHECK_EQ(cyn_outbound_send(&out, sender, 0, &most), 1);
    CHECK_EQ(cyn_outbound_send(&out, sender, 0, &most), -ECONNREFUSED); /* of the first; the second was not sent */
    CHECK_EQ(cyn_mishap_take(sender, &mishap), 1);
    CHECK_EQ(mishap.error, ECONNREFUSED);
    CHECK_EQ(mishap.is_local, 0);
    CHECK_EQ(mishap.to.size, other.size);
    CHECK_EQ(mishap.to.four.sin_port, other.four.sin_port);
    CHECK_EQ(cyn_mishap_take(sender, &mishap), 0);
#endif
}

TEST(nothing_that_is_left_is_nothing_sent) {
    static struct cyn_outbound out;
    struct cyn_name one, other;
    unsigned most = 0;
    int sender = kept(AF_INET, &one), receiver = kept(AF_INET, &other);
    (void)receiver;
    CHECK_EQ(cyn_outbound_send(&out, sender, 0, &most), 0);
    put(&out, &other, "x", 1);
    CHECK_EQ(cyn_outbound_send(&out, sender, 1, &most), 0);
}

TEST(names_of_digits_only) {
    struct cyn_name name;
    struct cyn_peer rest = {.port = 53};
    CHECK_EQ(cyn_name_make(&name, AF_INET, "localhost", &rest), 0);
    CHECK_EQ(cyn_name_make(&name, AF_INET, "::1", &rest), 0);
    CHECK_EQ(cyn_name_make(&name, AF_INET6, "127.0.0.1", &rest), 0);
    CHECK_EQ(cyn_name_make(&name, AF_UNIX, "::1", &rest), 0);
    CHECK_EQ(cyn_name_make(&name, AF_INET6, "::ffff:127.0.0.1", &rest), 1);
}

#ifdef CYN_SYS_TABLE
static void *no_memory(void *before, size_t size) {
    (void)before, (void)size;
    return NULL;
}

TEST(without_memory_nothing_is_opened) {
    static struct cyn_inbound in;
    void *(*before)(void *, size_t) = cyn_sys.realloc;
    cyn_sys.realloc = no_memory;
    int opened = cyn_inbound_open(&in);
    cyn_sys.realloc = before;
    CHECK_EQ(opened, -ENOMEM);
}

#ifdef __linux__
static int refusals;

static int refusing(int fd, struct mmsghdr *heads, unsigned count, cyn_mmsg_flags flags) {
    if (heads[0].msg_hdr.msg_iovlen > 1) {
        refusals++;
        return errno = EIO, -1;
    }
    return sendmmsg(fd, heads, count, flags);
}

TEST(what_a_device_cannot_cut_up_leaves_one_by_one) {
    static struct cyn_outbound out;
    struct cyn_name one, other;
    unsigned most = 65535;
    int sender = kept(AF_INET, &one), sent;
    int receiver = kept(AF_INET, &other);
    int (*before)(int, struct mmsghdr *, unsigned, cyn_mmsg_flags) = cyn_sys.sendmmsg;
    (void)receiver;
    for (int i = 0; i < 3; i++)
        put(&out, &other, "0123456789", 10);
    cyn_sys.sendmmsg = refusing;
    sent = cyn_outbound_send(&out, sender, 0, &most);
    cyn_sys.sendmmsg = before;
    CHECK_EQ(sent, 3);
    CHECK_EQ(most, 0);
    CHECK_EQ(refusals, 1);
}
#endif
#endif
