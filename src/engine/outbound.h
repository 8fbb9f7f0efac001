/* SPDX-License-Identifier: Apache-2.0 */
/* From a device's queue to the peers: packets are cut, sealed, and sent many at a time. A worker's. */
#ifndef WSASEC_ENGINE_OUTBOUND_H
#define WSASEC_ENGINE_OUTBOUND_H

#include <stdint.h>

struct wse_outbound;
struct wse_worker;

/* 0 or -errno. It lives as long as the program. */
int wse_outbound_make(struct wse_outbound **outbound, struct wse_worker *worker);

/* Reads what the device with this number has now, up to a bound, and sends it; 0: nothing is left. In an epoch. */
int wse_outbound_serve(struct wse_outbound *outbound, uint32_t link);

/* The same of its queue for bulk, and less at a time: then all others are looked at. */
void wse_outbound_serve_bulk(struct wse_outbound *outbound, uint32_t link);

/* Sends what waited for an association that is there now, and drops what waited too long. In an epoch. */
void wse_outbound_tend(struct wse_outbound *outbound);

/* Whether something waits, so that wse_outbound_tend is to be called again in a second. */
int wse_outbound_waits(const struct wse_outbound *outbound);

#endif
