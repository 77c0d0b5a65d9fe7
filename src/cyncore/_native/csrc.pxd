# SPDX-License-Identifier: MIT
# Declares what the extension modules use of csrc. Its headers describe each.

from libc.stdint cimport int64_t, uint8_t, uint16_t, uint32_t, uint64_t

cdef extern from "cyn_poller.h" nogil:
    enum:
        CYN_READ
        CYN_WRITE
        CYN_PRI
        CYN_ERR
        CYN_HUP
        CYN_NVAL

    struct cyn_event:
        int fd
        uint32_t generation
        uint32_t ready
        int error

    struct cyn_poller:
        int tries
        int dirty_count

    unsigned cyn_fork_epoch
    const char *const *cyn_poller_names

    int cyn_poller_open(cyn_poller *p, const char *name)
    void cyn_poller_close(cyn_poller *p)
    const char *cyn_poller_backend(const cyn_poller *p)
    int cyn_poller_add(cyn_poller *p, int fd, void *owner)
    int cyn_poller_want(cyn_poller *p, int fd, unsigned mask)
    int cyn_poller_remove(cyn_poller *p, int fd)
    int cyn_poller_apply(cyn_poller *p, int audit)
    int cyn_poller_refused(const cyn_poller *p, int *fd)
    int cyn_poller_wait(cyn_poller *p, cyn_event *out, int room, int64_t timeout)
    int cyn_poller_host(cyn_poller *p)
    bint cyn_poller_is_busy(const cyn_poller *p)
    int cyn_poller_fd(const cyn_poller *p)
    int cyn_poller_alarm(cyn_poller *p, int64_t when)

cdef extern from "cyn_slots.h" nogil:
    void *cyn_poller_owner(const cyn_poller *p, const cyn_event *event)
    unsigned cyn_poller_wanted(const cyn_poller *p, int fd)

cdef extern from "cyn_wake.h" nogil:
    struct cyn_wake:
        pass

    int cyn_wake_fd(const cyn_wake *w)
    void cyn_wake_forget(cyn_wake *w)
    int cyn_wake_open(cyn_wake *w)
    void cyn_wake_close(cyn_wake *w)
    int cyn_wake_signal(const cyn_wake *w)
    int cyn_wake_drain(const cyn_wake *w)

cdef extern from "cyn_timers.h" nogil:
    struct cyn_timer:
        size_t place

    struct cyn_timers:
        pass

    size_t CYN_TIMER_IDLE

    int cyn_timers_add(cyn_timers *ts, cyn_timer *t, int64_t due)
    int cyn_timers_cancel(cyn_timers *ts, cyn_timer *t)
    uint64_t cyn_timers_mark(const cyn_timers *ts)
    size_t cyn_timers_count(const cyn_timers *ts)
    cyn_timer *cyn_timers_due(cyn_timers *ts, int64_t now, uint64_t mark)
    int64_t cyn_timers_next(const cyn_timers *ts)
    void cyn_timers_free(cyn_timers *ts)
    int64_t cyn_clock()

cdef extern from "cyn_threads.h" nogil:
    long cyn_others_blocked()
    void cyn_nap(long ns)
    int cyn_yield(long blocked)

cdef extern from "cyn_figures.h" nogil:
    enum:
        CYN_TIMES_FIRST
        CYN_TIMES
        CYN_STAMP

    struct cyn_times:
        uint64_t *counts
        uint64_t total
        uint64_t most

    struct cyn_figures:
        uint64_t events
        uint64_t calls
        uint64_t sweeps
        uint64_t accepts
        uint64_t errors
        uint64_t received
        uint64_t sent
        int64_t begun
        int64_t since
        uint32_t stamp
        cyn_times lag
        cyn_times handlers

    void cyn_times_note(cyn_times *times, int64_t ns)

cdef extern from "cyn_peer.h" nogil:
    enum:
        CYN_PEER_TEXT

    struct cyn_peer:
        uint16_t family
        uint16_t port
        uint32_t flow
        uint32_t scope
        uint8_t host[16]

    int cyn_peer_find(int fd, cyn_peer *peer)
    int cyn_peer_accept(int fd, cyn_peer *peer)
    int cyn_peer_host(const cyn_peer *peer, char *text)

cdef extern from "cyn_datagram.h" nogil:
    struct iovec:
        void *iov_base
        size_t iov_len

    enum:
        CYN_DATAGRAMS
        CYN_WANT_SENDER
        CYN_WANT_CONTROL
        CYN_TELL_FAILURES
        CYN_TELL_DESTINATION
        CYN_JOIN_SEGMENTS
        CYN_CAN_SEGMENT

    struct sockaddr:
        unsigned short sa_family
    struct sockaddr_un:
        char *sun_path

    struct cyn_name:
        unsigned size
        sockaddr any
        sockaddr_un path

    struct cyn_inbound:
        pass

    struct cyn_datagram:
        const char *data
        size_t size
        size_t whole
        size_t segment
        const cyn_name *from_ "from"
        cyn_peer to

    struct cyn_outbound:
        int count
        iovec *pieces
        cyn_name *names
        cyn_peer *sources

    struct cyn_mishap:
        int error
        int is_local
        cyn_name to

    int cyn_inbound_open(cyn_inbound *inbound)
    void cyn_inbound_close(cyn_inbound *inbound)
    int cyn_inbound_take(cyn_inbound *inbound, int fd, int room, unsigned wanted)
    void cyn_inbound_read(const cyn_inbound *inbound, int at, cyn_datagram *found)
    size_t cyn_inbound_size(const cyn_inbound *inbound, int count)
    int cyn_outbound_send(cyn_outbound *out, int fd, int first, unsigned *most)
    int cyn_mishap_take(int fd, cyn_mishap *mishap)
    unsigned cyn_datagram_options(int fd, int family, unsigned wanted)
    int cyn_name_make(cyn_name *name, int family, const char *host, const cyn_peer *rest)
    int cyn_name_peer(const cyn_name *name, cyn_peer *peer)
    uint64_t cyn_name_hash(const cyn_name *name)

cdef extern from "cyn_sys.h" nogil:
    bint CYN_HAVE_ACCEPT4
    int cyn_close "CYN_SYS(close)"(int fd)
    int FIONREAD
    int TIOCOUTQ
    int MSG_DONTWAIT
    int MSG_NOSIGNAL
    struct pollfd:
        int fd
        short events
        short revents
    short POLLIN, POLLERR, POLLHUP
    int F_GETFD
    int cyn_fcntl "CYN_SYS(fcntl)"(int fd, int command)
    int cyn_ioctl "CYN_SYS(ioctl)"(int fd, unsigned long request, int *value)
    int cyn_poll "CYN_SYS(poll)"(pollfd *fds, unsigned long count, int timeout)
    ssize_t cyn_recv "CYN_SYS(recv)"(int fd, void *buffer, size_t size, int flags)
    ssize_t cyn_send "CYN_SYS(send)"(int fd, const void *data, size_t size, int flags)
    struct msghdr:
        iovec *msg_iov
        size_t msg_iovlen
    ssize_t cyn_sendmsg "CYN_SYS(sendmsg)"(int fd, const msghdr *message, int flags)

cdef extern from "cyn_probe.h" nogil:
    void cyn_probe_event(int fd, uint32_t ready, const char *kind) noexcept
    void cyn_probe_call(const void *handle) noexcept
