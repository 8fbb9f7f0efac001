/* SPDX-License-Identifier: Apache-2.0 */
/* Sockets that other programs handed over: as many sockets in one call, but of one network namespace only. */
#include <string.h>

#include "../backend.h"
#include "errors.h"
#include "settings.h"
#include "unasked.h"

size_t wsasec_secure_received(wsasec_socket here, const int32_t *sockets, size_t count, const void *settings,
                              uint32_t settings_len, int32_t *codes, wsasec_status *first)
{
    struct wsasec_request request;
    struct wsasec_plan plan;
    struct wsasec_readiness readiness = {0};
    wsasec_status status;
    uint64_t own = 0;
    const int known = wsasec_backend_realm(here, &own, &status) == 0;
    size_t failed = 0;

    memset(first, 0, sizeof *first);
    wsasec_settings_read(settings, settings_len, &request);
    wsasec_backend_plan(&request, &plan);
    for (size_t i = 0; i < count; i++) {
        uint64_t realm;

        memset(&status, 0, sizeof status);
        /* What does not tell its namespace is no socket: the checks say so. */
        if (wsasec_backend_realm(sockets[i], &realm, &status) == 0 && !(known && realm == own))
            codes[i] = wsasec_fail(&status, WSASEC_STEP_DAEMON, WSASEC_REASON_DAEMON_NAMESPACE, 0);
        else
            codes[i] = wsasec_secure_one(&request, &plan, &readiness, sockets[i], &status);
        if (codes[i] && !failed++)
            *first = status;
    }
    return failed;
}
