/* SPDX-License-Identifier: Apache-2.0 */
/* Sessions with the base filtering engine. */
#include "wfp.h"

#include <stdlib.h>

#include "../core/errors.h"

/* FWPM_SESSION_FLAG_DYNAMIC; not every header has it. */
enum { FLAG_DYNAMIC = 1 };

wsasec_policy_session *wsasec_policy_session_open(uint32_t flags, wsasec_status *status)
{
    static wchar_t name[] = L"wsasec";
    const struct wsasec_wfp *wfp = wsasec_wfp_get(status);
    wsasec_policy_session *session;
    FWPM_SESSION0 wanted;
    DWORD error;

    if (!wfp)
        return NULL;
    session = malloc(sizeof *session);
    if (!session) {
        wsasec_fail(status, WSASEC_STEP_ENGINE, WSASEC_REASON_NO_MEMORY, 0);
        return NULL;
    }
    memset(&wanted, 0, sizeof wanted);
    wanted.displayData.name = name;
    wanted.flags = flags & WSASEC_SESSION_DYNAMIC ? FLAG_DYNAMIC : 0;
    session->wfp = wfp;
    session->engine = NULL;
    error = wfp->engine_open(NULL, RPC_C_AUTHN_WINNT, NULL, &wanted, &session->engine);
    if (error != ERROR_SUCCESS) {
        wsasec_wfp_fail(status, WSASEC_STEP_ENGINE, error);
        free(session);
        return NULL;
    }
    return session;
}

void wsasec_policy_session_close(wsasec_policy_session *session)
{
    if (!session)
        return;
    session->wfp->engine_close(session->engine);
    free(session);
}
