/* SPDX-License-Identifier: Apache-2.0 */
/* From a transport's socket to the devices: datagrams are opened, checked, put together, and written. A worker's. */
#ifndef WSASEC_ENGINE_INBOUND_H
#define WSASEC_ENGINE_INBOUND_H

#include <stdint.h>

struct wse_inbound;
struct wse_worker;

/* 0 or -errno. It lives as long as the program. */
int wse_inbound_make(struct wse_inbound **inbound, struct wse_worker *worker);

/* Receives what the transport with this number has now, up to a bound, and writes it to the devices. In an epoch. */
void wse_inbound_serve(struct wse_inbound *inbound, uint32_t port);

/* Takes what routers said of earlier packets out of the socket, so that it is not ready for ever. In an epoch. */
void wse_inbound_errors(struct wse_inbound *inbound, uint32_t port);

#endif
