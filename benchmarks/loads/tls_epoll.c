/* SPDX-License-Identifier: MIT
 *
 * The reference for TLS: an echo server that does only what OpenSSL and the kernel require, on the descriptor of the
 * connection, with buffers that OpenSSL releases when they are empty. It takes the certificate and the key as files.
 *
 * Where an answer does not fit, poll() waits for room: see echo_epoll.c.
 */
#include "listener.h"
#include <openssl/ssl.h>
#include <signal.h>

static SSL_CTX *context;

static epoll_data_t welcome(int fd) {
    SSL *tls = SSL_new(context);

    if (tls == NULL)
        die("SSL_new");
    SSL_set_fd(tls, fd);
    SSL_set_accept_state(tls);
    return (epoll_data_t){.ptr = tls};
}

static void end(SSL *tls) {
    int fd = SSL_get_fd(tls);

    SSL_free(tls);
    close(fd);
}

/* Returns 0, or -1 where the connection is broken. */
static int write_all(SSL *tls, const char *data, int size) {
    while (size > 0) {
        int n = SSL_write(tls, data, size);
        struct pollfd room = {.fd = SSL_get_fd(tls), .events = POLLOUT};

        if (n > 0) {
            data += n;
            size -= n;
        } else if (SSL_get_error(tls, n) == SSL_ERROR_WANT_WRITE) {
            poll(&room, 1, 1000);
        } else {
            return -1;
        }
    }
    return 0;
}

static void serve(epoll_data_t connection) {
    static char data[CHUNK];
    SSL *tls = connection.ptr;

    do {
        int n = SSL_read(tls, data, sizeof data), reason;

        if (n <= 0) {
            reason = SSL_get_error(tls, n);
            if (reason != SSL_ERROR_WANT_READ && reason != SSL_ERROR_WANT_WRITE)
                end(tls);
            return;
        }
        if (write_all(tls, data, n) < 0) {
            end(tls);
            return;
        }
    } while (SSL_pending(tls) > 0);
}

int main(int argc, char **argv) {
    if (argc != 3) {
        fprintf(stderr, "usage: %s CERT KEY\n", argv[0]);
        return 2;
    }
    signal(SIGPIPE, SIG_IGN); /* OpenSSL writes without MSG_NOSIGNAL */
    context = SSL_CTX_new(TLS_server_method());
    if (context == NULL || SSL_CTX_use_certificate_chain_file(context, argv[1]) != 1 ||
        SSL_CTX_use_PrivateKey_file(context, argv[2], SSL_FILETYPE_PEM) != 1)
        die("certificate");
    SSL_CTX_set_mode(context, SSL_MODE_RELEASE_BUFFERS | SSL_MODE_ENABLE_PARTIAL_WRITE);
    SSL_CTX_set_session_id_context(context, (const unsigned char *)"echo", 4);
    run_server();
}
