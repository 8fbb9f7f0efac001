/* SPDX-License-Identifier: Apache-2.0 */
#include "sa.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "engine.h"
#include "memory.h"

static const uint64_t LATE = 0xf0000000; /* packets */

struct wse_target *wse_target_make(uint16_t family, const uint8_t address[16], uint16_t port)
{
    struct wse_target *target = calloc(1, sizeof *target);

    if (!target)
        return NULL;
    if (family == AF_INET) {
        target->v4.sin_family = AF_INET;
        target->v4.sin_port = htons(port);
        memcpy(&target->v4.sin_addr, address, 4);
        target->length = sizeof target->v4;
    } else {
        target->v6.sin6_family = AF_INET6;
        target->v6.sin6_port = htons(port);
        memcpy(&target->v6.sin6_addr, address, 16);
        target->length = sizeof target->v6;
    }
    return target;
}

static size_t window_of(const struct wse_sa *sa)
{
    return sa->name.direction == WSE_INBOUND ? wse_replay_size(sa->window ? sa->window : WSE_REPLAY_DEFAULT) : 0;
}

int wse_association_make(struct wse_association **made, const struct wse_engine *engine, const struct wse_sa *sa,
                         const char **why)
{
    const int outbound = sa->name.direction == WSE_OUTBOUND;
    struct wse_association *association = aligned_alloc(64, (sizeof *association + 63) & ~(size_t)63);
    struct wse_target *target;
    int error = -ENOMEM;

    *why = "no memory";
    if (!association)
        return -ENOMEM;
    memset(association, 0, sizeof *association);
    association->name = sa->name;
    association->reqid = sa->reqid;
    association->flags = sa->flags;
    association->window = outbound ? 0 : sa->window ? sa->window : WSE_REPLAY_DEFAULT;
    association->source_port = sa->source_port;
    association->destination_port = sa->destination_port;
    association->algorithm = sa->algorithm;
    association->limits = sa->limits;
    association->since = wse_seconds();
    atomic_store(&association->last, association->since);
    target = outbound ? wse_target_make(sa->name.family, sa->name.destination, sa->destination_port)
                      : wse_target_make(sa->name.family, sa->name.source, sa->source_port);
    atomic_store(&association->target, target);
    if (!target)
        goto failed;
    if (!outbound) {
        association->replay = aligned_alloc(64, window_of(sa));
        if (!association->replay)
            goto failed;
        wse_replay_init(association->replay, association->window);
    }
    association->key = wse_secret_take(wse_key_size(engine->crypto, engine->threads));
    if (!association->key)
        goto failed;
    error = wse_key_set(association->key, engine->crypto, engine->threads, sa->algorithm, sa->name.direction, sa->key,
                        sa->key_length);
    if (error) {
        *why = "the cryptographic library does not take the key";
        wse_secret_give(association->key, wse_key_size(engine->crypto, engine->threads));
        association->key = NULL;
        goto failed;
    }
    association->key_bytes = wse_key_size(engine->crypto, engine->threads);
    *made = association;
    return 0;
failed:
    wse_association_free(association);
    return error;
}

void wse_association_free(struct wse_association *association)
{
    if (association->key) {
        wse_key_wipe(association->key);
        wse_secret_give(association->key, association->key_bytes);
    }
    free(association->replay);
    free(atomic_load(&association->target));
    free(association);
}

void wse_association_state(const struct wse_association *association, uint64_t now, struct wse_sa_state *state)
{
    const uint64_t last = atomic_load_explicit(&association->last, memory_order_relaxed);

    *state = (struct wse_sa_state){
        .name = association->name,
        .reqid = association->reqid,
        .flags = association->flags,
        .window = association->window,
        .source_port = association->source_port,
        .destination_port = association->destination_port,
        .algorithm = association->algorithm,
        .soft_expired = (atomic_load(&association->told) & WSE_TOLD_SOFT) != 0,
        .path_mtu = (uint16_t)atomic_load_explicit(&association->path.mtu, memory_order_relaxed),
        .limits = association->limits,
        .packets = atomic_load_explicit(&association->packets, memory_order_relaxed),
        .bytes = atomic_load_explicit(&association->bytes, memory_order_relaxed),
        .sequence = association->replay ? wse_replay_top(association->replay)
                                        : atomic_load_explicit(&association->sequence.last, memory_order_relaxed),
        .replayed = atomic_load_explicit(&association->replayed, memory_order_relaxed),
        .forged = atomic_load_explicit(&association->forged, memory_order_relaxed),
        .refused = atomic_load_explicit(&association->refused, memory_order_relaxed),
        .age_seconds = now - association->since,
        .idle_seconds = now > last ? now - last : 0,
    };
}

int wse_association_tell(struct wse_association *association, uint32_t what)
{
    return !(atomic_fetch_or(&association->told, what) & what);
}

static int over(uint64_t limit, uint64_t value)
{
    return limit && value >= limit;
}

static uint32_t told_of(struct wse_association *association, int soft, int hard)
{
    if (hard)
        return wse_association_tell(association, WSE_TOLD_HARD) ? WSE_TOLD_HARD : 0;
    if (soft && !(atomic_load_explicit(&association->told, memory_order_relaxed) & WSE_TOLD_SOFT))
        return wse_association_tell(association, WSE_TOLD_SOFT) ? WSE_TOLD_SOFT : 0;
    return 0;
}

uint32_t wse_association_count(struct wse_association *association, uint64_t packets, uint64_t bytes, uint64_t now)
{
    const struct wse_limits *limits = &association->limits;
    const uint64_t all = atomic_fetch_add_explicit(&association->packets, packets, memory_order_relaxed) + packets;
    const uint64_t size = atomic_fetch_add_explicit(&association->bytes, bytes, memory_order_relaxed) + bytes;

    /* Without a limit a new one is asked for before the sequence numbers of 32 bits come to their end. */
    const int late = !(association->flags & WSE_SA_ESN) && all >= LATE;

    atomic_store_explicit(&association->last, now, memory_order_relaxed);
    return told_of(association, late || over(limits->soft_packets, all) || over(limits->soft_bytes, size),
                   over(limits->hard_packets, all) || over(limits->hard_bytes, size));
}

uint32_t wse_association_due(struct wse_association *association, uint64_t now)
{
    const struct wse_limits *limits = &association->limits;
    const uint64_t age = now - association->since;
    const uint64_t last = atomic_load_explicit(&association->last, memory_order_relaxed);

    return told_of(association, over(limits->soft_seconds, age),
                   over(limits->hard_seconds, age) || over(limits->idle_seconds, now > last ? now - last : 0));
}
