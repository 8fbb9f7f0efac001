/* SPDX-License-Identifier: Apache-2.0 */
/* What Windows' answer to WSASetSocketSecurity says of the socket. */
#include "explain.h"

#include <winsock2.h>

#include "../core/errors.h"
#include "../core/secure.h"
#include "failure.h"

/* What a socket is that Windows finds invalid: the code is Windows', the words may say more. */
static void explain_invalid(wsasec_socket socket, wsasec_status *status)
{
    struct wsasec_facts facts;
    wsasec_status found;

    if (wsasec_backend_inspect(socket, &facts, &found)) {
        if (found.reason != WSASEC_REASON_NOT_A_SOCKET) /* what is not found out excuses nothing */
            return;
    } else if (!wsasec_check_kind(&facts, &found)) {
        /* Secured before, or with settings that Windows does not take: nothing tells which. */
        if (!facts.bound)
            return;
        wsasec_fail(&found, WSASEC_STEP_STATE, wsasec_backend_bound_reason(socket), 0);
    }
    status->step = found.step;
    status->reason = found.reason;
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
        explain_invalid(socket, status);
        break;
    default:
        break;
    }
    return code;
}
