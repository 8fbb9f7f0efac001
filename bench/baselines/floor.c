/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The floor of the benchmark: the system calls of securing fresh AF_INET stream sockets, in the order in which
 * the core makes them and with the same bytes, in a bare loop. It decides nothing and remembers nothing: what
 * any program pays that asks the kernel the same things.
 */
#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include <errno.h>
#include <netinet/in.h>
#include <stdint.h>
#include <sys/socket.h>

#ifndef IP_XFRM_POLICY
#define IP_XFRM_POLICY 17
#endif
#ifndef SO_NETNS_COOKIE
#define SO_NETNS_COOKIE 71 /* Linux 5.14 */
#endif

enum argument { SOCKETS, OUT, IN, MARK, OFF, ARGUMENTS };

struct work {
    Py_buffer buffers[ARGUMENTS];
    int watch;
    Py_ssize_t every; /* sockets from one look at watch to the next */
};

static int set(int fd, int level, int name, const Py_buffer *value)
{
    return setsockopt(fd, level, name, value->buf, (socklen_t)value->len);
}

static int get(int fd, int name, void *value, socklen_t length)
{
    return getsockopt(fd, SOL_SOCKET, name, value, &length);
}

/* Nothing to hear is EAGAIN. */
static int hears(int watch)
{
    char byte;

    if (recv(watch, &byte, 1, MSG_PEEK | MSG_DONTWAIT) < 0)
        return 0;
    errno = EBUSY;
    return 1;
}

/* This and whole() return 0 if every call did what it does on a fresh socket. */
static int effect(const struct work *work, int fd, Py_ssize_t index)
{
    (void)index;
    return set(fd, IPPROTO_IP, IP_XFRM_POLICY, &work->buffers[OUT]) ||
           set(fd, IPPROTO_IP, IP_XFRM_POLICY, &work->buffers[IN]) ||
           set(fd, SOL_SOCKET, SO_MARK, &work->buffers[MARK]);
}

static int whole(const struct work *work, int fd, Py_ssize_t index)
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

    return getsockname(fd, &name.any, &length) || get(fd, SO_TYPE, &type, sizeof type) ||
           get(fd, SO_COOKIE, &cookie, sizeof cookie) || get(fd, SO_MARK, &mark, sizeof mark) ||
           get(fd, SO_NETNS_COOKIE, &realm, sizeof realm) ||
           (index % work->every == 0 && hears(work->watch)) ||
           set(fd, SOL_SOCKET, SO_REUSEPORT, &work->buffers[OFF]) || effect(work, fd, index);
}

static PyObject *run(struct work *work, int (*one)(const struct work *, int, Py_ssize_t))
{
    const int *sockets = work->buffers[SOCKETS].buf;
    const Py_ssize_t count = work->buffers[SOCKETS].len / (Py_ssize_t)sizeof(int);
    Py_ssize_t failed = -1;
    int error = 0;

    Py_BEGIN_ALLOW_THREADS
    for (Py_ssize_t i = 0; i < count; i++)
        if (one(work, sockets[i], i)) {
            error = errno;
            failed = i;
            break;
        }
    Py_END_ALLOW_THREADS
    for (int i = 0; i < ARGUMENTS; i++)
        if (work->buffers[i].obj)
            PyBuffer_Release(&work->buffers[i]);
    if (failed < 0)
        Py_RETURN_NONE;
    errno = error;
    return PyErr_SetFromErrno(PyExc_OSError);
}

static PyObject *secure(PyObject *module, PyObject *args)
{
    struct work work = {.watch = -1};
    Py_buffer *b = work.buffers;

    (void)module;
    if (!PyArg_ParseTuple(args, "y*iny*y*y*y*:secure", &b[SOCKETS], &work.watch, &work.every, &b[OFF], &b[OUT],
                          &b[IN], &b[MARK]))
        return NULL;
    if (work.every < 1)
        work.every = PY_SSIZE_T_MAX;
    return run(&work, whole);
}

static PyObject *effective(PyObject *module, PyObject *args)
{
    struct work work = {.watch = -1};
    Py_buffer *b = work.buffers;

    (void)module;
    if (!PyArg_ParseTuple(args, "y*y*y*y*:effective", &b[SOCKETS], &b[OUT], &b[IN], &b[MARK]))
        return NULL;
    return run(&work, effect);
}

static PyMethodDef methods[] = {
    {"secure", secure, METH_VARARGS,
     "secure(sockets, watch, every, off, out, in_, mark)\n--\n\n"
     "All calls. sockets: a buffer of C ints; watch: a netlink socket without messages, looked at once for so\n"
     "many sockets as every says, 0 for once in all; the rest: option values."},
    {"effective", effective, METH_VARARGS,
     "effective(sockets, out, in_, mark)\n--\n\nOnly the three calls that change the socket."},
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
    .m_doc = "The bare C loop that the benchmark measures against.",
    .m_methods = methods,
    .m_slots = slots,
};

PyMODINIT_FUNC PyInit__floor(void)
{
    return PyModuleDef_Init(&definition);
}
