/* SPDX-License-Identifier: Apache-2.0 */
#ifndef WSASEC_LOAD_CONNECTOR_H
#define WSASEC_LOAD_CONNECTOR_H

#include "wsasec_connect.h"

#include "destinations.h"
#include "system.h"

/* In errnos, while there is no result. */
enum { WSASEC_PENDING = -1, WSASEC_IN_PROGRESS = -2 };

struct wsasec_connector {
    const int32_t *sockets;
    int32_t *errnos;
    uint64_t *began; /* by index: when the connect() was called that is in progress */
    wsasec_connect_spec spec;
    struct wsasec_destinations destinations;
    size_t count;
    size_t done;
    size_t connected;
    size_t waited;
    uint64_t latest; /* when connect() was last called for a socket that was not in progress */
    uint32_t in_progress;
    uint32_t limit;     /* of those in progress */
    uint32_t share;     /* of it, for one destination */
    uint32_t luck;      /* how often a second look at once is still worth it */
    uint32_t since_try; /* connects since luck was last tried */
    struct wsasec_polls *polls;
    struct wsasec_poll *poll; /* the only one of them */
    uint64_t start;
    uint64_t deadline;
    uint64_t end;   /* 0 while it runs */
    uint64_t round; /* when the destinations without an association are looked at next */
};

/*
 * Calls connect() for an index of a destination. Returns 1 where it is done or in progress, 0 where it was refused
 * for the want of a security association.
 */
int wsasec_attempt(struct wsasec_connector *connector, struct wsasec_destination *destination, uint32_t index);

/* Looks at an index in progress of which something was told. */
void wsasec_attempt_look(struct wsasec_connector *connector, const struct wsasec_event *event);

/* Writes a result down. */
void wsasec_attempt_settle(struct wsasec_connector *connector, uint32_t index, int error);

#endif
