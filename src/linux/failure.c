/* SPDX-License-Identifier: Apache-2.0 */
#include "failure.h"

#include "../backend.h"

#include <errno.h>

static unsigned reason_of(int error)
{
    switch (error) {
    case EBADF:
    case ENOTSOCK:
        return WSASEC_REASON_NOT_A_SOCKET;
    case EPERM:
    case EACCES:
        return WSASEC_REASON_PRIVILEGE;
    case ENOMEM:
    case ENOBUFS:
        return WSASEC_REASON_NO_MEMORY;
    case EAGAIN: /* of pthread_create(); what else may say it is asked for */
        return WSASEC_REASON_NO_THREADS;
    case EMFILE:
        return WSASEC_REASON_NO_DESCRIPTORS;
    case ENFILE:
        return WSASEC_REASON_NO_FILES;
    case EAFNOSUPPORT:
        return WSASEC_REASON_FAMILY_UNSUPPORTED;
    case ENOPROTOOPT:
    case EOPNOTSUPP:
    case EPROTONOSUPPORT:
        return WSASEC_REASON_NO_XFRM;
    case EADDRINUSE:
        return WSASEC_REASON_ADDRESS_IN_USE;
    case EADDRNOTAVAIL:
        return WSASEC_REASON_ADDRESS_NOT_HERE;
    default:
        return WSASEC_REASON_SYSTEM;
    }
}

/* Of calls that have nothing to do with IPsec. */
static unsigned reason_of_ordinary(unsigned step, int error)
{
    switch (error) {
    case EACCES:
        return step == WSASEC_STEP_BIND ? WSASEC_REASON_PRIVILEGED_PORT : WSASEC_REASON_FORBIDDEN;
    case EPERM:
        return WSASEC_REASON_FORBIDDEN;
    case ENOPROTOOPT:
    case EOPNOTSUPP:
    case EPROTONOSUPPORT:
        return WSASEC_REASON_SYSTEM;
    default:
        return reason_of(error);
    }
}

static int is_ordinary(unsigned step)
{
    return step == WSASEC_STEP_CREATE || step == WSASEC_STEP_OPTIONS || step == WSASEC_STEP_BIND ||
           step == WSASEC_STEP_ACCEPT;
}

int32_t wsasec_fail_errno(wsasec_status *status, unsigned step, int error)
{
    return wsasec_fail(status, step, is_ordinary(step) ? reason_of_ordinary(step, error) : reason_of(error), error);
}

int32_t wsasec_backend_fail(unsigned step, int32_t error, wsasec_status *status)
{
    return wsasec_fail_errno(status, step, error);
}
