/* SPDX-License-Identifier: Apache-2.0 */
/* An association as the workers have it: its key, its window or its sequence numbers, what it has done, and when it ends. */
#ifndef WSASEC_ENGINE_SA_H
#define WSASEC_ENGINE_SA_H

#include <netinet/in.h>
#include <stdalign.h>
#include <stdatomic.h>
#include <stdint.h>
#include <sys/socket.h>

#include "control_protocol.h"
#include "crypto.h"
#include "epoch.h"
#include "esp.h"
#include "path.h"
#include "replay.h"

struct wse_engine;
struct wse_port;
struct wse_link;
struct wse_peer;

/* Where an outbound SA's packets go. Published whole; never changed. */
struct wse_target {
    struct wse_retired retired; /* first */
    union {
        struct sockaddr any;
        struct sockaddr_in v4;
        struct sockaddr_in6 v6;
    };
    socklen_t length;
};

struct wse_association {
    struct wse_retired retired; /* first */

    /* Set before it is published, and never changed. */
    struct wse_sa_name name;
    uint32_t reqid;
    uint32_t flags;
    uint32_t window;
    uint16_t source_port, destination_port; /* as they were given */
    uint8_t algorithm;
    uint32_t serial; /* a later one is newer */
    struct wse_limits limits;
    uint64_t since; /* seconds of the monotonic clock */
    struct wse_key *key;
    size_t key_bytes;
    struct wse_replay *replay; /* inbound */

    /* Read by workers, changed by the control thread. */
    _Atomic(struct wse_association *) next_by_spi;
    _Atomic(struct wse_link *) link;     /* inbound: the device its packets go to; NULL: none is there */
    _Atomic(struct wse_port *) port;     /* outbound: the transport; NULL: none is there */
    _Atomic(struct wse_target *) target; /* outbound: where to; inbound with UDP: where the peer was seen last */

    /* The control thread's. */
    struct wse_association *next, *previous;           /* of all */
    struct wse_association *next_of_peer;              /* outbound */
    struct wse_peer *peer;                             /* outbound */
    int removed;

    /* Written by workers, a batch at a time. */
    alignas(64) struct wse_sequence sequence; /* outbound */
    struct wse_path path;                     /* outbound */
    alignas(64) _Atomic(uint64_t) packets;
    _Atomic(uint64_t) bytes;
    _Atomic(uint64_t) last; /* packet; seconds of the monotonic clock */
    _Atomic(uint64_t) replayed, forged, refused;
    _Atomic(uint32_t) told; /* WSE_TOLD_... */
    _Atomic(uint64_t) mapping_told; /* second in which the last mapping event was sent */
};

/* What an SA's events were already. With WSE_TOLD_HARD it is at its end: no packet passes it any more. */
enum { WSE_TOLD_SOFT = 1, WSE_TOLD_HARD = 2 };

/*
 * Makes one, with its key, in memory that is locked. The SA's key material is not kept. 0 or -errno, and then why is said
 * in *why. It is not in any table yet.
 */
int wse_association_make(struct wse_association **made, const struct wse_engine *engine, const struct wse_sa *sa,
                         const char **why);

/* Wipes and frees it: no worker may have it any more. */
void wse_association_free(struct wse_association *association);

/* Tells what it is now. */
void wse_association_state(const struct wse_association *association, uint64_t now, struct wse_sa_state *state);

static inline int wse_at_end(const struct wse_association *association)
{
    return atomic_load_explicit(&association->told, memory_order_relaxed) & WSE_TOLD_HARD;
}

/*
 * Counts packets that were sent or authenticated, and returns what is to be told of now: WSE_TOLD_SOFT, WSE_TOLD_HARD, or
 * 0. Each is returned to one caller only.
 */
uint32_t wse_association_count(struct wse_association *association, uint64_t packets, uint64_t bytes, uint64_t now);

/* Marks an event as told. Returns whether this caller is the one to tell. */
int wse_association_tell(struct wse_association *association, uint32_t what);

/* Which event is due by the clock, as above. */
uint32_t wse_association_due(struct wse_association *association, uint64_t now);

/* A target of an address in network order, as in the protocol. NULL: no memory. Free with free(). */
struct wse_target *wse_target_make(uint16_t family, const uint8_t address[16], uint16_t port);

#endif
