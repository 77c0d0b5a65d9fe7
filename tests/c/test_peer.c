/* SPDX-License-Identifier: MIT
 *
 * The address of a peer: kept as the kernel gives it, and as text.
 */
#include "cyn_sys.h"

#include <arpa/inet.h>
#include <netinet/in.h>

#include "check.h"
#include "cyn_peer.h"

/* A listener on the loopback of that family, and a client that has connected to it. */
static void listen_to(int family, int *listener, int *client) {
    struct sockaddr_in6 six = {.sin6_family = AF_INET6, .sin6_addr = IN6ADDR_LOOPBACK_INIT};
    struct sockaddr_in four = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    struct sockaddr *address = family == AF_INET ? (struct sockaddr *)&four : (struct sockaddr *)&six;
    socklen_t size = family == AF_INET ? sizeof four : sizeof six;
    *listener = socket(family, SOCK_STREAM, 0);
    check_keep(*listener);
    CHECK_EQ(bind(*listener, address, size), 0);
    CHECK_EQ(listen(*listener, 4), 0);
    CHECK_EQ(getsockname(*listener, address, &size), 0);
    *client = socket(family, SOCK_STREAM, 0);
    check_keep(*client);
    CHECK_EQ(connect(*client, address, size), 0);
}

static int port_of(int fd) {
    union {
        struct sockaddr any;
        struct sockaddr_in four;
        struct sockaddr_in6 six;
    } address;
    socklen_t size = sizeof address;
    CHECK_EQ(getsockname(fd, &address.any, &size), 0);
    return ntohs(address.any.sa_family == AF_INET ? address.four.sin_port : address.six.sin6_port);
}

static void finds(int family, const char *host) {
    int listener, client;
    struct cyn_peer peer;
    char text[CYN_PEER_TEXT];
    listen_to(family, &listener, &client);
    CHECK_EQ(cyn_peer_find(client, &peer), 1);
    CHECK_EQ(peer.family, family);
    CHECK_EQ(peer.port, port_of(listener));
    CHECK_EQ(cyn_peer_host(&peer, text), strlen(host));
    CHECK_EQ(strcmp(text, host), 0);
}

TEST(peer_of_an_ipv4_connection) {
    finds(AF_INET, "127.0.0.1");
}

TEST(peer_of_an_ipv6_connection) {
    finds(AF_INET6, "::1");
}

TEST(peer_of_another_family_is_not_kept) {
    int ends[2];
    struct cyn_peer peer;
    check_pair(ends);
    CHECK_EQ(cyn_peer_find(ends[0], &peer), 0);
    CHECK_EQ(peer.family, 0);
}

TEST(peer_of_nothing_is_an_error) {
    struct cyn_peer peer;
    int alone = socket(AF_INET, SOCK_STREAM, 0);
    check_keep(alone);
    CHECK_EQ(cyn_peer_find(alone, &peer), -ENOTCONN);
    CHECK_EQ(cyn_peer_find(-1, &peer), -EBADF);
}

TEST(ipv4_text_is_what_inet_ntop_makes) {
    uint32_t seed = 7;
    for (int i = 0; i < 2000; i++) {
        struct cyn_peer peer = {.family = AF_INET};
        char text[CYN_PEER_TEXT], wanted[CYN_PEER_TEXT];
        for (int at = 0; at < 4; at++) /* every byte value, and in the end any four of them */
            peer.host[at] = (uint8_t)(i < 256 ? (unsigned)i : check_random(&seed));
        inet_ntop(AF_INET, peer.host, wanted, sizeof wanted);
        CHECK_EQ(cyn_peer_host(&peer, text), strlen(wanted));
        CHECK_EQ(strcmp(text, wanted), 0);
    }
}

#if CYN_HAVE_ACCEPT4
TEST(accepted_socket_blocks_and_is_not_inherited) {
    int listener, client;
    struct cyn_peer peer;
    listen_to(AF_INET, &listener, &client);
    CHECK_EQ(fcntl(listener, F_SETFL, O_NONBLOCK), 0);
    int made = cyn_peer_accept(listener, &peer);
    CHECK(made >= 0);
    check_keep(made);
    CHECK_EQ(peer.port, port_of(client));
    CHECK_EQ(fcntl(made, F_GETFL) & O_NONBLOCK, 0);
    CHECK(fcntl(made, F_GETFD) & FD_CLOEXEC);
    CHECK_EQ(cyn_peer_accept(listener, &peer), -EAGAIN);
}
#else
TEST(accept_is_left_to_others) {
    struct cyn_peer peer;
    CHECK_EQ(cyn_peer_accept(0, &peer), -ENOSYS);
}
#endif
