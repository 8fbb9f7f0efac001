/* SPDX-License-Identifier: Apache-2.0 */
/* What the requests of the control socket do. The control thread's. */
#ifndef WSASEC_ENGINE_REQUESTS_H
#define WSASEC_ENGINE_REQUESTS_H

#include <stddef.h>

#include "control.h"

/*
 * Answers a request, body and descriptors of which came with it. Descriptors that it keeps are set to -1; the caller
 * closes the others.
 */
void wse_request(struct wse_control *control, struct wse_connection *connection, const struct wse_header *header,
                 void *body, size_t length, int *descriptors, unsigned count);

#endif
