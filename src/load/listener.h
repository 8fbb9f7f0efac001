/* SPDX-License-Identifier: Apache-2.0 */
/* What the parts of a listener share: its threads' state, and what they call of each other. */
#ifndef WSASEC_LOAD_LISTENER_H
#define WSASEC_LOAD_LISTENER_H

#include <stdatomic.h>

#include "../core/accept.h"
#include "connections.h"
#include "system.h"
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
    struct wsasec_thread thread;
    struct wsasec_poll *poll;
};

struct wsasec_listener {
    wsasec_listener *next; /* of all in the process */
    struct wsasec_worker *workers;
    struct wsasec_connections *connections;
    wsasec_listener_spec spec;
    unsigned running; /* threads */
    struct wsasec_polls *polls; /* by thread */
    int32_t fd;
    int stream;
    int gone; /* this is a child, and the listener its parent's */
    uint64_t kernel_drops; /* once the socket is closed */
    atomic_uint deal; /* connections dealt to threads so far */
    atomic_int stopping;
    atomic_int waiting; /* threads that wait for connections */
    int stopped;
    struct wsasec_gate *gate;   /* of stopped and kernel_drops; called for connections, and at the end */
    struct wsasec_gate *ending; /* locked while the listener is stopped */
};

/* The key of the listening or datagram socket; those of connections are their descriptors, which have 31 bits. */
#define WSASEC_EVENT_LISTENER (UINT64_MAX - 1)

/* Nanoseconds without accepting, where there is no room for connections. */
#define WSASEC_LISTENER_BACK_OFF UINT64_C(20000000)

/* Has the thread be told of the listening or datagram socket. Returns 0 or the error. */
int wsasec_listener_watch(struct wsasec_worker *worker);

/* Has accepting go on where it is time. Returns the nanoseconds until it is; UINT64_MAX: it goes on. */
uint64_t wsasec_listener_patience(struct wsasec_worker *worker);

void *wsasec_worker_main(void *worker);

/* Takes some of the connections that wait. */
void wsasec_accept_some(struct wsasec_worker *worker);

/* What a connection's events ask for. */
void wsasec_connection_serve(struct wsasec_worker *worker, int32_t fd);

/* Closes what the listener has, with a call for each connection. */
void wsasec_listener_close(wsasec_listener *listener, void (*close_one)(int32_t fd, struct wsasec_connection *connection));

/* --- what each system does in its own way --- */

/* Waits for events. Returns how many there are; -1: a signal came. */
int wsasec_listener_wait(struct wsasec_worker *worker, struct wsasec_event *events, int room);

/* Takes what datagrams there are. */
struct wsasec_datagrams *wsasec_datagrams_new(void);
void wsasec_datagrams_serve(struct wsasec_worker *worker);

/* Of the socket: whether another may come to its port (type: enum wsasec_type), and whether it listens. */
int wsasec_listener_shares_port(int32_t fd, int type);
int wsasec_listener_listens(int32_t fd);

/* Gets it ready; before: what wsasec_listener_give_back() needs to undo that. Returns 0 or the error. */
int wsasec_listener_take(int32_t fd, int type, int *before);
void wsasec_listener_give_back(int32_t fd, int before);

/* Datagrams that the system has dropped, modulo 2^32; returns whether it tells. */
int wsasec_listener_drops(int32_t fd, uint32_t *drops);

/* The listeners of the process, of which a child must let go. The lock is taken before that of a gate. */
void wsasec_family_enlist(wsasec_listener *listener);
void wsasec_family_lock(void);
void wsasec_family_strike_out(wsasec_listener *listener); /* under the lock; none is no error */
void wsasec_family_unlock(void);
/* A connection is going to be closed, of which a child that is being made may have a copy. */
void wsasec_family_part(int32_t fd);

#endif
