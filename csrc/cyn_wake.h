/* SPDX-License-Identifier: MIT
 *
 * A descriptor that any thread can make readable, to end the wait of another. It is an eventfd, or a pipe if there is
 * none.
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

/* Marks it as closed without closing the descriptors: they were never open, or may be other files by now. */
static inline void cyn_wake_forget(struct cyn_wake *w) {
    w->read_fd = w->write_fd = -1;
}

int cyn_wake_open(struct cyn_wake *w); /* 0 or -errno. Both ends are non-blocking and close-on-exec. */
void cyn_wake_close(struct cyn_wake *w);

/* 0 or -errno. It is a success if a wake is pending already. May be called in any thread and in a signal handler. */
int cyn_wake_signal(const struct cyn_wake *w);

/* Takes all pending wakes. 0 or -errno. */
int cyn_wake_drain(const struct cyn_wake *w);

#endif
