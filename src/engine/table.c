/* SPDX-License-Identifier: Apache-2.0 */
#include "table.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "memory.h"

static size_t size_of(uint16_t family)
{
    return family == AF_INET ? 4 : 16;
}

static uint64_t mixed(uint64_t value)
{
    value ^= value >> 32;
    value *= 0x9e3779b97f4a7c15U;
    value ^= value >> 29;
    value *= 0xbf58476d1ce4e5b9U;
    return value ^ value >> 32;
}

static size_t bucket_of_spi(const struct wse_table *table, uint32_t spi)
{
    return mixed(spi ^ table->seed) & (WSE_BUCKETS - 1);
}

static size_t bucket_of_peer(const struct wse_table *table, uint32_t reqid, uint16_t family, const void *source,
                             const void *destination)
{
    uint64_t words[4] = {0};
    uint64_t hash = mixed(reqid ^ table->seed);

    memcpy(&words[0], source, size_of(family));
    memcpy(&words[2], destination, size_of(family));
    for (int i = 0; i < 4; i++)
        hash = mixed(hash ^ words[i]);
    return hash & (WSE_BUCKETS - 1);
}

int wse_table_start(struct wse_table *table, uint64_t seed)
{
    table->seed = seed;
    table->by_spi = wse_pages(WSE_BUCKETS * sizeof *table->by_spi);
    table->by_peer = wse_pages(WSE_BUCKETS * sizeof *table->by_peer);
    return table->by_spi && table->by_peer ? 0 : -ENOMEM;
}

struct wse_association *wse_table_inbound(const struct wse_table *table, uint32_t spi, uint16_t family,
                                          const void *source, const void *destination, int udp)
{
    struct wse_association *moved = NULL;
    struct wse_association *each =
        atomic_load_explicit(&table->by_spi[bucket_of_spi(table, spi)], memory_order_acquire);

    for (; each; each = atomic_load_explicit(&each->next_by_spi, memory_order_acquire)) {
        if (each->name.spi != spi || each->name.direction != WSE_INBOUND || each->name.family != family ||
            !(each->flags & WSE_SA_UDP) != !udp || memcmp(each->name.destination, destination, size_of(family)))
            continue;
        if (!memcmp(each->name.source, source, size_of(family)))
            return each;
        /* A translator of addresses may have given the peer another one: the tag tells whether it is the peer. */
        if (udp)
            moved = each;
    }
    return moved;
}

static struct wse_peer *peer_of(const struct wse_table *table, uint32_t reqid, uint16_t family, const void *source,
                                const void *destination)
{
    struct wse_peer *peer = atomic_load_explicit(
        &table->by_peer[bucket_of_peer(table, reqid, family, source, destination)], memory_order_acquire);

    while (peer && (peer->reqid != reqid || peer->family != family ||
                    memcmp(peer->destination, destination, size_of(family)) ||
                    memcmp(peer->source, source, size_of(family))))
        peer = atomic_load_explicit(&peer->next, memory_order_acquire);
    return peer;
}

struct wse_association *wse_table_outbound(const struct wse_table *table, uint32_t reqid, uint16_t family,
                                           const void *source, const void *destination)
{
    const struct wse_peer *peer = peer_of(table, reqid, family, source, destination);

    return peer ? atomic_load_explicit(&peer->newest, memory_order_acquire) : NULL;
}

struct wse_association *wse_table_find(const struct wse_table *table, const struct wse_sa_name *name)
{
    struct wse_association *each = atomic_load(&table->by_spi[bucket_of_spi(table, name->spi)]);

    while (each && memcmp(&each->name, name, sizeof *name))
        each = atomic_load(&each->next_by_spi);
    return each;
}

int wse_table_has_spi(const struct wse_table *table, uint32_t spi)
{
    struct wse_association *each = atomic_load(&table->by_spi[bucket_of_spi(table, spi)]);

    while (each && (each->name.spi != spi || each->name.direction != WSE_INBOUND))
        each = atomic_load(&each->next_by_spi);
    return each != NULL;
}

/* The newest that is not at its end. */
static void publish_newest(struct wse_peer *peer)
{
    struct wse_association *each = peer->associations;

    while (each && wse_at_end(each))
        each = each->next_of_peer;
    atomic_store_explicit(&peer->newest, each, memory_order_release);
}

static int add_to_peer(struct wse_table *table, struct wse_association *association)
{
    const struct wse_sa_name *name = &association->name;
    struct wse_peer *peer = peer_of(table, association->reqid, name->family, name->source, name->destination);

    if (!peer) {
        _Atomic(struct wse_peer *) *bucket = &table->by_peer[bucket_of_peer(table, association->reqid, name->family,
                                                                           name->source, name->destination)];

        peer = calloc(1, sizeof *peer);
        if (!peer)
            return -ENOMEM;
        memcpy(peer->source, name->source, sizeof peer->source);
        memcpy(peer->destination, name->destination, sizeof peer->destination);
        peer->reqid = association->reqid;
        peer->family = name->family;
        atomic_store_explicit(&peer->next, atomic_load(bucket), memory_order_relaxed);
        atomic_store_explicit(bucket, peer, memory_order_release);
    }
    association->peer = peer;
    association->next_of_peer = peer->associations;
    peer->associations = association;
    publish_newest(peer);
    return 0;
}

int wse_table_add(struct wse_table *table, struct wse_association *association)
{
    _Atomic(struct wse_association *) *bucket = &table->by_spi[bucket_of_spi(table, association->name.spi)];

    if (wse_table_find(table, &association->name))
        return -EEXIST;
    if (table->count >= WSE_SAS_MAX)
        return -ENOSPC;
    if (association->name.direction == WSE_OUTBOUND && add_to_peer(table, association))
        return -ENOMEM;
    association->serial = ++table->serial;
    atomic_store_explicit(&association->next_by_spi, atomic_load(bucket), memory_order_relaxed);
    atomic_store_explicit(bucket, association, memory_order_release);
    association->previous = NULL;
    association->next = table->all;
    if (table->all)
        table->all->previous = association;
    table->all = association;
    table->count++;
    return 0;
}

static void end_peer(struct wse_retired *retired)
{
    free(retired);
}

static void remove_from_peer(struct wse_table *table, struct wse_epochs *epochs, struct wse_association *association)
{
    struct wse_peer *peer = association->peer;
    struct wse_association **link = &peer->associations;
    _Atomic(struct wse_peer *) *before;

    while (*link != association)
        link = &(*link)->next_of_peer;
    *link = association->next_of_peer;
    publish_newest(peer);
    if (peer->associations)
        return;
    before = &table->by_peer[bucket_of_peer(table, peer->reqid, peer->family, peer->source, peer->destination)];
    while (atomic_load(before) != peer)
        before = &atomic_load(before)->next;
    /* Who is at the peer now still finds what is behind it. */
    atomic_store_explicit(before, atomic_load(&peer->next), memory_order_release);
    wse_retire(epochs, &peer->retired, end_peer);
}

void wse_table_remove(struct wse_table *table, struct wse_epochs *epochs, struct wse_association *association,
                      void (*end)(struct wse_retired *retired))
{
    _Atomic(struct wse_association *) *before = &table->by_spi[bucket_of_spi(table, association->name.spi)];

    if (association->peer)
        remove_from_peer(table, epochs, association);
    while (atomic_load(before) != association)
        before = &atomic_load(before)->next_by_spi;
    atomic_store_explicit(before, atomic_load(&association->next_by_spi), memory_order_release);
    if (association->previous)
        association->previous->next = association->next;
    else
        table->all = association->next;
    if (association->next)
        association->next->previous = association->previous;
    table->count--;
    wse_retire(epochs, &association->retired, end);
}

void wse_table_end(struct wse_table *table)
{
    while (table->all) {
        struct wse_association *first = table->all;

        table->all = first->next;
        if (first->peer) { /* the newest first there, too */
            first->peer->associations = first->next_of_peer;
            if (!first->peer->associations)
                free(first->peer);
        }
        wse_association_free(first);
    }
    table->count = 0;
}
