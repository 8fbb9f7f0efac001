/* SPDX-License-Identifier: Apache-2.0 */
/* What the threads of the engine share: the control thread, and so many workers of each direction. */
#ifndef WSASEC_ENGINE_ENGINE_H
#define WSASEC_ENGINE_ENGINE_H

#include <stdatomic.h>
#include <stdint.h>
#include <time.h>

#include "bulk.h"
#include "control_protocol.h"
#include "crypto.h"
#include "epoch.h"
#include "table.h"

#ifndef WSASEC_VERSION
#define WSASEC_VERSION "0" /* the build says it */
#endif

enum { WSE_THREADS_MAX = 16, WSE_DEVICES_MAX = 64, WSE_TRANSPORTS_MAX = 16 };

_Static_assert(2 * WSE_THREADS_MAX <= WSE_READERS_MAX, "each worker is a reader");
_Static_assert(2 * (int)WSE_THREADS_MAX <= (int)WSE_DESCRIPTORS_MAX, "a message can carry two descriptors for each thread");

/*
 * A device: TUN queues. Outbound worker i serves queue i, and of those for bulk, behind them, the i-th; all queues are
 * written to. Never changed once published.
 */
struct wse_link {
    struct wse_retired retired; /* first */
    struct wse_device device;
    uint32_t number; /* its place in wse_engine.links */
    struct wse_engine *engine;
    unsigned count; /* without those for bulk */
    unsigned bulk;  /* as many, or 0 */
    int queues[2 * WSE_THREADS_MAX];
};

/* A transport: sockets. Inbound worker i serves socket i; outbound workers send by all. Never changed once published. */
struct wse_port {
    struct wse_retired retired; /* first */
    struct wse_transport transport;
    uint32_t number; /* its place in wse_engine.ports */
    struct wse_engine *engine;
    unsigned count;
    int sockets[WSE_THREADS_MAX];

    /* Who is answered when its sockets are closed: the control thread's. */
    struct wse_control *control;
    uint64_t asker;  /* a connection's serial; 0: nobody */
    uint32_t number_asked;
};

struct wse_worker;

struct wse_engine {
    struct wse_epochs epochs;
    struct wse_table table;
    struct wse_bulk bulk;
    _Atomic(struct wse_link *) links[WSE_DEVICES_MAX];
    _Atomic(struct wse_port *) ports[WSE_TRANSPORTS_MAX];
    /* Places of what was removed are taken anew when no worker has it: numbers are not mixed up. The control thread's. */
    uint8_t link_taken[WSE_DEVICES_MAX], port_taken[WSE_TRANSPORTS_MAX];
    const struct wse_crypto *crypto;
    uint64_t instance;
    unsigned threads; /* of each direction */
    unsigned spin;    /* microseconds that a worker stays awake */
    int raised;       /* by how much the nice value of all threads was lowered; inbound workers keep that */
    int uso;          /* the system takes UDP super packets from a device (Linux 6.2) */
    struct wse_worker *workers[2 * WSE_THREADS_MAX]; /* outbound first */
    int events; /* eventfd: a worker has something to tell the control thread */
};

/* By which queue a worker writes what belongs to a flow that sends much, or does not. */
static inline int wse_link_queue(const struct wse_link *link, unsigned worker, int bulk)
{
    return link->queues[(bulk ? link->bulk : 0) + worker % link->count];
}

/* The monotonic clock. */
static inline uint64_t wse_nanoseconds(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec;
}

static inline uint64_t wse_milliseconds(void)
{
    return wse_nanoseconds() / 1000000;
}

static inline uint64_t wse_seconds(void)
{
    return wse_milliseconds() / 1000;
}

#endif
