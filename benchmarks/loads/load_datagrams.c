/* SPDX-License-Identifier: MIT
 *
 * The load of datagrams: N sockets that are connected to one server on 127.0.0.1, which sends each datagram back. F of
 * them are on their way on each socket (a closed loop: one that came back makes room for the next one).
 *
 * - Every byte is compared, and each datagram tells its socket and its number. One that is lost, repeated, out of order
 *   or another socket's is found. Nothing is lost by the kernel as long as no more are on their way than a socket's
 *   receive buffer holds, which is some 270 of 64 bytes (net.core.rmem_default).
 * - What came at once is answered at once: one recvmmsg and one sendmmsg for each socket that is readable. So the load
 *   needs no more system calls than the server.
 * - With --joined 1 those that leave together leave as one message, which the kernel cuts up (UDP_SEGMENT), as QUIC
 *   clients do. It then reaches a server that asks for that (UDP_GRO) as one, and any other one in pieces.
 * - The time of a datagram begins before the sendmmsg that contains it and ends after the recvmmsg that brings it.
 */
#include "load.h"
#include "message.h"
#include <netinet/udp.h>

#ifndef UDP_SEGMENT
#define UDP_SEGMENT 103 /* the C library may be older than the kernel */
#endif

enum { FLIGHT_MAX = 128, SIZE_MOST = 8192, AT_ONCE = 64 };

struct connection {
    int fd;                       /* -1: not open */
    uint32_t sent, received;      /* datagrams since the socket was opened */
    uint64_t started[FLIGHT_MAX]; /* ns, of datagram number i at i % FLIGHT_MAX */
};

static char out[AT_ONCE][SIZE_MOST], in[AT_ONCE][SIZE_MOST + 1];

static void stamp(const struct load *l, const struct connection *c, uint32_t number) {
    stamp_message((uint32_t)(c - l->connections), number, l->want.size);
}

/* Sends so many, which are in `pieces`, as one message that the kernel cuts up. */
static int send_joined(const struct load *l, int fd, struct iovec *pieces, int count) {
    _Alignas(struct cmsghdr) char control[CMSG_SPACE(sizeof(uint16_t))] = {0};
    uint16_t size = (uint16_t)l->want.size;
    struct msghdr head = {.msg_iov = pieces, .msg_iovlen = (size_t)count};
    struct cmsghdr *part = (struct cmsghdr *)control;

    head.msg_control = control;
    head.msg_controllen = sizeof control;
    *part = (struct cmsghdr){.cmsg_len = CMSG_LEN(sizeof size), .cmsg_level = IPPROTO_UDP, .cmsg_type = UDP_SEGMENT};
    memcpy(CMSG_DATA(part), &size, sizeof size);
    return sendmsg(fd, &head, MSG_NOSIGNAL) < 0 ? -1 : count;
}

/* Sends so many. The kernel has room for them, because no more are on their way than it has room for. */
static void send_some(struct load *l, struct connection *c, int count, uint64_t now) {
    struct mmsghdr heads[AT_ONCE];
    struct iovec pieces[AT_ONCE];

    while (count > 0) {
        int most = count < AT_ONCE ? count : AT_ONCE, done;

        for (int i = 0; i < most; i++) {
            stamp(l, c, c->sent + (uint32_t)i);
            memcpy(out[i], message, (size_t)l->want.size);
            c->started[(c->sent + (uint32_t)i) % FLIGHT_MAX] = now;
            pieces[i] = (struct iovec){out[i], (size_t)l->want.size};
            heads[i] = (struct mmsghdr){.msg_hdr = {.msg_iov = &pieces[i], .msg_iovlen = 1}};
        }
        if (l->want.joined && most > 1)
            done = send_joined(l, c->fd, pieces, most);
        else
            done = sendmmsg(c->fd, heads, (unsigned)most, MSG_NOSIGNAL);
        if (done <= 0) {
            fail(l, &c->fd);
            return;
        }
        c->sent += (uint32_t)done;
        count -= done;
    }
}

/* Returns how many came, or -1 where the socket is broken or one is wrong. */
static int receive(struct load *l, struct connection *c) {
    struct mmsghdr heads[AT_ONCE];
    struct iovec pieces[AT_ONCE];
    int count;

    for (int i = 0; i < AT_ONCE; i++) {
        pieces[i] = (struct iovec){in[i], sizeof in[i]};
        heads[i] = (struct mmsghdr){.msg_hdr = {.msg_iov = &pieces[i], .msg_iovlen = 1}};
    }
    count = recvmmsg(c->fd, heads, AT_ONCE, MSG_DONTWAIT, NULL);
    if (count < 0 && (errno == EAGAIN || errno == EINTR))
        return 0;
    for (int i = 0; i < count; i++) {
        stamp(l, c, c->received + (uint32_t)i);
        if (c->received + (uint32_t)i == c->sent || heads[i].msg_len != (unsigned)l->want.size ||
            memcmp(in[i], message, (size_t)l->want.size) != 0)
            count = -1;
    }
    if (count < 0)
        fail(l, &c->fd);
    else
        c->received += (uint32_t)count;
    return count;
}

static void open_connection(struct load *l, int number) {
    struct connection *c = &l->connections[number];

    c->fd = socket(AF_INET, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (c->fd < 0)
        die("socket");
    if (start_connecting(c->fd, l->want.port) < 0) {
        fail(l, &c->fd);
        return;
    }
    watch(l, EPOLL_CTL_ADD, c->fd, EPOLLIN, c);
    send_some(l, c, 1, now_ns());
}

static void serve(struct load *l, struct connection *c, uint32_t events) {
    uint64_t now;
    int count;

    (void)events;
    if (c->fd < 0)
        return;
    count = receive(l, c);
    if (count <= 0 || (l->phase == DRAINING && c->received < c->sent) || !finish(l))
        return;
    now = now_ns();
    for (int i = 1; i <= count; i++)
        count_message(&l->tally, c->started[(c->received - (uint32_t)i) % FLIGHT_MAX], now);
    send_some(l, c, count, now);
}

static void begin(struct load *l) {
    for (int i = 0; i < l->want.connections; i++)
        send_some(l, &l->connections[i], l->want.flight, now_ns());
}

int main(int argc, char **argv) {
    static struct load l = {
        .want = {.connections = 50, .size = 64, .seconds = 2, .warmup = 0.5, .patience = 30, .flight = 1},
    };

    parse(argc, argv, &l.want, (struct bounds){STAMP, SIZE_MOST, FLIGHT_MAX - 1});
    fill_message();
    return run_load(&l, sizeof *l.connections);
}
