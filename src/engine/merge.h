/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Puts received segments together: contiguous TCP segments of a flow become one TSO packet, UDP datagrams of equal size
 * one USO packet, with a partial checksum, as GRO does. Many flows are open at a time; each keeps its order. Payload is
 * not copied: what is emitted is a list of vectors for writev, of which the first holds the headers.
 *
 * For each batch of receives: wse_merge_add for each packet, then wse_merge_flush. A packet's bytes and its addresses
 * have to stay until the flush (struct wse_inner itself is copied). A merger belongs to one thread.
 */
#ifndef WSASEC_ENGINE_MERGE_H
#define WSASEC_ENGINE_MERGE_H

#include <sys/uio.h>

#include "inner.h"

enum { WSE_MERGE_FLOWS = 64, WSE_MERGE_SEGMENTS = 64 };

enum wse_merge_offload { WSE_MERGE_TCP = 1, WSE_MERGE_UDP = 2 /* Linux 6.2: TUN_F_USO4, TUN_F_USO6 */ };

/* Writes one packet: vectors[0] begins with the virtio_net_hdr. count is at least 1. first: what it begins with. */
typedef void (*wse_merge_emit)(void *context, const struct wse_inner *first, const struct iovec *vectors, int count);

struct wse_merge_flow {
    struct wse_inner first;
    uint64_t hash;
    uint32_t next_sequence; /* TCP */
    uint32_t data;          /* payload bytes so far */
    uint16_t size;          /* payload bytes of a segment */
    uint16_t count;
    uint16_t older, newer;  /* list in order of opening */
    uint16_t chain;         /* next in the bucket, or of the free ones */
    uint8_t full;           /* nothing more may follow: a short one, or PSH, came last */
    uint8_t header[WSE_VNET_LENGTH + 40 + 60]; /* the transport header from 50 on, until it is emitted */
    struct iovec vectors[1 + WSE_MERGE_SEGMENTS];
};

struct wse_merge {
    wse_merge_emit emit;
    void *context;
    int offloads;
    uint32_t flows;
    uint16_t oldest, newest, free;
    uint16_t buckets[2 * WSE_MERGE_FLOWS];
    uint64_t seed;
    uint64_t packets, written; /* counted: taken in, emitted */
    struct wse_merge_flow table[WSE_MERGE_FLOWS];
};

/* seed: drawn at random, so that nobody outside knows which flows meet in a bucket. */
void wse_merge_start(struct wse_merge *merge, int offloads, uint64_t seed, wse_merge_emit emit, void *context);

/* Takes a packet that passed wse_inner_check; emits others, or it, as needed. */
void wse_merge_add(struct wse_merge *merge, const struct wse_inner *inner);

/* Emits all that is open, the oldest first. */
void wse_merge_flush(struct wse_merge *merge);

#endif
