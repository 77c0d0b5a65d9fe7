/* SPDX-License-Identifier: MIT
 *
 * A descriptor that any thread can make readable, to end another thread's wait: eventfd, or a pipe elsewhere.
 */
#ifndef CYN_WAKE_H
#define CYN_WAKE_H

struct cyn_wake {
    int read_fd;  /* to be watched for CYN_READ; -1: closed */
    int write_fd; /* the same number for an eventfd */
};

static inline int cyn_wake_fd(const struct cyn_wake *w) {
    return w->read_fd;
}

/* Makes it closed without closing anything: where it never was open, or its numbers may belong to somebody else by now. */
static inline void cyn_wake_forget(struct cyn_wake *w) {
    w->read_fd = w->write_fd = -1;
}

int cyn_wake_open(struct cyn_wake *w); /* 0 or -errno; both ends non-blocking and close-on-exec */
void cyn_wake_close(struct cyn_wake *w);

/* 0 or -errno. A wake that is pending already (EAGAIN) is a success. From any thread, and from a signal handler. */
int cyn_wake_signal(const struct cyn_wake *w);

/* Takes all pending wakes. 0 or -errno. */
int cyn_wake_drain(const struct cyn_wake *w);

#endif
