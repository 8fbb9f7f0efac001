/* SPDX-License-Identifier: Apache-2.0 */
/* A listener's life: start, look, wait, stop, and what becomes of it in a child. */
#include "listener.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include "../failure.h"
#include "../threads.h"

#ifndef SO_MEMINFO
#define SO_MEMINFO 55 /* Linux 4.12 */
#endif

enum { STREAM_READ = 128 << 10, ECHO_READ = 64 << 10, LARGEST_READ = 16 << 20 };
enum { MEMINFO_DROPS = 8, MEMINFO_VALUES = 9 };

static wsasec_listener *all;
static pthread_mutex_t all_lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_once_t once = PTHREAD_ONCE_INIT;

static atomic_int forked;

int wsasec_listener_forked(void)
{
    return atomic_load(&forked);
}

static void lock_for_fork(void)
{
    atomic_store(&forked, 1);
    pthread_mutex_lock(&all_lock);
}

static void unlock_after_fork(void)
{
    pthread_mutex_unlock(&all_lock);
}

static void close_connection(int fd, struct wsasec_connection *connection)
{
    close(fd);
    free(connection->pending);
    connection->pending = NULL;
    atomic_store_explicit(&connection->open, 0, memory_order_release);
}

/* Its thread may have been in the middle of anything: memory is left alone. */
static void close_copy(int fd, struct wsasec_connection *connection)
{
    (void)connection;
    close(fd);
}

static void close_descriptors(wsasec_listener *listener,
                              void (*close_one)(int fd, struct wsasec_connection *connection))
{
    for (unsigned i = 0; i < listener->spec.threads; i++)
        if (listener->workers[i].epoll >= 0)
            close(listener->workers[i].epoll);
    if (listener->wake >= 0)
        close(listener->wake);
    wsasec_connections_each(listener->connections, close_one);
}

/*
 * In the child at once, while the numbers still mean what they meant: kept there, they would keep the port and the
 * connections from ending with the parent's.
 */
static void leave_child(void)
{
    for (wsasec_listener *listener = all; listener; listener = listener->next) {
        close_descriptors(listener, close_copy);
        close(listener->fd);
        listener->gone = 1;
    }
    all = NULL;
    pthread_mutex_unlock(&all_lock);
}

static void set_up(void)
{
    pthread_atfork(lock_for_fork, unlock_after_fork, leave_child);
}

static void enlist(wsasec_listener *listener)
{
    pthread_mutex_lock(&all_lock);
    listener->next = all;
    all = listener;
    pthread_mutex_unlock(&all_lock);
}

static void strike_out(wsasec_listener *listener)
{
    wsasec_listener **link = &all;

    while (*link && *link != listener)
        link = &(*link)->next;
    if (*link)
        *link = listener->next;
}

static int get(int fd, int name)
{
    int value = 0;
    socklen_t length = sizeof value;

    return getsockopt(fd, SOL_SOCKET, name, &value, &length) ? -1 : value;
}

/* Whether another socket may come to the same port. Datagram sockets may by either option. */
static int shares_port(const wsasec_listener *listener)
{
    return get(listener->fd, SO_REUSEPORT) != 0 ||
           (listener->workers[0].acceptor.type == WSASEC_TYPE_DGRAM && get(listener->fd, SO_REUSEADDR) != 0);
}

static int32_t check_socket(const wsasec_listener *listener, wsasec_status *status)
{
    const struct wsasec_acceptor *acceptor = &listener->workers[0].acceptor;
    struct wsasec_facts facts;

    if (acceptor->type == WSASEC_TYPE_OTHER)
        return wsasec_fail(status, WSASEC_STEP_KIND, WSASEC_REASON_TYPE, 0);
    if (acceptor->secured && shares_port(listener))
        return wsasec_fail(status, WSASEC_STEP_EXCLUSIVE, WSASEC_REASON_PORT_SHARED, 0);
    if (!acceptor->secured && listener->spec.flags & WSASEC_LISTENER_SECURED)
        return wsasec_fail(status, WSASEC_STEP_STATE, WSASEC_REASON_NOT_SECURED, 0);
    if (acceptor->type == WSASEC_TYPE_STREAM)
        return get(listener->fd, SO_ACCEPTCONN) == 1
                   ? 0
                   : wsasec_fail(status, WSASEC_STEP_LISTENER, WSASEC_REASON_NOT_LISTENING, 0);
    if (wsasec_backend_inspect(listener->fd, &facts, status))
        return status->code;
    if (!facts.bound || listener->spec.mode == WSASEC_LISTENER_DISCARD)
        return wsasec_fail(status, WSASEC_STEP_LISTENER, WSASEC_REASON_SPECIFICATION, 0);
    return 0;
}

static int32_t check_spec(const wsasec_listener_spec *spec, wsasec_status *status)
{
    if (spec->socket < 0 || spec->socket > INT_MAX)
        return wsasec_fail(status, WSASEC_STEP_DESCRIPTOR, WSASEC_REASON_NOT_A_SOCKET, EBADF);
    if (spec->mode >= WSASEC_LISTENER_MODES || !spec->threads || spec->threads > WSASEC_LISTENER_THREADS_MAX ||
        spec->flags & ~(WSASEC_LISTENER_SECURED | WSASEC_LISTENER_NODELAY) || spec->read_size > LARGEST_READ ||
        (spec->mode == WSASEC_LISTENER_DISCARD) != (spec->discard_after != 0))
        return wsasec_fail(status, WSASEC_STEP_LISTENER, WSASEC_REASON_SPECIFICATION, 0);
    return 0;
}

static int32_t make_worker(wsasec_listener *listener, struct wsasec_worker *worker, wsasec_status *status)
{
    struct epoll_event wake = {.events = EPOLLIN, .data.u64 = WSASEC_EVENT_WAKE};

    if (listener->stream)
        worker->buffer = malloc(listener->spec.read_size);
    else
        worker->datagrams = wsasec_datagrams_new();
    if (!worker->buffer && !worker->datagrams)
        return wsasec_fail(status, WSASEC_STEP_LISTENER, WSASEC_REASON_NO_MEMORY, ENOMEM);
    worker->epoll = epoll_create1(EPOLL_CLOEXEC);
    if (worker->epoll < 0 || epoll_ctl(worker->epoll, EPOLL_CTL_ADD, listener->wake, &wake))
        return wsasec_fail_errno(status, WSASEC_STEP_LISTENER, errno);
    return 0;
}

static int32_t make(wsasec_listener *listener, const wsasec_listener_spec *spec, wsasec_status *status)
{
    int32_t code = 0;

    listener->spec = *spec;
    listener->fd = (int)spec->socket;
    listener->wake = -1;
    listener->connections = wsasec_connections_new();
    listener->workers = aligned_alloc(_Alignof(struct wsasec_worker), spec->threads * sizeof *listener->workers);
    if (listener->workers)
        memset(listener->workers, 0, spec->threads * sizeof *listener->workers);
    if (!listener->connections || !listener->workers)
        return wsasec_fail(status, WSASEC_STEP_LISTENER, WSASEC_REASON_NO_MEMORY, ENOMEM);
    for (unsigned i = 0; i < spec->threads; i++) {
        listener->workers[i].listener = listener;
        listener->workers[i].epoll = -1;
    }
    for (unsigned i = 0; i < spec->threads && !code; i++)
        code = wsasec_acceptor_prepare(&listener->workers[i].acceptor, spec->socket, status);
    if (!code)
        code = check_socket(listener, status);
    if (code)
        return code;
    listener->processors = sysconf(_SC_NPROCESSORS_ONLN);
    listener->stream = listener->workers[0].acceptor.type == WSASEC_TYPE_STREAM;
    if (!spec->read_size)
        listener->spec.read_size = spec->mode == WSASEC_LISTENER_ECHO ? ECHO_READ : STREAM_READ;
    listener->wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (listener->wake < 0)
        return wsasec_fail_errno(status, WSASEC_STEP_LISTENER, errno);
    for (unsigned i = 0; i < spec->threads && !code; i++)
        code = make_worker(listener, &listener->workers[i], status);
    return code;
}

static void join(wsasec_listener *listener)
{
    const uint64_t one = 1;
    ssize_t written;

    atomic_store_explicit(&listener->stopping, 1, memory_order_release);
    written = write(listener->wake, &one, sizeof one);
    (void)written; /* a counter that is full wakes as well */
    while (listener->running)
        pthread_join(listener->workers[--listener->running].thread, NULL);
}

static void release(wsasec_listener *listener)
{
    for (unsigned i = 0; listener->workers && i < listener->spec.threads; i++) {
        free(listener->workers[i].buffer);
        free(listener->workers[i].datagrams);
    }
    free(listener->workers);
    wsasec_connections_free(listener->connections);
    /* In a child the locks may be held, and the condition waited for, by threads that are not there. */
    if (!listener->gone) {
        pthread_cond_destroy(&listener->changed);
        pthread_mutex_destroy(&listener->ending);
        pthread_mutex_destroy(&listener->lock);
    }
    free(listener);
}

static int start_threads(wsasec_listener *listener)
{
    int error = 0;

    while (!error && listener->running < listener->spec.threads) {
        struct wsasec_worker *worker = &listener->workers[listener->running];

        error = -wsasec_listener_watch(worker);
        if (!error)
            error = wsasec_thread_start(&worker->thread, wsasec_worker_main, worker);
        if (!error)
            listener->running++;
    }
    return error;
}

static wsasec_listener *allocate(wsasec_status *status)
{
    wsasec_listener *listener = calloc(1, sizeof *listener);

    if (!listener) {
        wsasec_fail(status, WSASEC_STEP_LISTENER, WSASEC_REASON_NO_MEMORY, ENOMEM);
        return NULL;
    }
    pthread_mutex_init(&listener->lock, NULL);
    pthread_mutex_init(&listener->ending, NULL);
    wsasec_condition_make(&listener->changed);
    return listener;
}

/* The socket stays the caller's. */
static void take_back(wsasec_listener *listener)
{
    if (listener->workers && listener->connections)
        close_descriptors(listener, close_connection);
    release(listener);
}

wsasec_listener *wsasec_listener_start(const wsasec_listener_spec *spec, wsasec_status *status)
{
    wsasec_listener *listener;
    wsasec_status own;
    int flags;
    int error;

    if (!status)
        status = &own;
    memset(status, 0, sizeof *status);
    if (check_spec(spec, status))
        return NULL;
    pthread_once(&once, set_up);
    listener = allocate(status);
    if (!listener)
        return NULL;
    if (make(listener, spec, status)) {
        take_back(listener);
        return NULL;
    }
    flags = fcntl(listener->fd, F_GETFL);
    enlist(listener);
    error = flags < 0 || fcntl(listener->fd, F_SETFL, flags | O_NONBLOCK) ? errno : start_threads(listener);
    if (error) {
        join(listener);
        pthread_mutex_lock(&all_lock);
        strike_out(listener);
        pthread_mutex_unlock(&all_lock);
        if (flags >= 0)
            (void)fcntl(listener->fd, F_SETFL, flags);
        take_back(listener);
        wsasec_fail_errno(status, WSASEC_STEP_LISTENER, error);
        return NULL;
    }
    return listener;
}

/* SO_RXQ_OVFL tells the same number, but only beside the next datagram, and at a price for each. */
static void look_at_drops(wsasec_listener *listener)
{
    uint32_t values[MEMINFO_VALUES] = {0};
    socklen_t length = sizeof values;

    if (listener->stream || listener->stopped || listener->gone ||
        getsockopt(listener->fd, SOL_SOCKET, SO_MEMINFO, values, &length))
        return;
    listener->kernel_drops += (uint32_t)(values[MEMINFO_DROPS] - (uint32_t)listener->kernel_drops);
}

void wsasec_listener_look(wsasec_listener *listener, wsasec_listener_counts *counts)
{
    memset(counts, 0, sizeof *counts);
    /* The other way round than they are counted: never more resets than closed, nor closed than accepted. */
    for (unsigned i = 0; i < listener->spec.threads; i++) {
        const struct wsasec_tally *tally = &listener->workers[i].tally;

        counts->resets += wsasec_counted(&tally->resets);
    }
    for (unsigned i = 0; i < listener->spec.threads; i++)
        counts->closed += wsasec_counted(&listener->workers[i].tally.closed);
    for (unsigned i = 0; i < listener->spec.threads; i++) {
        const struct wsasec_tally *tally = &listener->workers[i].tally;

        counts->accepted += atomic_load(&tally->accepted);
        counts->refused += wsasec_counted(&tally->refused);
        counts->accept_errors += wsasec_counted(&tally->accept_errors);
        counts->received_bytes += wsasec_counted(&tally->received_bytes);
        counts->sent_bytes += wsasec_counted(&tally->sent_bytes);
        counts->received_datagrams += wsasec_counted(&tally->received_datagrams);
        counts->sent_datagrams += wsasec_counted(&tally->sent_datagrams);
        counts->unsent_datagrams += wsasec_counted(&tally->unsent_datagrams);
        counts->receive_errors += wsasec_counted(&tally->receive_errors);
    }
    if (listener->gone)
        return;
    pthread_mutex_lock(&listener->lock);
    look_at_drops(listener);
    counts->dropped_datagrams = listener->kernel_drops;
    pthread_mutex_unlock(&listener->lock);
}

static uint64_t accepted(const wsasec_listener *listener)
{
    uint64_t sum = 0;

    for (unsigned i = 0; i < listener->spec.threads; i++)
        sum += atomic_load(&listener->workers[i].tally.accepted);
    return sum;
}

int wsasec_listener_wait_accepted(wsasec_listener *listener, uint64_t connections, uint64_t nanoseconds)
{
    const uint64_t end = wsasec_after(wsasec_backend_clock(), nanoseconds);
    int enough;

    if (listener->gone)
        return 0;
    /* First the flag, then the count; the threads do it the other way round, so one of the two sees the other. */
    atomic_fetch_add(&listener->waiting, 1);
    pthread_mutex_lock(&listener->lock);
    while (!(enough = accepted(listener) >= connections) && !listener->stopped &&
           wsasec_condition_wait(&listener->changed, &listener->lock, end) == 0)
        continue;
    pthread_mutex_unlock(&listener->lock);
    atomic_fetch_sub(&listener->waiting, 1);
    return enough;
}

void wsasec_listener_stop(wsasec_listener *listener)
{
    if (listener->gone)
        return;
    pthread_mutex_lock(&listener->ending);
    if (listener->stopped) {
        pthread_mutex_unlock(&listener->ending);
        return;
    }
    join(listener);
    /* Not while the process forks: the child closes the same numbers. */
    pthread_mutex_lock(&all_lock);
    pthread_mutex_lock(&listener->lock);
    look_at_drops(listener);
    listener->stopped = 1;
    strike_out(listener);
    close_descriptors(listener, close_connection);
    close(listener->fd);
    pthread_cond_broadcast(&listener->changed);
    pthread_mutex_unlock(&listener->lock);
    pthread_mutex_unlock(&all_lock);
    pthread_mutex_unlock(&listener->ending);
}

void wsasec_listener_free(wsasec_listener *listener)
{
    if (!listener)
        return;
    wsasec_listener_stop(listener);
    release(listener);
}
