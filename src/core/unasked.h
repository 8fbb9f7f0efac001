/* SPDX-License-Identifier: Apache-2.0 */
/* Sockets of which nothing is asked before the system's own call, which checks them (wsasec_request.unasked). */
#ifndef WSASEC_CORE_UNASKED_H
#define WSASEC_CORE_UNASKED_H

#include "secure.h"

/* What is known of such a socket: that it is new to its place. */
int32_t wsasec_unasked_facts(wsasec_socket socket, struct wsasec_facts *facts, wsasec_status *status);

/* As wsasec_secure_asked(), without an OVERLAPPED. */
int32_t wsasec_secure_unasked(const struct wsasec_request *request, struct wsasec_plan *plan, wsasec_socket socket,
                              wsasec_status *status);

/* WSASetSocketSecurity for one socket, with settings that were read before; status may not be NULL. */
static inline int32_t wsasec_secure_one(const struct wsasec_request *request, struct wsasec_plan *plan,
                                        struct wsasec_readiness *readiness, wsasec_socket socket,
                                        wsasec_status *status)
{
    if (request->unasked && !request->overlapped)
        return wsasec_secure_unasked(request, plan, socket, status);
    return wsasec_secure_asked(request, plan, readiness, socket, status);
}

#endif
