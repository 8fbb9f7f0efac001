/* SPDX-License-Identifier: Apache-2.0 */
/* Sockets of which nothing is asked before the system's own call, which checks them (wsasec_request.unasked). */
#ifndef WSASEC_CORE_UNASKED_H
#define WSASEC_CORE_UNASKED_H

#include "secure.h"

/* What is known of such a socket: that it is new to its place. */
int32_t wsasec_unasked_facts(wsasec_socket socket, struct wsasec_facts *facts, wsasec_status *status);

/* As wsasec_secure_one(), without an OVERLAPPED. */
int32_t wsasec_secure_unasked(const struct wsasec_request *request, struct wsasec_plan *plan, wsasec_socket socket,
                              wsasec_status *status);

#endif
