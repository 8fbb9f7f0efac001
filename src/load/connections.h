/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The connections of a listener, each in a place that its descriptor names: nothing is allocated for one, and a thread
 * may hand a connection to another without a lock.
 */
#ifndef WSASEC_LOAD_CONNECTIONS_H
#define WSASEC_LOAD_CONNECTIONS_H

#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>

struct wsasec_connection {
    uint64_t received; /* bytes */
    char *pending;     /* of an echo: what the peer has not taken yet; NULL if there is nothing */
    uint32_t pending_size;
    uint32_t pending_sent;
    /* By this a thread hands the place on, to who takes the connection's events or to who has the descriptor next. */
    atomic_int open;
};

struct wsasec_connections;

struct wsasec_connections *wsasec_connections_new(void);
void wsasec_connections_free(struct wsasec_connections *connections);

/* The place of a descriptor; made if need be. NULL: no memory, or a descriptor too large to be true. */
struct wsasec_connection *wsasec_connection_make(struct wsasec_connections *connections, int32_t fd);

/* The place of a descriptor for which it was made before. */
struct wsasec_connection *wsasec_connection_at(struct wsasec_connections *connections, int32_t fd);

/* Calls back for each connection that is open. */
void wsasec_connections_each(struct wsasec_connections *connections,
                             void (*call)(int32_t fd, struct wsasec_connection *connection));

#endif
