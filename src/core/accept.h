/* SPDX-License-Identifier: Apache-2.0 */
#ifndef WSASEC_CORE_ACCEPT_H
#define WSASEC_CORE_ACCEPT_H

#include "../backend.h"
#include "wsasec_accept.h"

/* What a listener's connections are to be; for one thread. It must not be moved: the plan points to the request. */
struct wsasec_acceptor {
    struct wsasec_request request;
    struct wsasec_plan plan;
    wsasec_socket listener;
    uint8_t family;
    uint8_t type;
    uint8_t secured; /* otherwise its connections are plain */
};

int32_t wsasec_acceptor_prepare(struct wsasec_acceptor *acceptor, wsasec_socket listener, wsasec_status *status);

/* In the flags: the socket stays within this library, so nothing need be remembered of it. */
#define WSASEC_ACCEPT_OWN UINT32_C(0x80000000)

/* As wsasec_accept(); status may not be NULL. */
int32_t wsasec_acceptor_next(struct wsasec_acceptor *acceptor, uint32_t flags, wsasec_socket *accepted, void *address,
                             uint32_t *address_len, wsasec_status *status);

#endif
