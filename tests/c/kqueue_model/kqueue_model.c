/* SPDX-License-Identifier: MIT
 *
 * kqueue(2) as its man page tells it, on top of epoll. What it does not model: that closing a descriptor ends its
 * registrations even where a dup lives on (epoll's go on, so the poller's ghosts are tested here too).
 */
#define _GNU_SOURCE 1 /* for ppoll */
#include <sys/event.h>

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/syscall.h>
#include <sys/timerfd.h>
#include <unistd.h>

enum { QUEUES = 16, IDENTS = 4096, FILTERS = 3, BATCH = 256, TIMER = -1 /* as an ident */ };

static const struct {
    int filter;
    uint32_t interest, fires, ends;
} kinds[FILTERS] = {
    {EVFILT_READ, EPOLLIN | EPOLLRDHUP, EPOLLIN | EPOLLRDHUP | EPOLLHUP | EPOLLERR, EPOLLRDHUP | EPOLLHUP | EPOLLERR},
    {EVFILT_WRITE, EPOLLOUT, EPOLLOUT | EPOLLHUP | EPOLLERR, EPOLLHUP | EPOLLERR},
    {EVFILT_EXCEPT, EPOLLPRI, EPOLLPRI, 0},
};

static struct queue {
    int fd;    /* of an epoll instance; 0: free */
    int timer; /* a timerfd; 0: none */
    unsigned turn;
    struct {
        int there[FILTERS];
        void *udata[FILTERS];
    } notes[IDENTS];
} queues[QUEUES];

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_once_t once = PTHREAD_ONCE_INIT;

/* The child of a fork inherits no queue. Its descriptors stay open there: some may have been closed and reused since. */
static void forget_queues(void) {
    lock = (pthread_mutex_t)PTHREAD_MUTEX_INITIALIZER;
    for (int i = 0; i < QUEUES; i++)
        queues[i].fd = 0;
}

static void watch_forks(void) {
    pthread_atfork(NULL, NULL, forget_queues);
}

int kqueue(void) {
    pthread_once(&once, watch_forks);
    int fd = epoll_create1(0);
    if (fd < 0)
        return -1;
    pthread_mutex_lock(&lock);
    for (int i = 0; i < QUEUES; i++) {
        if (queues[i].fd && queues[i].fd != fd && fcntl(queues[i].fd, F_GETFD) >= 0)
            continue;
        memset(&queues[i], 0, sizeof queues[i]);
        queues[i].fd = fd;
        break;
    }
    pthread_mutex_unlock(&lock);
    return fd;
}

static struct queue *find(int fd) {
    for (int i = 0; i < QUEUES; i++)
        if (queues[i].fd == fd)
            return &queues[i];
    return NULL;
}

/* A queue takes its timer along. */
int close(int fd) {
    pthread_mutex_lock(&lock);
    struct queue *q = fd > 0 ? find(fd) : NULL;
    if (q && q->timer)
        syscall(SYS_close, q->timer);
    if (q)
        q->fd = q->timer = 0;
    pthread_mutex_unlock(&lock);
    return (int)syscall(SYS_close, fd);
}

static void stop_timer(struct queue *q) {
    syscall(SYS_close, q->timer);
    q->timer = 0;
}

/* One that is there is not started anew, as on the systems that are slowest to. */
static int change_timer(struct queue *q, const struct kevent *wanted) {
    if (wanted->flags & EV_DELETE) {
        if (!q->timer)
            return ENOENT;
        stop_timer(q);
        return 0;
    }
    if (q->timer)
        return 0;
    int64_t left = wanted->data * (wanted->fflags & NOTE_NSECONDS ? 1 : 1000000);
    struct itimerspec spec = {.it_value = {.tv_sec = left / 1000000000, .tv_nsec = left % 1000000000}};
    struct epoll_event event = {.events = EPOLLIN, .data.fd = TIMER};
    q->timer = timerfd_create(CLOCK_MONOTONIC, 0);
    timerfd_settime(q->timer, 0, &spec, NULL);
    return epoll_ctl(q->fd, EPOLL_CTL_ADD, q->timer, &event) < 0 ? errno : 0;
}

static int tell_epoll(struct queue *q, int ident) {
    struct epoll_event event = {.data.fd = ident};
    for (int k = 0; k < FILTERS; k++)
        if (q->notes[ident].there[k])
            event.events |= kinds[k].interest;
    if (!event.events)
        return epoll_ctl(q->fd, EPOLL_CTL_DEL, ident, NULL) < 0 ? errno : 0;
    if (epoll_ctl(q->fd, EPOLL_CTL_ADD, ident, &event) == 0)
        return 0;
    return errno != EEXIST || epoll_ctl(q->fd, EPOLL_CTL_MOD, ident, &event) < 0 ? errno : 0;
}

static int change(struct queue *q, const struct kevent *wanted) {
    int ident = (int)wanted->ident;
    if (wanted->filter == EVFILT_TIMER)
        return change_timer(q, wanted);
    for (int k = 0; k < FILTERS; k++) {
        if (kinds[k].filter != wanted->filter)
            continue;
        int before = q->notes[ident].there[k];
        if (wanted->flags & EV_DELETE && !before)
            return ENOENT;
        q->notes[ident].there[k] = (wanted->flags & EV_ADD) != 0;
        q->notes[ident].udata[k] = wanted->udata;
        int error = tell_epoll(q, ident);
        if (error)
            memset(&q->notes[ident], 0, sizeof q->notes[ident]);
        return error && wanted->flags & EV_DELETE ? ENOENT : error; /* closing has deleted it */
    }
    return EINVAL;
}

static int fire(struct queue *q, const struct epoll_event *event, struct kevent *out, int room) {
    int n = 0, ident = event->data.fd;
    if (ident == TIMER) {
        EV_SET(&out[0], 0, EVFILT_TIMER, 0, 0, 1, NULL);
        stop_timer(q);
        return 1;
    }
    for (int i = 0; i < FILTERS && n < room; i++) {
        int k = (int)((q->turn + (unsigned)i) % FILTERS);
        if (!q->notes[ident].there[k] || !(event->events & kinds[k].fires))
            continue;
        EV_SET(&out[n], (uintptr_t)ident, kinds[k].filter, event->events & kinds[k].ends ? EV_EOF : 0,
               event->events & EPOLLERR ? EIO : 0, 0, q->notes[ident].udata[k]);
        n++;
    }
    return n;
}

int kevent(int queue, const struct kevent *changes, int change_count, struct kevent *events, int room,
           const struct timespec *limit) {
    struct epoll_event ready[BATCH];
    pthread_mutex_lock(&lock);
    struct queue *q = find(queue);
    for (int i = 0; q && i < change_count; i++) {
        struct kevent answer = changes[i];
        answer.flags = EV_ERROR;
        answer.data = change(q, &changes[i]);
        events[i] = answer;
    }
    pthread_mutex_unlock(&lock);
    if (!q)
        return errno = EBADF, -1;
    if (change_count)
        return change_count;
    struct pollfd readable = {.fd = queue, .events = POLLIN};
    if (ppoll(&readable, 1, limit, NULL) < 0)
        return -1;
    int got = epoll_wait(queue, ready, room < BATCH ? room : BATCH, 0);
    if (got < 0)
        return -1;
    pthread_mutex_lock(&lock);
    int n = 0;
    for (int i = 0; i < got; i++)
        n += fire(q, &ready[i], events + n, room - n);
    q->turn++;
    pthread_mutex_unlock(&lock);
    return n;
}
