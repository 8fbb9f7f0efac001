/* SPDX-License-Identifier: Apache-2.0 */
#ifndef WSASEC_CORE_SECURE_H
#define WSASEC_CORE_SECURE_H

#include "../backend.h"

/* Checks that a socket's family and type can be secured. */
int32_t wsasec_check_kind(const struct wsasec_facts *facts, wsasec_status *status);

/* Where wsasec_backend_ready() was asked last, and for how many more sockets its answer is taken. */
struct wsasec_readiness {
    uint64_t realm;
    uint32_t left;
    uint8_t family;
};

/* WSASetSocketSecurity for one socket, with settings that were read before; status may not be NULL. */
int32_t wsasec_secure_one(const struct wsasec_request *request, struct wsasec_plan *plan,
                          struct wsasec_readiness *readiness, wsasec_socket socket, wsasec_status *status);

#endif
