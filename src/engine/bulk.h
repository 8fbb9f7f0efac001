/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which flows send much. What is sent into a device waits in a queue of the kernel's; where there is more than the
 * engine has time for, all else would wait behind what a few streams have there: a request for a tenth of a second
 * and more. So each worker can have two queues of a device, and takes of the second one, the bulk's, only when the
 * first is empty.
 *
 * The kernel puts a flow's packets into the queue by which the last packet of its other direction was written
 * (tun_flow_update() in drivers/net/tun.c), as network cards with many queues are to be used; one of which none was
 * written it puts into any. So inbound workers write by the one or the other. A flow keeps its order: what is in the
 * first queue goes before what it puts into the second, and when it comes back, a second after it has stopped, what
 * it had there should have been read.
 */
#ifndef WSASEC_ENGINE_BULK_H
#define WSASEC_ENGINE_BULK_H

#include <stdatomic.h>
#include <stdint.h>

#include "inner.h"
#include "packet.h"

enum {
    WSE_BULK_FLOWS = 65536,      /* places for them; those that meet in one are counted together */
    WSE_BULK_LIMIT = 64 * 1024,  /* bytes that a flow may send at once and still be none that sends much */
    WSE_BULK_RATE = 32,          /* bytes a millisecond that it may send for ever */
    WSE_BULK_MOST = 96 * 1024,   /* what is counted of one that sends much: it does for a second more */
    WSE_BULK_SINGLE = 8          /* packets that are no super packets count an eighth */
};

/* Any worker's. */
struct wse_bulk {
    uint64_t seed;
    _Atomic(uint64_t) flows[WSE_BULK_FLOWS]; /* milliseconds when it sent last, and above what it may: bytes */
};

/* seed: drawn at random, so that nobody outside knows which flows are counted together. */
void wse_bulk_start(struct wse_bulk *bulk, uint64_t seed);

/* A packet goes out: counts it, and says whether its flow sends much. now: milliseconds. */
int wse_bulk_sent(struct wse_bulk *bulk, uint32_t device, const struct wse_packet *packet, uint64_t now);

/* Whether the flow that a packet which came in belongs to sends much. */
int wse_bulk_answered(const struct wse_bulk *bulk, const struct wse_inner *inner, uint64_t now);

#endif
