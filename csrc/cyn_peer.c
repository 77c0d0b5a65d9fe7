/* SPDX-License-Identifier: MIT */
#include "cyn_sys.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <string.h>

#include "cyn_peer.h"

union address {
    struct sockaddr any;
    struct sockaddr_in four;
    struct sockaddr_in6 six;
    struct sockaddr_storage whole;
};

static int keep(struct cyn_peer *peer, const union address *from, socklen_t size) {
    *peer = (struct cyn_peer){0};
    if (size >= sizeof from->four && from->any.sa_family == AF_INET) {
        peer->port = ntohs(from->four.sin_port);
        memcpy(peer->host, &from->four.sin_addr, 4);
    } else if (size >= sizeof from->six && from->any.sa_family == AF_INET6) {
        peer->port = ntohs(from->six.sin6_port);
        peer->flow = ntohl(from->six.sin6_flowinfo);
        peer->scope = from->six.sin6_scope_id;
        memcpy(peer->host, &from->six.sin6_addr, 16);
    } else {
        return 0;
    }
    peer->family = from->any.sa_family;
    return 1;
}

int cyn_peer_of(const struct sockaddr *address, socklen_t size, struct cyn_peer *peer) {
    union address from;
    if (size > sizeof from)
        size = sizeof from;
    memcpy(&from, address, size);
    return keep(peer, &from, size);
}

int cyn_peer_find(int fd, struct cyn_peer *peer) {
    union address from;
    socklen_t size = sizeof from;
    if (CYN_SYS(getpeername)(fd, &from.any, &size) < 0)
        return -errno;
    return keep(peer, &from, size);
}

int cyn_peer_accept(int fd, struct cyn_peer *peer) {
#if CYN_HAVE_ACCEPT4
    union address from;
    socklen_t size = sizeof from;
    int made = CYN_SYS(accept4)(fd, &from.any, &size, SOCK_CLOEXEC);
    if (made < 0)
        return -errno;
    keep(peer, &from, size);
    return made;
#else
    (void)fd;
    (void)peer;
    return -ENOSYS; /* without accept4 a socket may inherit O_NONBLOCK, and clearing it costs what is gained */
#endif
}

/* Faster than inet_ntop(), which calls printf for four small numbers. */
static int four_text(const uint8_t host[4], char *text) {
    char *at = text;
    for (int i = 0; i < 4; i++) {
        unsigned byte = host[i];
        if (byte >= 100)
            *at++ = (char)('0' + byte / 100);
        if (byte >= 10)
            *at++ = (char)('0' + byte / 10 % 10);
        *at++ = (char)('0' + byte % 10);
        *at++ = i < 3 ? '.' : '\0';
    }
    return (int)(at - text) - 1;
}

int cyn_peer_host(const struct cyn_peer *peer, char text[CYN_PEER_TEXT]) {
    if (peer->family == AF_INET)
        return four_text(peer->host, text);
    text[0] = '\0';
    if (peer->family == AF_INET6)
        inet_ntop(AF_INET6, peer->host, text, CYN_PEER_TEXT);
    return (int)strlen(text);
}
