# SPDX-License-Identifier: MIT
# Declares what is in cpython.h, where each is described.

from cpython.object cimport PyObject, PyTypeObject
from libc.stdint cimport uint64_t

cdef extern from "cpython.h":
    bint CYN_FREE_THREADS
    int cyn_see_int(const int *number) noexcept
    void cyn_set_int(int *number, int value) noexcept
    void cyn_add_int(int *number, int more) noexcept
    unsigned long cyn_see_thread(const unsigned long *thread) noexcept
    void cyn_set_thread(unsigned long *thread, unsigned long value) noexcept
    unsigned long cyn_see_count(const unsigned long *count) noexcept
    void cyn_set_count(unsigned long *count, unsigned long value) noexcept
    void cyn_add_count(unsigned long *count, unsigned long more) noexcept
    bint CYN_DICTS_HAVE_VERSIONS

    unsigned cyn_type_version(type kind) noexcept
    unsigned cyn_version_of_type "cyn_type_version"(PyTypeObject *kind) noexcept
    void *cyn_type_mro(type kind) noexcept
    int cyn_delete(object owner, object name) except -1
    void *cyn_type_setter(PyTypeObject *kind) noexcept
    object cyn_type_dict(type kind)
    object cyn_root_ready()
    int cyn_initialise(type kind, object made, tuple arguments) except -1

    ctypedef PyObject *(*vectorcallfunc)(PyObject *, PyObject *const *, size_t, PyObject *) noexcept
    bint cyn_is_for(PyObject *method, PyObject *const *arguments, size_t count) noexcept
    PyObject *cyn_call_if_for(
        PyObject *method, PyObject *const *arguments, size_t count, PyObject *names, vectorcallfunc call
    ) noexcept
    void cyn_guard(object method, type kind, const vectorcallfunc *guards, vectorcallfunc *calls) noexcept

    uint64_t cyn_dict_version(object dict) noexcept
    ctypedef int cyn_dict_event
    cyn_dict_event CYN_DICT_FREED
    int cyn_watcher_add(int (*watcher)(cyn_dict_event, PyObject *, PyObject *, PyObject *) noexcept) noexcept
    int cyn_watch(int watcher, object dict) except -1
    void cyn_unwatch(int watcher, object dict) noexcept
    int cyn_dict_holds(object dict, tuple names, list held, object missing) except -1

    struct cyn_names:
        pass
    int cyn_names_add(cyn_names *names, object name) except -1
    bint cyn_names_may_have(const cyn_names *names, object name) noexcept

    object cyn_call_one(object function, object argument)
    object cyn_call_two(object function, object first, object second)
    bint cyn_may_have_attributes(object function) noexcept
    bint cyn_list_empty(object items) noexcept
    int cyn_socket_fd(object plain_socket) noexcept
    bint cyn_has_threads() noexcept
    void **cyn_ticking() noexcept
