/* SPDX-License-Identifier: Apache-2.0 */
/* The control thread: its connections, what they are told, and the clock of the associations. */
#ifndef WSASEC_ENGINE_CONTROL_H
#define WSASEC_ENGINE_CONTROL_H

#include <stddef.h>
#include <stdint.h>

#include "control_protocol.h"
#include "engine.h"

enum { WSE_CONNECTIONS = 64, WSE_LISTENERS = 8, WSE_RESERVED = 4096, WSE_ASKED = 1024 };

struct wse_out;

struct wse_connection {
    int fd; /* -1: no connection */
    int launcher;
    uint64_t serial;     /* of all that there were */
    uint32_t subscribed; /* 1 << (type - WSE_EVENT_ACQUIRE) */
    int lost;            /* events were */
    int watched;         /* what its epoll waits for */
    size_t waiting;      /* messages */
    struct wse_out *first, *last;
};

struct wse_control {
    struct wse_engine *engine;
    struct wse_seen *seen;
    int epoll;
    int stop;
    int started;
    struct wse_connection connections[WSE_CONNECTIONS];
    uint64_t connected;
    int listeners[WSE_LISTENERS];
    unsigned listening;
    int deaf; /* who connects waits, as there is no descriptor for it: until there may be one */
    uint64_t looked; /* second in which the clocks of the associations were looked at last */
    struct wse_totals told; /* what the control thread counts itself: acquires */
    struct {
        uint32_t spi;
        uint64_t second;
    } reserved[WSE_RESERVED];
    unsigned next_reserved;
    struct {
        uint64_t hash, second;
    } asked[WSE_ASKED];
};

/* Serves until it is told to stop, or the launcher's end is closed. 0 or -errno. */
int wse_control_run(struct wse_control *control, struct wse_engine *engine, int launcher);

/* Sends an answer, or an event (number 0), or keeps it until it can be sent. 0, or -ENOMEM. */
int wse_control_send(struct wse_control *control, struct wse_connection *connection, uint16_t type, uint32_t number,
                     uint32_t flags, const void *body, size_t length);

/* Tells all subscribers. */
void wse_control_tell(struct wse_control *control, uint16_t type, const void *body, size_t length);

/* Takes an association out of the tables, and tells of it as a hard expire where `tell`. */
void wse_control_remove(struct wse_control *control, struct wse_association *association, int tell);

/* Has a connection accepted from a listening socket from now on. 0 or -errno; then it is not closed. */
int wse_control_listen(struct wse_control *control, int fd);

#endif
