/* SPDX-License-Identifier: MIT
 *
 * kqueue(2) as its man page tells it, on top of epoll. What it does not model: that closing a descriptor ends its
 * registrations even where a dup lives on (epoll's go on, so the poller's ghosts are tested here too).
 */
#include <sys/event.h>

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

enum { QUEUES = 16, IDENTS = 4096, FILTERS = 3, BATCH = 256 };

static const struct {
    int filter;
    uint32_t interest, fires, ends;
} kinds[FILTERS] = {
    {EVFILT_READ, EPOLLIN | EPOLLRDHUP, EPOLLIN | EPOLLRDHUP | EPOLLHUP | EPOLLERR, EPOLLRDHUP | EPOLLHUP | EPOLLERR},
    {EVFILT_WRITE, EPOLLOUT, EPOLLOUT | EPOLLHUP | EPOLLERR, EPOLLHUP | EPOLLERR},
    {EVFILT_EXCEPT, EPOLLPRI, EPOLLPRI, 0},
};

static struct queue {
    int fd; /* of an epoll instance; 0: free */
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
    int got = epoll_wait(queue, ready, room < BATCH ? room : BATCH,
                         limit ? (int)(limit->tv_sec * 1000 + limit->tv_nsec / 1000000) : -1);
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
