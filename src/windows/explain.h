/* SPDX-License-Identifier: Apache-2.0 */
#ifndef WSASEC_WINDOWS_EXPLAIN_H
#define WSASEC_WINDOWS_EXPLAIN_H

#include "wsasec.h"

/* As wsasec_fail_winsock() for WSASetSocketSecurity; the words, and the step, tell what is wrong with the socket. */
int32_t wsasec_explain(wsasec_socket socket, int32_t error, wsasec_status *status);

#endif
