/* SPDX-License-Identifier: Apache-2.0 */
/* Sockets of a realm that was found ready for others, where the system has one call that looks at them itself. */
#ifndef WSASEC_CORE_AT_ONCE_H
#define WSASEC_CORE_AT_ONCE_H

#include "secure.h"

/* Remembers, for sockets to come, where one was found ready. */
void wsasec_at_once_note(const struct wsasec_request *request, const struct wsasec_facts *facts);

/*
 * Secures a socket in that way. Returns 1 when all is done. 0: the socket is as it was, whatever the reason, and the long
 * way finds out which.
 */
int wsasec_secure_at_once(const struct wsasec_request *request, struct wsasec_readiness *readiness,
                          wsasec_socket socket);

#endif
