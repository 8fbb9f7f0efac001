/* SPDX-License-Identifier: Apache-2.0 */
#ifndef WSASEC_CORE_SECURE_H
#define WSASEC_CORE_SECURE_H

#include "../backend.h"

/* Inspects a socket and checks that its family and type can be secured. */
int32_t wsasec_check_kind(const struct wsasec_facts *facts, wsasec_status *status);

/* WSASetSocketSecurity for one socket, with settings that were read before; status may not be NULL. */
int32_t wsasec_secure_one(const struct wsasec_request *request, const struct wsasec_plan *plan,
                          wsasec_socket socket, wsasec_status *status);

#endif
