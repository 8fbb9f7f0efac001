/* SPDX-License-Identifier: Apache-2.0 */
/* What Windows' answer to WSASetSocketSecurity says of the socket. */
#include "explain.h"

#include <winsock2.h>

#include "../backend.h"
#include "failure.h"

/* What a socket is that Windows finds invalid: the code is Windows', the words may say more. */
static unsigned why_invalid(wsasec_socket socket)
{
    struct wsasec_facts facts;
    wsasec_status status;

    if (wsasec_backend_inspect(socket, &facts, &status))
        return status.reason;
    if (facts.family == WSASEC_FAMILY_OTHER)
        return WSASEC_REASON_FAMILY;
    if (facts.type == WSASEC_TYPE_OTHER)
        return WSASEC_REASON_TYPE;
    return facts.bound ? wsasec_backend_bound_reason(socket) : WSASEC_REASON_SYSTEM;
}

int32_t wsasec_explain(wsasec_socket socket, int32_t error, wsasec_status *status)
{
    const int32_t code = wsasec_fail_winsock(status, WSASEC_STEP_SECURE, error);

    switch (error) {
    case WSAENOTSOCK:
        status->step = WSASEC_STEP_DESCRIPTOR;
        break;
    case WSAEAFNOSUPPORT:
        status->step = WSASEC_STEP_KIND;
        break;
    case WSAEISCONN:
        status->step = WSASEC_STEP_STATE;
        break;
    case WSAEINVAL:
        status->reason = (uint16_t)why_invalid(socket);
        if (status->reason != WSASEC_REASON_SYSTEM)
            status->step = WSASEC_STEP_STATE;
        break;
    default:
        break;
    }
    return code;
}
