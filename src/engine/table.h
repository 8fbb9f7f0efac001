/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Where associations are found: by SPI and addresses when a packet is received, by reqid and addresses when one is sent. The
 * workers read without a lock; only the control thread writes.
 */
#ifndef WSASEC_ENGINE_TABLE_H
#define WSASEC_ENGINE_TABLE_H

#include <stdatomic.h>
#include <stdint.h>

#include "control_protocol.h"
#include "epoch.h"
#include "sa.h"

enum { WSE_SAS_MAX = 65536, WSE_BUCKETS = 131072 };

/* The outbound associations of a pair of addresses and a reqid. */
struct wse_peer {
    struct wse_retired retired; /* first */
    uint8_t source[16], destination[16];
    uint32_t reqid;
    uint16_t family;
    _Atomic(struct wse_peer *) next;
    _Atomic(struct wse_association *) newest;
    struct wse_association *associations; /* newest first; the control thread's */
};

struct wse_table {
    uint64_t seed;
    _Atomic(struct wse_association *) *by_spi; /* inbound and outbound */
    _Atomic(struct wse_peer *) *by_peer;
    struct wse_association *all; /* the control thread's; newest first */
    uint32_t count;
    uint32_t serial;
};

/* 0 or -ENOMEM. seed is drawn at random. */
int wse_table_start(struct wse_table *table, uint64_t seed);

/* A worker's, in an epoch. An inbound one with these addresses; then, with UDP, one whose peer is elsewhere now; or NULL. */
struct wse_association *wse_table_inbound(const struct wse_table *table, uint32_t spi, uint16_t family,
                                          const void *source, const void *destination, int udp);

/* A worker's, in an epoch: the newest outbound one. Addresses are of 4 or 16 bytes. */
struct wse_association *wse_table_outbound(const struct wse_table *table, uint32_t reqid, uint16_t family,
                                           const void *source, const void *destination);

/* The control thread's. */
struct wse_association *wse_table_find(const struct wse_table *table, const struct wse_sa_name *name);
int wse_table_has_spi(const struct wse_table *table, uint32_t spi); /* inbound */
int wse_table_add(struct wse_table *table, struct wse_association *association); /* 0, -EEXIST, -ENOSPC, -ENOMEM */
void wse_table_remove(struct wse_table *table, struct wse_epochs *epochs, struct wse_association *association,
                      void (*end)(struct wse_retired *retired));

/* Wipes and frees all that there is: no worker runs any more. */
void wse_table_end(struct wse_table *table);

#endif
