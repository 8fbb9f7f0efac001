/* SPDX-License-Identifier: Apache-2.0 */
/* What the parts of a listener share: its threads' state, and what they call of each other. */
#ifndef WSASEC_LINUX_LOAD_LISTENER_H
#define WSASEC_LINUX_LOAD_LISTENER_H

#include <pthread.h>
#include <stdatomic.h>
#include <sys/epoll.h>

#include "../../core/accept.h"
#include "connections.h"
#include "tally.h"
#include "wsasec_listener.h"

/* Written by one thread each, read by anyone; the same members as of wsasec_listener_counts. */
struct wsasec_tally {
    _Atomic uint64_t accepted;
    _Atomic uint64_t closed;
    _Atomic uint64_t resets;
    _Atomic uint64_t refused;
    _Atomic uint64_t accept_errors;
    _Atomic uint64_t received_bytes;
    _Atomic uint64_t sent_bytes;
    _Atomic uint64_t received_datagrams;
    _Atomic uint64_t sent_datagrams;
    _Atomic uint64_t unsent_datagrams;
    _Atomic uint64_t receive_errors;
};

struct wsasec_datagrams; /* buffers for many in one call */

/* Two cache lines apart: processors fetch them in pairs. */
struct wsasec_worker {
    _Alignas(128) struct wsasec_tally tally;
    _Alignas(128) wsasec_listener *listener;
    struct wsasec_acceptor acceptor;
    struct wsasec_datagrams *datagrams;
    char *buffer; /* read_size bytes */
    uint64_t resume; /* when accepting goes on, in nanoseconds; 0: it is going on */
    unsigned rests;  /* sleeps from one longer look to the next */
    unsigned rested; /* of them so far */
    pthread_t thread;
    int epoll;
};

struct wsasec_listener {
    wsasec_listener *next; /* of all in the process */
    struct wsasec_worker *workers;
    struct wsasec_connections *connections;
    wsasec_listener_spec spec;
    unsigned running; /* threads */
    long processors;
    int fd;
    int wake; /* eventfd: the threads are to end */
    int stream;
    int gone; /* this is a child, and the listener its parent's */
    uint64_t kernel_drops; /* once the socket is closed */
    atomic_uint deal; /* connections dealt to threads so far */
    atomic_int stopping;
    atomic_int waiting; /* threads that wait for connections */
    int stopped;
    pthread_mutex_t lock; /* of stopped and kernel_drops, and for the condition */
    pthread_mutex_t ending; /* held while the listener is stopped */
    pthread_cond_t changed;
};

/* The events that are not of connections, whose descriptors have 31 bits. */
#define WSASEC_EVENT_WAKE UINT64_MAX
#define WSASEC_EVENT_LISTENER (UINT64_MAX - 1)

/* Has the thread's epoll tell of the listening or datagram socket. Returns 0 or -errno. */
int wsasec_listener_watch(struct wsasec_worker *worker);

/* Waits for events. Returns how many there are; -1: a signal came. */
int wsasec_listener_wait(struct wsasec_worker *worker, struct epoll_event *events, int room);

void *wsasec_worker_main(void *worker);

/* Takes some of the connections that wait. */
void wsasec_accept_some(struct wsasec_worker *worker);

/* What a connection's events ask for. */
void wsasec_connection_serve(struct wsasec_worker *worker, int fd);

/* Whether the process has forked, or is about to. */
int wsasec_listener_forked(void);

struct wsasec_datagrams *wsasec_datagrams_new(void);
void wsasec_datagrams_serve(struct wsasec_worker *worker);

#endif
