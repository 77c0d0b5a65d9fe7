# SPDX-License-Identifier: MIT
# cython: language_level=3, freethreading_compatible=True
"""A data race that is there on purpose: `run` builds it beside the engine's modules, and has it reported first."""

cdef extern from "cpython.h" nogil:
    int cyn_see_int(const int *number)
    void cyn_add_int(int *number, int more)

cdef extern from "unistd.h" nogil:
    int usleep(unsigned microseconds)

cdef enum:
    PATIENCE = 200_000  # ten seconds and more
cdef int _arrived
cdef int _counted


def count(int rounds, int threads):
    """Counts in a plain variable once a round, when all threads have come to that round.

    They are waited for with the relaxed atomics of the engine, which put nothing into an order. So no thread's count
    comes before that of another one, and each round is a race.
    """
    global _counted
    cdef int at, waited
    for at in range(1, rounds + 1):
        cyn_add_int(&_arrived, 1)
        with nogil:  # a thread that is about to begin may have to stop all others for a moment
            waited = 0
            while cyn_see_int(&_arrived) < at * threads and waited < PATIENCE:
                waited += 1
                usleep(50)
        if waited == PATIENCE:
            raise TimeoutError("the other thread has not come")
        _counted += 1
