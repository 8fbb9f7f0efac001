/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The floor of the benchmark: the system calls of the core for fresh sockets, in the order in which the core makes
 * them and with the same bytes, in bare loops. They decide nothing and remember nothing: what any program pays
 * that asks the kernel the same things.
 */
#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include <errno.h>
#include <netinet/in.h>
#include <stdint.h>
#include <sys/socket.h>
#include <unistd.h>

#ifndef SO_NETNS_COOKIE
#define SO_NETNS_COOKIE 71 /* Linux 5.14 */
#endif

enum { OPTIONS_MAX = 8 };

struct option {
    int level;
    int name;
    const char *value;
    socklen_t length;
};

struct work {
    Py_buffer sockets;
    int family;
    int type;
    int watch;
    int done; /* an error number by which an option says that it is set, or 0 */
    Py_ssize_t every; /* sockets from one look at watch to the next */
    Py_ssize_t options;
    struct option option[OPTIONS_MAX];
};

static int get(int fd, int name, void *value, socklen_t length)
{
    return getsockopt(fd, SOL_SOCKET, name, value, &length);
}

/* Nothing to hear is EAGAIN. */
static int hears(const struct work *work, Py_ssize_t index)
{
    char byte;

    if (index % work->every || recv(work->watch, &byte, 1, MSG_PEEK | MSG_DONTWAIT) < 0)
        return 0;
    errno = EBUSY;
    return 1;
}

/* This and those below return 0 if every call did what it does on a fresh socket. */
static int effect(const struct work *work, int *fd, Py_ssize_t index)
{
    (void)index;
    for (Py_ssize_t i = 0; i < work->options; i++) {
        const struct option *option = &work->option[i];

        if (setsockopt(*fd, option->level, option->name, option->value, option->length) ? errno != work->done
                                                                                        : work->done)
            return 1;
    }
    return 0;
}

static int inspect(const struct work *work, int *fd, Py_ssize_t index)
{
    union {
        struct sockaddr any;
        struct sockaddr_in6 in6;
    } name;
    socklen_t length = sizeof name;
    uint64_t cookie;
    uint64_t realm;
    uint32_t mark;
    int type;

    (void)work;
    (void)index;
    return getsockname(*fd, &name.any, &length) || get(*fd, SO_TYPE, &type, sizeof type) ||
           get(*fd, SO_COOKIE, &cookie, sizeof cookie) || get(*fd, SO_MARK, &mark, sizeof mark) ||
           get(*fd, SO_NETNS_COOKIE, &realm, sizeof realm);
}

static int whole(const struct work *work, int *fd, Py_ssize_t index)
{
    return inspect(work, fd, index) || hears(work, index) || effect(work, fd, index);
}

static int make(const struct work *work, int *fd, Py_ssize_t index)
{
    uint64_t cookie;

    *fd = socket(work->family, work->type | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    return *fd < 0 || get(*fd, SO_COOKIE, &cookie, sizeof cookie) || hears(work, index) || effect(work, fd, index);
}

static int end(const struct work *work, int *fd, Py_ssize_t index)
{
    (void)work;
    (void)index;
    return close(*fd);
}

static PyObject *run(struct work *work, int (*one)(const struct work *, int *, Py_ssize_t))
{
    int *sockets = work->sockets.buf;
    const Py_ssize_t count = work->sockets.len / (Py_ssize_t)sizeof(int);
    Py_ssize_t failed = -1;
    int error = 0;

    if (work->every < 1)
        work->every = PY_SSIZE_T_MAX;
    Py_BEGIN_ALLOW_THREADS
    for (Py_ssize_t i = 0; i < count; i++)
        if (one(work, &sockets[i], i)) {
            error = errno;
            failed = i;
            break;
        }
    Py_END_ALLOW_THREADS
    PyBuffer_Release(&work->sockets);
    if (failed < 0)
        Py_RETURN_NONE;
    errno = error;
    return PyErr_SetFromErrno(PyExc_OSError);
}

/* Takes a tuple of (level, name, bytes), which must live as long as the work. */
static int options_of(PyObject *tuple, struct work *work)
{
    work->options = PyTuple_Size(tuple);
    if (work->options < 0)
        return 0;
    if (work->options > OPTIONS_MAX) {
        PyErr_SetString(PyExc_ValueError, "too many options");
        return 0;
    }
    for (Py_ssize_t i = 0; i < work->options; i++) {
        struct option *option = &work->option[i];
        PyObject *item = PyTuple_GetItem(tuple, i);
        Py_ssize_t length;

        if (!item || !PyArg_ParseTuple(item, "iiy#", &option->level, &option->name, &option->value, &length))
            return 0;
        option->length = (socklen_t)length;
    }
    return 1;
}

static PyObject *secure(PyObject *module, PyObject *args)
{
    struct work work = {.watch = -1};
    PyObject *options;

    (void)module;
    if (!PyArg_ParseTuple(args, "y*inO:secure", &work.sockets, &work.watch, &work.every, &options))
        return NULL;
    if (!options_of(options, &work)) {
        PyBuffer_Release(&work.sockets);
        return NULL;
    }
    return run(&work, whole);
}

static PyObject *effective(PyObject *module, PyObject *args)
{
    struct work work = {.watch = -1};
    PyObject *options;

    (void)module;
    if (!PyArg_ParseTuple(args, "y*O|i:effective", &work.sockets, &options, &work.done))
        return NULL;
    if (!options_of(options, &work)) {
        PyBuffer_Release(&work.sockets);
        return NULL;
    }
    return run(&work, effect);
}

static PyObject *create(PyObject *module, PyObject *args)
{
    struct work work = {.watch = -1};
    PyObject *options;

    (void)module;
    if (!PyArg_ParseTuple(args, "w*iiinO:create", &work.sockets, &work.family, &work.type, &work.watch, &work.every,
                          &options))
        return NULL;
    if (!options_of(options, &work)) {
        PyBuffer_Release(&work.sockets);
        return NULL;
    }
    return run(&work, make);
}

static PyObject *plain(PyObject *args, const char *format, int (*one)(const struct work *, int *, Py_ssize_t))
{
    struct work work = {.watch = -1};

    if (!PyArg_ParseTuple(args, format, &work.sockets))
        return NULL;
    return run(&work, one);
}

static PyObject *query(PyObject *module, PyObject *args)
{
    (void)module;
    return plain(args, "y*:query", inspect);
}

static PyObject *close_all(PyObject *module, PyObject *args)
{
    (void)module;
    return plain(args, "y*:close", end);
}

static PyMethodDef methods[] = {
    {"secure", secure, METH_VARARGS,
     "secure(sockets, watch, every, options)\n--\n\n"
     "All calls. sockets: a buffer of C ints; watch: a netlink socket without messages, looked at once for so\n"
     "many sockets as every says, 0 for once in all; options: a tuple of (level, name, value)."},
    {"effective", effective, METH_VARARGS,
     "effective(sockets, options, done=0)\n--\n\nOnly the options, which change the socket. done: an error number by\n"
     "which each says that it is set."},
    {"create", create, METH_VARARGS,
     "create(sockets, family, kind, watch, every, options)\n--\n\n"
     "Make the sockets too. sockets: a writable buffer of -1; after an OSError it has those that were made."},
    {"query", query, METH_VARARGS,
     "query(sockets)\n--\n\nOnly the calls by which the core recognizes a socket."},
    {"close", close_all, METH_VARARGS, "close(sockets)\n--\n\nClose them one by one."},
    {NULL, NULL, 0, NULL},
};

static int fill(PyObject *module)
{
#if defined(__clang__)
    return PyModule_AddStringConstant(module, "COMPILER", "Clang " __clang_version__);
#elif defined(__VERSION__)
    return PyModule_AddStringConstant(module, "COMPILER", "GCC " __VERSION__);
#else
    return PyModule_AddStringConstant(module, "COMPILER", "unknown");
#endif
}

static PyModuleDef_Slot slots[] = {
    {Py_mod_exec, (void *)fill},
    {0, NULL},
};

static struct PyModuleDef definition = {
    PyModuleDef_HEAD_INIT,
    .m_name = "wsasec.bench.baselines._floor",
    .m_doc = "The bare C loops that the benchmark measures against.",
    .m_methods = methods,
    .m_slots = slots,
};

PyMODINIT_FUNC PyInit__floor(void)
{
    return PyModuleDef_Init(&definition);
}
