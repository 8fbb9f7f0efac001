/* SPDX-License-Identifier: Apache-2.0 */
#include "failure.h"

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
    case EMFILE:
    case ENFILE:
        return WSASEC_REASON_NO_DESCRIPTORS;
    case EAFNOSUPPORT:
        return WSASEC_REASON_FAMILY_UNSUPPORTED;
    case ENOPROTOOPT:
    case EOPNOTSUPP:
    case EPROTONOSUPPORT:
        return WSASEC_REASON_NO_XFRM;
    default:
        return WSASEC_REASON_SYSTEM;
    }
}

int32_t wsasec_fail_errno(wsasec_status *status, unsigned step, int error)
{
    return wsasec_fail(status, step, reason_of(error), error);
}
