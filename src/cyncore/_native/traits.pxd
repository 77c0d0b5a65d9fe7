# SPDX-License-Identifier: MIT
from libc.stdint cimport uint64_t

from .internals cimport cyn_see_count, cyn_see_int, cyn_type_mro, cyn_type_version

cdef enum:
    ASK_READ = 1 << 0     # defines readable
    ASK_WRITE = 1 << 1    # defines writable
    BUFFERED = 1 << 2     # wants to write while its buffer holds something
    READS = 1 << 3        # defines handle_read or handle_read_event
    WRITES = 1 << 4       # defines handle_write or handle_write_event
    URGENT = 1 << 5       # defines handle_expt or handle_expt_event
    READ_EVENT = 1 << 6   # defines handle_read_event
    WRITE_EVENT = 1 << 7  # defines handle_write_event
    ACCEPTS = 1 << 8      # defines handle_accept
    STATE = 1 << 9        # the class has an attribute of its own for one of the states
    OWN_SET = 1 << 10     # overrides how a channel gets its socket, or an attribute of it
    SHADOWS = 1 << 11     # has its own `socket`, `_fileno` or `_map`, which are used then
    ASK_STATE = 1 << 12   # the class computes one of the states
    OWN_OUT = 1 << 13     # has its own `out_buffer`


cdef class Traits:
    cdef type kind
    cdef int flags             # see `flags_of`
    cdef unsigned version      # of the class when it was read; 0: it had none. Used where no dict can be watched
    cdef unsigned long epoch   # *epoch_now when it was read. Used where the dicts of classes are watched
    cdef unsigned long *epoch_now  # counts changes in watched dicts; NULL: none are watched
    cdef unsigned long mro_now     # the address of `mro`, which can be looked at while another thread puts one there
    cdef unsigned long stamp   # counts how often the class was read
    cdef tuple mro
    cdef tuple names           # the names that were read
    cdef list dicts            # the dicts of the classes in `mro`, without `object`
    cdef list held             # for each of them, a list of what it has under `names`
    cdef list nothing          # such a list for a dict that has none of the names
    cdef Traits base           # set while the class is read, if it inherits everything: the traits of its base
    cdef list found            # what the class has or inherits under each of `names`, or None
    cdef uint64_t *versions    # version numbers of the dicts
    cdef int users             # how many channels of the class are in a loop
    cdef object readable
    cdef object writable
    cdef object handle_read
    cdef object handle_write
    cdef object settings       # what `settings` has read of a class of streams; else None
    cdef int read(self) except -1
    cdef int take(self, Traits fresh) except -1
    cdef int read_class(self) except -1
    cdef int read_names(self) except -1
    cdef int take_base(self, Traits base) except -1
    cdef int note_version(self, unsigned version, unsigned long epoch) noexcept
    cdef bint is_same(self) except -1
    cdef int check(self) except -1

cdef inline bint is_current(Traits traits) noexcept:
    """Returns True if the class has certainly not changed since it was read. False: perhaps; see `is_same`."""
    cdef unsigned version
    if traits.epoch_now is not NULL:
        return (
            cyn_see_count(&traits.epoch) == cyn_see_count(traits.epoch_now)
            and cyn_see_count(&traits.mro_now) == <unsigned long> cyn_type_mro(traits.kind)
        )
    version = <unsigned> cyn_see_int(<int *> &traits.version)
    return version != 0 and version == cyn_type_version(traits.kind)


cdef inline unsigned flags_of(Traits traits) noexcept:
    return <unsigned> cyn_see_int(&traits.flags)


cdef Traits traits_of(type kind)
cdef int follow(type base, object names) except -1
cdef unsigned traits_of_instance(unsigned own, unsigned flags) noexcept
cdef unsigned long revision() noexcept
