/* SPDX-License-Identifier: MIT
 *
 * The reference for datagrams: a server that sends each one back, with one epoll_wait, one recvmmsg and one sendmmsg
 * for all that wait, 64 at most. It prints "listening PORT" and serves until it is killed.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

enum { AT_ONCE = 64, ROOM = 65536, STEP = ROOM + 320 /* so that not all begin in the same cache set */ };

static struct mmsghdr heads[AT_ONCE];
static struct iovec pieces[AT_ONCE];
static struct sockaddr_in names[AT_ONCE];
static char data[AT_ONCE][STEP];

static void die(const char *what) {
    perror(what);
    exit(1);
}

static int bind_to_loopback(void) {
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t length = sizeof address;
    int fd = socket(AF_INET, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

    if (fd < 0)
        die("socket");
    if (bind(fd, (struct sockaddr *)&address, length) < 0)
        die("bind");
    if (getsockname(fd, (struct sockaddr *)&address, &length) < 0)
        die("getsockname");
    printf("listening %d\n", ntohs(address.sin_port));
    fflush(stdout);
    return fd;
}

static void send_back(int fd, int count) {
    for (int at = 0; at < count;) {
        int sent = sendmmsg(fd, heads + at, (unsigned)(count - at), MSG_NOSIGNAL);

        if (sent < 0 && errno != EINTR)
            die("sendmmsg");
        at += sent > 0 ? sent : 0;
    }
}

static void serve(int fd) {
    int count;

    for (int i = 0; i < AT_ONCE; i++) {
        pieces[i] = (struct iovec){data[i], ROOM};
        heads[i].msg_hdr = (struct msghdr){.msg_name = &names[i], .msg_namelen = sizeof names[i]};
        heads[i].msg_hdr.msg_iov = &pieces[i];
        heads[i].msg_hdr.msg_iovlen = 1;
    }
    count = recvmmsg(fd, heads, AT_ONCE, MSG_DONTWAIT, NULL);
    if (count < 0 && errno != EAGAIN && errno != EINTR)
        die("recvmmsg");
    for (int i = 0; i < count; i++)
        pieces[i].iov_len = heads[i].msg_len;
    send_back(fd, count);
}

int main(void) {
    int poller = epoll_create1(EPOLL_CLOEXEC), fd = bind_to_loopback();
    struct epoll_event event = {.events = EPOLLIN};

    if (poller < 0 || epoll_ctl(poller, EPOLL_CTL_ADD, fd, &event) < 0)
        die("epoll");
    for (;;) {
        if (epoll_wait(poller, &event, 1, -1) > 0)
            serve(fd);
        else if (errno != EINTR)
            die("epoll_wait");
    }
}
