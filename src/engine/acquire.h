/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Packets without an association: a bounded number waits for it, per destination, per device and in all, and the
 * association is asked for once a second and destination. A worker's own, so that nothing is locked; allocated at the start.
 */
#ifndef WSASEC_ENGINE_ACQUIRE_H
#define WSASEC_ENGINE_ACQUIRE_H

#include <stddef.h>
#include <stdint.h>

#include "packet.h"

enum {
    WSE_HELD = 1024,            /* packets in all; of one device half of what the others leave, as of destinations */
    WSE_HELD_DESTINATION = 256, /* for one */
    WSE_HELD_DESTINATIONS = 256,
    WSE_HELD_ROOMLESS = 16, /* a second, that are asked for though nothing of them can wait */
    WSE_HELD_SECONDS = 5 /* that a packet waits */
};

struct wse_holds;
struct wse_worker;

/* NULL: no memory. */
struct wse_holds *wse_holds_make(struct wse_worker *worker);

/* How many packets wait. */
unsigned wse_holds_count(const struct wse_holds *holds);

/* Whether packets wait for this one's destination: then this one must not overtake them. */
int wse_holds_has(const struct wse_holds *holds, uint32_t reqid, const struct wse_packet *packet);

/* Keeps a copy, or counts it as lost where there is no room, and asks for an association. */
void wse_holds_add(struct wse_holds *holds, uint32_t reqid, uint32_t link, const struct wse_packet *packet);

/*
 * Hands what waits to `send` in its order, where an association is there now (as `ready` says), and drops what is too
 * old. Frames begin with a virtio_net_hdr.
 */
void wse_holds_tend(struct wse_holds *holds,
                    int (*ready)(void *context, uint32_t reqid, uint16_t family, const uint8_t *source,
                                 const uint8_t *destination),
                    void (*send)(void *context, uint32_t reqid, uint32_t link, const uint8_t *frame, size_t length),
                    void *context);

#endif
