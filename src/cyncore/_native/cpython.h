/* SPDX-License-Identifier: MIT
 *
 * Everything in which the engine relies on how CPython works inside, and what it does in builds that work differently.
 *
 * Each function names what it relies on, who guarantees that, and what other builds get instead:
 * - "documented": a part of the C API, which no release takes away without a warning. It needs no substitute.
 * - "header": a member of a struct in CPython's public headers, which no document promises. It is used in the versions
 *   for which CYN_INTERNALS is 1: those whose headers were read and for which the tests run.
 * - "layout": it is in no public header. The engine compares it with the documented way at run time before it is used.
 *
 * In a later version of CPython, and with -DCYN_NO_INTERNALS, each "header" and "layout" function uses the documented
 * API instead, or returns "not known" or "perhaps", for which its caller has a slower way. All sockets are then used
 * through their methods, and what the engine does for plain sockets only, such as accepting several connections for
 * one event, is not done. `CFLAGS=-DCYN_NO_INTERNALS python -m pip install -e .` builds that.
 *
 * The functions keep no state: what one module has to remember is a variable of that module, and is passed in. The one
 * exception is the variable of a thread at the end.
 */
#ifndef CYN_CPYTHON_H
#define CYN_CPYTHON_H

#include <Python.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#if PY_VERSION_HEX >= 0x030A0000 && PY_VERSION_HEX < 0x03100000 && !defined(CYN_NO_INTERNALS)
#define CYN_INTERNALS 1 /* CPython 3.10 to 3.15 */
#else
#define CYN_INTERNALS 0
#endif

/* Documented: is this the build without a GIL (3.13 on)? */
#ifdef Py_GIL_DISABLED
#define CYN_FREE_THREADS 1
#else
#define CYN_FREE_THREADS 0
#endif

/* For numbers that one thread writes while others look at them, or that several count in. What they see may be old by
 * then, and nobody relies on it; under the GIL these are plain accesses. */
static inline int cyn_see_int(const int *number) {
#if CYN_FREE_THREADS
    return __atomic_load_n(number, __ATOMIC_RELAXED);
#else
    return *number;
#endif
}

static inline void cyn_set_int(int *number, int value) {
#if CYN_FREE_THREADS
    __atomic_store_n(number, value, __ATOMIC_RELAXED);
#else
    *number = value;
#endif
}

static inline void cyn_add_int(int *number, int more) {
#if CYN_FREE_THREADS
    __atomic_fetch_add(number, more, __ATOMIC_RELAXED);
#else
    *number += more;
#endif
}

static inline unsigned long cyn_see_thread(const unsigned long *thread) {
#if CYN_FREE_THREADS
    return __atomic_load_n(thread, __ATOMIC_RELAXED);
#else
    return *thread;
#endif
}

static inline void cyn_set_thread(unsigned long *thread, unsigned long value) {
#if CYN_FREE_THREADS
    __atomic_store_n(thread, value, __ATOMIC_RELAXED);
#else
    *thread = value;
#endif
}

/* A number of which more follows: who sees its new value sees also what was written before that. */
static inline unsigned long cyn_see_count(const unsigned long *count) {
#if CYN_FREE_THREADS
    return __atomic_load_n(count, __ATOMIC_ACQUIRE);
#else
    return *count;
#endif
}

static inline void cyn_set_count(unsigned long *count, unsigned long value) {
#if CYN_FREE_THREADS
    __atomic_store_n(count, value, __ATOMIC_RELEASE);
#else
    *count = value;
#endif
}

static inline void cyn_add_count(unsigned long *count, unsigned long more) {
#if CYN_FREE_THREADS
    __atomic_fetch_add(count, more, __ATOMIC_ACQ_REL);
#else
    *count += more;
#endif
}

/* --- classes --- */

/* Is self, the first of the arguments of a method, certainly of the class of the method? Where each class has one base,
 * what follows that class is as in the class itself, which takes few instructions to see. Where `dispatcher` has come
 * between, as in `dispatcher_with_send`, it is one more. Header: the class, in PyCMethodObject, where `cyn_guard` has
 * put it. Elsewhere it is not called. */
static inline __attribute__((always_inline)) int cyn_is_for(PyObject *method, PyObject *const *arguments,
                                                            size_t count) {
#if CYN_INTERNALS && !CYN_FREE_THREADS
    PyTypeObject *kind = ((PyCMethodObject *)method)->mm_class;
    if (PyVectorcall_NARGS(count) == 0)
        return 0;
    PyObject *mro = Py_TYPE(arguments[0])->tp_mro;
    if (!mro) /* a class that is being made, or cleared */
        return 0;
    Py_ssize_t at = Py_SIZE(mro) - Py_SIZE(kind->tp_mro);
    PyObject **bases = ((PyTupleObject *)mro)->ob_item;
    return at >= 0 && (bases[at] == (PyObject *)kind || (at > 0 && bases[at - 1] == (PyObject *)kind));
#else
    (void)method, (void)arguments, (void)count;
    return 0;
#endif
}

/* Calls a method of which `cyn_is_for` was not certain. TypeError if self is of another class. Header: as above. */
static inline PyObject *cyn_call_if_for(PyObject *method, PyObject *const *arguments, size_t count, PyObject *names,
                                        vectorcallfunc call) {
#if CYN_INTERNALS
    PyTypeObject *kind = ((PyCMethodObject *)method)->mm_class;
    if (PyVectorcall_NARGS(count) > 0 && !PyObject_TypeCheck(arguments[0], kind)) {
        const char *dot = strrchr(kind->tp_name, '.');
        return PyErr_Format(PyExc_TypeError, "%s() was called for a %s, which is no %s",
                            ((PyCFunctionObject *)method)->m_ml->ml_name, Py_TYPE(arguments[0])->tp_name,
                            dot ? dot + 1 : kind->tp_name);
    }
#endif
    return call(method, arguments, count, names); /* which says itself that it needs a self */
}

/* Has a method of an extension class look at self before each call, by `guards`, which call what is kept in `calls`.
 *
 * Cython's methods do not: one that is called through its class for another object, or that another class has borrowed,
 * takes the memory of that object for its own. Nothing is done for what is no such method.
 *
 * Header: PyCMethodObject, 3.10 to 3.15. Layout: that Cython's functions begin with one, whose class they leave alone
 * unless they use super(). What they are called is compared, and their size. Elsewhere: nothing is done. */
static inline void cyn_guard(PyObject *method, PyTypeObject *kind, const vectorcallfunc *guards,
                             vectorcallfunc *calls) {
#if CYN_INTERNALS
    PyCMethodObject *made = (PyCMethodObject *)method;
    if (!strstr(Py_TYPE(method)->tp_name, "cython_function_or_method"))
        return;
    if (Py_TYPE(method)->tp_basicsize <= (Py_ssize_t)sizeof(PyCMethodObject))
        return;
    if (Py_TYPE(method)->tp_vectorcall_offset != (Py_ssize_t)offsetof(PyCFunctionObject, vectorcall))
        return;
    int flags = made->func.m_ml->ml_flags & (METH_VARARGS | METH_FASTCALL | METH_NOARGS | METH_O | METH_KEYWORDS);
    int way = flags == METH_NOARGS ? 0 : flags == METH_O ? 1 : flags == (METH_FASTCALL | METH_KEYWORDS) ? 2 : -1;
    if (way < 0 || made->mm_class || !made->func.vectorcall)
        return;
    if (calls[way] && calls[way] != made->func.vectorcall)
        return;
    calls[way] = made->func.vectorcall;
    Py_INCREF(kind);
    made->mm_class = kind;
    made->func.vectorcall = guards[way];
#else
    (void)method, (void)kind, (void)guards, (void)calls;
#endif
}

/* A number that changes whenever the class or a base of it does; 0: not known.
 *
 * Header: tp_version_tag, 3.10 to 3.15. A class has a number once something was looked up in it; after a change it has
 * none until the next look-up, and 3.12 and later give a class that changes very often none at all. 3.10 leaves the old
 * number in place and clears a flag instead. Elsewhere: always 0. */
static inline unsigned cyn_type_version(PyTypeObject *kind) {
#if CYN_INTERNALS && PY_VERSION_HEX < 0x030B0000
    return PyType_HasFeature(kind, Py_TPFLAGS_VALID_VERSION_TAG) ? kind->tp_version_tag : 0;
#elif CYN_INTERNALS && CYN_FREE_THREADS
    return __atomic_load_n(&kind->tp_version_tag, __ATOMIC_RELAXED);
#elif CYN_INTERNALS
    return kind->tp_version_tag;
#else
    (void)kind;
    return 0;
#endif
}

/* The tuple of the class and its bases, borrowed, to be compared with one that the caller holds. A change of
 * `__bases__` makes a new tuple. Documented: tp_mro. */
static inline void *cyn_type_mro(PyTypeObject *kind) {
    return kind->tp_mro;
}

/* The function that sets an attribute of an instance, to be compared. All classes that derive from one have its function,
 * but those with a `__setattr__` or `__delattr__` in Python have another. Documented: tp_setattro. */
static inline void *cyn_type_setter(PyTypeObject *kind) {
    return (void *)kind->tp_setattro;
}

/* Deletes an attribute. One that has a field in C, which Cython refuses to delete, is set to None instead, as which such
 * fields begin. A property of the program's may refuse it by the same exception, and is left alone. Documented. */
static inline int cyn_delete(PyObject *owner, PyObject *name) {
    if (PyObject_GenericSetAttr(owner, name, NULL) == 0)
        return 0;
    if (!PyErr_ExceptionMatches(PyExc_NotImplementedError))
        return -1;
    PyObject *type, *value, *trace;
    PyErr_Fetch(&type, &value, &trace);
    PyObject *found = PyObject_GetAttr((PyObject *)Py_TYPE(owner), name);
    int is_field = found && Py_IS_TYPE(found, &PyGetSetDescr_Type);
    Py_XDECREF(found);
    if (!is_field) {
        PyErr_Restore(type, value, trace);
        return -1;
    }
    Py_DECREF(type);
    Py_XDECREF(value);
    Py_XDECREF(trace);
    return PyObject_GenericSetAttr(owner, name, Py_None);
}

/* The dict of the class itself, to be read. TypeError where it has none that is a plain dict.
 *
 * Documented: PyType_GetDict from 3.12 on, tp_dict before. One use goes beyond that: traits.pyx also stores an entry
 * of its own in the dict, which does not update the cache of look-ups in the class. This is safe because the entry is
 * never looked up through the class. It is not done in a build without a GIL, where such a dict has a lock. */
static inline PyObject *cyn_type_dict(PyTypeObject *kind) {
#if PY_VERSION_HEX >= 0x030C0000
    PyObject *dict = PyType_GetDict(kind);
#else
    PyObject *dict = kind->tp_dict;
    Py_XINCREF(dict);
#endif
    if (dict && PyDict_CheckExact(dict))
        return dict;
    Py_XDECREF(dict);
    return PyErr_Format(PyExc_TypeError, "the class %s has no dict", kind->tp_name);
}

/* A new reference to the base class of Channel, which has nothing but a way to make instances. NULL with an exception.
 *
 * Documented: all that is called here. Why it is called is internal: 3.11 and 3.12 store the attributes of an instance
 * beside it, without a dict, only if object.__new__ made it, and Cython's own code calls tp_alloc instead. In other
 * versions this class does no harm. */
static inline PyObject *cyn_root_new(PyTypeObject *kind, PyObject *arguments, PyObject *names) {
    (void)arguments, (void)names;
    PyObject *none = PyTuple_New(0);
    if (!none)
        return NULL;
    PyObject *made = PyBaseObject_Type.tp_new(kind, none, NULL);
    Py_DECREF(none);
    return made;
}

static inline PyObject *cyn_root_ready(void) {
    static PyTypeObject root = {
        PyVarObject_HEAD_INIT(NULL, 0) /* ends with a comma */
            .tp_name = "cyncore._native.traits.Root",
        .tp_basicsize = sizeof(PyObject),
        .tp_flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_BASETYPE,
        .tp_new = cyn_root_new,
    };
    if (PyType_Ready(&root) < 0)
        return NULL;
    Py_INCREF((PyObject *)&root);
    return (PyObject *)&root;
}

/* `kind.__init__(made, *arguments)` of a class that is written in C, without looking `__init__` up. Documented:
 * tp_init. */
static inline int cyn_initialise(PyTypeObject *kind, PyObject *made, PyObject *arguments) {
    return kind->tp_init(made, arguments, NULL);
}

/* --- dicts --- */

/* 1 if a dict has a number that changes with every change of the dict. */
#if CYN_INTERNALS && PY_VERSION_HEX < 0x030C0000
#define CYN_DICTS_HAVE_VERSIONS 1
#else
#define CYN_DICTS_HAVE_VERSIONS 0
#endif

/* That number. Header: ma_version_tag, in 3.10 and 3.11; 3.12 brought watchers in its place. Elsewhere: always 0. */
static inline uint64_t cyn_dict_version(PyObject *dict) {
#if CYN_DICTS_HAVE_VERSIONS
    return ((PyDictObject *)dict)->ma_version_tag;
#else
    (void)dict;
    return 0;
#endif
}

/* Watchers: a function that is called with (event, dict, key, new value) before a watched dict changes. A process can
 * have eight. Documented: from 3.12 on. Before, and if all eight are taken, the answer is -1, and the caller compares
 * version numbers or contents instead. */
#if PY_VERSION_HEX >= 0x030C0000
typedef PyDict_WatchEvent cyn_dict_event;
#define CYN_DICT_FREED PyDict_EVENT_DEALLOCATED

static inline int cyn_watcher_add(int (*watcher)(cyn_dict_event, PyObject *, PyObject *, PyObject *)) {
    int id = PyDict_AddWatcher(watcher);
    if (id < 0)
        PyErr_Clear();
    return id;
}

static inline int cyn_watch(int watcher, PyObject *dict) {
    return PyDict_Watch(watcher, dict);
}

static inline void cyn_unwatch(int watcher, PyObject *dict) {
    if (PyDict_Unwatch(watcher, dict) < 0)
        PyErr_Clear();
}
#else
typedef int cyn_dict_event;
#define CYN_DICT_FREED (-1)

static inline int cyn_watcher_add(int (*watcher)(cyn_dict_event, PyObject *, PyObject *, PyObject *)) {
    (void)watcher;
    return -1;
}

static inline int cyn_watch(int watcher, PyObject *dict) {
    (void)watcher, (void)dict;
    return 0;
}

static inline void cyn_unwatch(int watcher, PyObject *dict) {
    (void)watcher, (void)dict;
}
#endif

/* 1 if `dict` has, under each of `names`, the same object as `held`; else 0. `missing` in `held` means that the name is
 * not in the dict. -1 with an exception. Documented; it is C because Cython would count references to each object. */
static inline int cyn_dict_holds(PyObject *dict, PyObject *names, PyObject *held, PyObject *missing) {
    for (Py_ssize_t i = 0; i < PyTuple_GET_SIZE(names); i++) {
        PyObject *found = PyDict_GetItemWithError(dict, PyTuple_GET_ITEM(names, i));
        if (!found && PyErr_Occurred())
            return -1;
        if ((found ? found : missing) != PyList_GET_ITEM(held, i))
            return 0;
    }
    return 1;
}

/* --- names --- */

/* A set of attribute names that answers "surely not" or "perhaps", from the low bits of a name's hash. With some 30
 * names in it, 3 % of all others are taken for one of them. All zero is the empty set. */
enum { CYN_NAMES = 1024 };
struct cyn_names {
    char has[CYN_NAMES];
};

/* -1 with an exception. A str whose hash was not computed yet shows -1 as its hash, and may be any name. So the place
 * of -1 is always in the set. */
static inline int cyn_names_add(struct cyn_names *names, PyObject *name) {
    Py_hash_t hash = PyObject_Hash(name);
    if (hash == -1)
        return -1;
    names->has[hash & (CYN_NAMES - 1)] = names->has[-1 & (CYN_NAMES - 1)] = 1;
    return 0;
}

/* `name` is a str. Documented, for code that is compiled for one version: PyUnstable_Unicode_GET_CACHED_HASH, from 3.15
 * on. Header: the member of PyASCIIObject that this reads, 3.10 to 3.14. Elsewhere: always "perhaps". */
static inline int cyn_names_may_have(const struct cyn_names *names, PyObject *name) {
#if CYN_INTERNALS && PY_VERSION_HEX >= 0x030F0000
    return names->has[PyUnstable_Unicode_GET_CACHED_HASH(name) & (CYN_NAMES - 1)];
#elif CYN_INTERNALS
    return names->has[((PyASCIIObject *)name)->hash & (CYN_NAMES - 1)];
#else
    (void)names, (void)name;
    return 1;
#endif
}

/* --- functions --- */

/* Calls a function of type FunctionType. `room` holds the arguments, after one free place.
 *
 * Header: the member `vectorcall` of PyFunctionObject, 3.10 to 3.15, which the interpreter itself calls. Calling it
 * directly saves looking up how the object is called. Elsewhere: PyObject_Vectorcall, which is documented. */
static inline PyObject *cyn_call(PyObject *function, PyObject **room, size_t count) {
#if CYN_INTERNALS
    return ((PyFunctionObject *)function)->vectorcall(function, room + 1, count | PY_VECTORCALL_ARGUMENTS_OFFSET, NULL);
#else
    return PyObject_Vectorcall(function, room + 1, count | PY_VECTORCALL_ARGUMENTS_OFFSET, NULL);
#endif
}

static inline PyObject *cyn_call_one(PyObject *function, PyObject *argument) {
    PyObject *room[2] = {NULL, argument};
    return cyn_call(function, room, 1);
}

static inline PyObject *cyn_call_two(PyObject *function, PyObject *first, PyObject *second) {
    PyObject *room[3] = {NULL, first, second};
    return cyn_call(function, room, 2);
}

/* 0 if a function of type FunctionType certainly has no attributes. Header: func_dict, 3.10 to 3.15. Elsewhere: 1. */
static inline int cyn_may_have_attributes(PyObject *function) {
#if CYN_INTERNALS
    return ((PyFunctionObject *)function)->func_dict != NULL;
#else
    (void)function;
    return 1;
#endif
}

/* --- lists --- */

/* Empties a list of bytes but keeps its memory, which clear() would free and the next tick allocate again. 1: done;
 * 0: nothing was done, because the list has more memory than an idle channel should keep.
 *
 * Header: `allocated` of PyListObject, 3.10 to 3.15, and that Py_SET_SIZE may set the size of a list and leave
 * `allocated`. No other thread may read the list meanwhile, so a build without a GIL does not do it. Elsewhere: 0. */
static inline int cyn_list_empty(PyObject *list) {
#if CYN_INTERNALS && !CYN_FREE_THREADS
    enum { MOST_KEPT = 16 }; /* places, as many as a short queue takes */
    Py_ssize_t left = PyList_GET_SIZE(list);
    if (((PyListObject *)list)->allocated > MOST_KEPT)
        return 0;
    while (left-- > 0) {
        PyObject *item = PyList_GET_ITEM(list, left);
        Py_SET_SIZE((PyVarObject *)list, left);
        Py_DECREF(item);
    }
    return 1;
#else
    (void)list;
    return 0;
#endif
}

/* --- sockets --- */

/* The descriptor of a `socket.socket`, -1 where it is closed; -2: not known.
 *
 * Layout: the descriptor is the first member of the C struct, right after the object's header, 3.10 to 3.15. A channel
 * that gets a socket compares it with `fileno()`, and where the two differ it calls the socket's methods from then on.
 * Elsewhere: -2, which `fileno()` never is. */
static inline int cyn_socket_fd(PyObject *sock) {
#if CYN_INTERNALS
    return *(int *)((char *)sock + sizeof(PyObject));
#else
    (void)sock;
    return -2;
#endif
}

/* --- threads --- */

/* 1 if this interpreter has another thread, which may wait for the GIL; else 0.
 *
 * Documented: the functions, for debuggers, which stop all threads first. Internal: while the GIL is held, the first
 * thread of the list does not end, so that reading its successor is safe. In a build without a GIL that is not safe,
 * and no thread waits for one: always 0. */
static inline int cyn_has_threads(void) {
#if CYN_FREE_THREADS
    return 0;
#else
    return PyThreadState_Next(PyInterpreterState_ThreadHead(PyInterpreterState_Get())) != NULL;
#endif
}

/* Where a thread keeps the loop whose tick is in progress in it, the innermost one; NULL if there is none. It uses
 * nothing of CPython: it is here because Cython cannot declare a thread-local variable. Each module that includes
 * this file has a variable of its own, so only registry.pyx uses it. */
static inline void **cyn_ticking(void) {
    static __thread void *loop;
    return &loop;
}

#endif
