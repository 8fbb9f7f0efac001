/* SPDX-License-Identifier: Apache-2.0 */
#include "failure.h"

#include <winsock2.h>

#include "../backend.h"

/* Of WSASetSocketSecurity and its sisters. */
static unsigned reason_of(int32_t error)
{
    switch (error) {
    case WSA_IO_PENDING:
        return WSASEC_REASON_PENDING;
    case WSAENOTSOCK:
    case WSAEBADF:
        return WSASEC_REASON_NOT_A_SOCKET;
    case WSAEISCONN:
        return WSASEC_REASON_CONNECTED;
    case WSAEAFNOSUPPORT:
        return WSASEC_REASON_FAMILY_UNSUPPORTED;
    case WSAEOPNOTSUPP:
        return WSASEC_REASON_NO_FUNCTION;
    case WSAEACCES:
        return WSASEC_REASON_REFUSED;
    case WSAENETDOWN:
        return WSASEC_REASON_SERVICES;
    case WSAENOBUFS:
    case WSA_NOT_ENOUGH_MEMORY:
        return WSASEC_REASON_NO_MEMORY;
    case WSANOTINITIALISED:
        return WSASEC_REASON_NO_WINSOCK;
    default:
        return WSASEC_REASON_SYSTEM;
    }
}

/* Of calls that have nothing to do with IPsec. */
static unsigned reason_of_ordinary(unsigned step, int32_t error)
{
    switch (error) {
    case WSAEMFILE:
        return WSASEC_REASON_NO_DESCRIPTORS;
    case WSAEADDRINUSE:
        return WSASEC_REASON_ADDRESS_IN_USE;
    case WSAEADDRNOTAVAIL:
        return WSASEC_REASON_ADDRESS_NOT_HERE;
    case WSAEWOULDBLOCK:
        return step == WSASEC_STEP_ACCEPT ? WSASEC_REASON_WOULD_BLOCK : WSASEC_REASON_SYSTEM;
    case WSAEACCES:
        return WSASEC_REASON_FORBIDDEN;
    case WSAEOPNOTSUPP:
    case WSAEISCONN:
    case WSAENETDOWN:
        return WSASEC_REASON_SYSTEM;
    default:
        return reason_of(error);
    }
}

static int is_ordinary(unsigned step)
{
    return step >= WSASEC_STEP_CREATE && step <= WSASEC_STEP_LISTENER;
}

int32_t wsasec_fail_winsock(wsasec_status *status, unsigned step, int32_t error)
{
    wsasec_fail(status, step, is_ordinary(step) ? reason_of_ordinary(step, error) : reason_of(error), error);
    if (status)
        status->code = -error;
    return -error;
}

int32_t wsasec_backend_fail(unsigned step, int32_t error, wsasec_status *status)
{
    return wsasec_fail_winsock(status, step, error);
}
