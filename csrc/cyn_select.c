/* SPDX-License-Identifier: MIT
 *
 * The backend for select(2).
 *
 * Facts:
 * - The kernel accepts bit arrays of any length. Only fd_set of the C library ends at FD_SETSIZE, and its FD_SET aborts
 *   beyond that in a fortified build. Linux and the BSDs accept a larger nfds, macOS with _DARWIN_UNLIMITED_SELECT.
 * - The kernel overwrites the sets with its answer.
 * - A descriptor with an error or a hang-up is reported as readable and writable, and not as either (select(2), Notes).
 * - If one descriptor is closed, the whole call fails with EBADF, which does not say which one it is.
 * - The arrays consist of words in the byte order of the machine. So on a big-endian machine our word must have the
 *   size of the kernel's.
 *
 * Consequences:
 * - The backend has bit arrays of its own. A wait works on a copy, so that another thread may remove bits meanwhile.
 *   The lock guards the arrays, not the wait.
 * - The descriptors that are reported are passed to poll(2), which distinguishes errors and hang-ups. If poll reports
 *   nothing for one of them, as for devices on macOS, the answer of select is used.
 * - After EBADF each descriptor is tested, and the closed ones are reported and removed.
 */
#include "cyn_backend.h"

#include <errno.h>
#include <limits.h>
#include <string.h>

#include "cyn_sys.h"

#if defined(__linux__) || defined(__FreeBSD__)
typedef unsigned long word;
#else
typedef uint32_t word;
#endif

/* A block has 64 bits, since a kernel may read whole longs. */
enum { WORD_BITS = sizeof(word) * CHAR_BIT, BLOCK_BITS = 64, SETS = 3, BATCH = 64 };

static const unsigned interest[SETS] = {CYN_READ, CYN_WRITE, CYN_PRI};

struct select_state {
    pthread_mutex_t lock;
    word *watched[SETS], *copy[SETS]; /* in one block of memory, which begins at watched[0] */
    int bits;                         /* in each array */
    int end;                          /* one more than the highest descriptor that was ever watched */
    uint32_t *generations;            /* by descriptor; only apply writes them */
    int generation_room;
    int start; /* where the next wait begins to look */
};

static int select_open(struct cyn_poller *p) {
    struct select_state *s = CYN_SYS(calloc)(1, sizeof *s);
    if (!s)
        return -ENOMEM;
    s->lock = (pthread_mutex_t)PTHREAD_MUTEX_INITIALIZER;
    p->state = s;
    return 0;
}

/* The lock is not taken: in the child of a fork, a thread that is not there may hold it for ever. */
static void select_close(struct cyn_poller *p) {
    struct select_state *s = p->state;
    CYN_SYS(free)(s->watched[0]);
    CYN_SYS(free)(s->generations);
    CYN_SYS(free)(s);
}

static void put_bit(word *set, int fd, int on) {
    word bit = (word)1 << (fd % WORD_BITS);
    if (on)
        set[fd / WORD_BITS] |= bit;
    else
        set[fd / WORD_BITS] &= ~bit;
}

static unsigned mask_of(word *const sets[SETS], int fd) {
    unsigned mask = 0;
    for (int k = 0; k < SETS; k++)
        if (sets[k][fd / WORD_BITS] >> (fd % WORD_BITS) & 1)
            mask |= interest[k];
    return mask;
}

static void watch(struct select_state *s, int fd, unsigned mask) {
    pthread_mutex_lock(&s->lock);
    if (fd < s->bits)
        for (int k = 0; k < SETS; k++)
            put_bit(s->watched[k], fd, (mask & interest[k]) != 0);
    pthread_mutex_unlock(&s->lock);
}

static int make_room(struct select_state *s, int fd) {
    uint32_t *generations = cyn_grow(s->generations, &s->generation_room, fd + 1, sizeof *generations);
    if (!generations)
        return -ENOMEM;
    s->generations = generations;
    if (fd < s->bits)
        return 0;
    size_t bits = ((size_t)s->generation_room + BLOCK_BITS - 1) / BLOCK_BITS * BLOCK_BITS, words = bits / WORD_BITS;
    word *block = CYN_SYS(calloc)(2 * SETS * words, sizeof *block);
    if (!block || bits > INT_MAX) {
        CYN_SYS(free)(block);
        return -ENOMEM;
    }
    word *before = s->watched[0];
    for (int k = 0; k < SETS; k++) {
        word *watched = block + (size_t)k * words;
        if (before)
            memcpy(watched, s->watched[k], (size_t)s->bits / CHAR_BIT);
        s->watched[k] = watched;
        s->copy[k] = watched + SETS * words;
    }
    s->bits = (int)bits;
    CYN_SYS(free)(before);
    return 0;
}

static int select_set(struct cyn_poller *p, int fd, unsigned armed, unsigned wanted, uint32_t generation) {
    struct select_state *s = p->state;
    (void)armed;
    if (wanted) {
        if (make_room(s, fd) < 0)
            return -ENOMEM;
        s->generations[fd] = generation;
        if (s->end <= fd)
            s->end = fd + 1;
    }
    watch(s, fd, wanted);
    return 0;
}

/* Returns the next descriptor from `fd` on that is in one of the copied sets, or `end`. */
static int next_of(const struct select_state *s, int fd, int end) {
    while (fd < end) {
        if (fd % WORD_BITS == 0) {
            int at = fd / WORD_BITS;
            if (!(s->copy[0][at] | s->copy[1][at] | s->copy[2][at])) {
                fd += WORD_BITS;
                continue;
            }
        }
        if (mask_of(s->copy, fd))
            return fd;
        fd++;
    }
    return end;
}

/* Reports the closed descriptors after EBADF, as many as there is room for. EBADF has left the copies as they were. */
static int pin_closed(struct select_state *s, struct cyn_event *out, int room) {
    int n = 0;
    for (int fd = next_of(s, 0, s->end); fd < s->end && n < room; fd = next_of(s, fd + 1, s->end)) {
        if (CYN_SYS(fcntl)(fd, F_GETFD) >= 0 || errno != EBADF)
            continue;
        watch(s, fd, 0);
        out[n++] = (struct cyn_event){fd, s->generations[fd], CYN_NVAL, EBADF};
    }
    return n;
}

/* Makes events of descriptors that select has reported, with the flags of one poll(2), or those of select if it has
 * none. */
static int ask_again(const struct select_state *s, struct pollfd *asked, int count, struct cyn_event *out) {
    int told = CYN_SYS(poll)(asked, (nfds_t)count, 0);
    for (int i = 0; i < count; i++) {
        int fd = asked[i].fd;
        unsigned flags = told > 0 ? cyn_from_poll(asked[i].revents) : 0;
        if (!flags || flags & CYN_NVAL)
            flags = mask_of(s->copy, fd);
        out[i] = (struct cyn_event){.fd = fd, .generation = s->generations[fd], .ready = flags};
    }
    return count;
}

/* Reports descriptors between `from` and `end` that are in the answer, as many as there is room for, and sets
 * `start`. */
static int collect(struct select_state *s, int from, int end, struct cyn_event *out, int room) {
    struct pollfd asked[BATCH];
    int n = 0, count = 0, fd = next_of(s, from, end);
    for (; fd < end && n + count < room; fd = next_of(s, fd + 1, end)) {
        asked[count++] = (struct pollfd){.fd = fd, .events = cyn_to_poll(mask_of(s->copy, fd))};
        if (count == BATCH) {
            n += ask_again(s, asked, count, out + n);
            count = 0;
        }
    }
    if (count)
        n += ask_again(s, asked, count, out + n);
    s->start = fd;
    return n;
}

static int select_wait(struct cyn_poller *p, struct cyn_event *out, int room, int64_t timeout) {
    struct select_state *s = p->state;
    const struct timespec limit = cyn_to_timespec(timeout);
    size_t size = ((size_t)s->end + BLOCK_BITS - 1) / BLOCK_BITS * BLOCK_BITS / CHAR_BIT;
    pthread_mutex_lock(&s->lock);
    for (int k = 0; k < SETS && size; k++)
        memcpy(s->copy[k], s->watched[k], size);
    pthread_mutex_unlock(&s->lock);
    int ready = CYN_SYS(pselect)(s->end, (void *)s->copy[0], (void *)s->copy[1], (void *)s->copy[2],
                                 timeout < 0 ? NULL : &limit, NULL);
    if (ready < 0)
        return errno == EBADF ? pin_closed(s, out, room) : -errno;
    if (ready == 0)
        return 0;
    int start = s->start < s->end ? s->start : 0;
    int n = collect(s, start, s->end, out, room);
    if (n < room)
        n += collect(s, 0, start, out + n, room - n);
    return n;
}

static int select_fd(const struct cyn_poller *p) {
    (void)p;
    return -ENOTSUP;
}

const struct cyn_backend cyn_select_backend = {
    .name = "select",
    .reports_closed = 1,
    .open = select_open,
    .close = select_close,
    .set = select_set,
    .wait = select_wait,
    .fd = select_fd,
};
