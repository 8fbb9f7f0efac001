/* SPDX-License-Identifier: Apache-2.0 */
/* What the codes of the Windows Filtering Platform stand for: Win32 errors, and those of its own facility. */
#include "wfp.h"

#include "../core/errors.h"

static unsigned reason_of(DWORD error)
{
    switch (error) {
    case ERROR_ACCESS_DENIED:
        return WSASEC_REASON_ADMINISTRATOR;
    case RPC_S_SERVER_UNAVAILABLE:
    case RPC_S_UNKNOWN_IF:
    case RPC_S_CALL_FAILED:
    case RPC_S_CALL_FAILED_DNE:
    case EPT_S_NOT_REGISTERED:
    case ERROR_SERVICE_NOT_ACTIVE:
    case ERROR_SERVICE_DISABLED:
    case ERROR_DEPENDENT_SERVICES_RUNNING:
        return WSASEC_REASON_ENGINE_DOWN;
    case ERROR_NOT_ENOUGH_MEMORY:
    case RPC_S_OUT_OF_MEMORY:
    case ERROR_NO_SYSTEM_RESOURCES:
        return WSASEC_REASON_NO_MEMORY;
    case ERROR_NOT_SUPPORTED:
    case ERROR_CALL_NOT_IMPLEMENTED:
    case RPC_S_CANNOT_SUPPORT:
        return WSASEC_REASON_NOT_IMPLEMENTED;
    default:
        break;
    }
    switch ((HRESULT)error) {
    case FWP_E_NOT_FOUND:
    case FWP_E_PROVIDER_CONTEXT_NOT_FOUND:
        return WSASEC_REASON_NO_SUCH_POLICY;
    case FWP_E_ALREADY_EXISTS:
        return WSASEC_REASON_POLICY_EXISTS;
    case FWP_E_IN_USE:
        return WSASEC_REASON_POLICY_IN_USE;
    case FWP_E_WRONG_SESSION:
    case FWP_E_LIFETIME_MISMATCH:
    case FWP_E_BUILTIN_OBJECT:
        return WSASEC_REASON_POLICY_OF_OTHERS;
    case FWP_E_SESSION_ABORTED: /* its service stopped meanwhile */
        return WSASEC_REASON_ENGINE_DOWN;
    case FWP_E_TIMEOUT:
        return WSASEC_REASON_ENGINE_BUSY;
    default:
        return WSASEC_REASON_POLICY_VALUE;
    }
}

int32_t wsasec_wfp_fail(wsasec_status *status, unsigned step, DWORD error)
{
    return wsasec_fail(status, step, reason_of(error), (int32_t)error);
}
