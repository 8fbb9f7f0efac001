/* SPDX-License-Identifier: Apache-2.0 */
/* Many sockets in one call: the settings are read once, and nothing is allocated for a socket. */
#include <string.h>

#include "settings.h"
#include "unasked.h"
#include "wsasec_batch.h"

/* A broker takes many at a time. Returns how many failed, or SIZE_MAX: there was no memory. */
static size_t secure_in_groups(const int32_t *sockets, size_t count, const void *settings, uint32_t settings_len,
                               int32_t *codes, wsasec_status *first)
{
    wsasec_job *job =
        wsasec_job_secure(sockets, count, settings, settings_len, codes, WSASEC_METHOD_PLAIN, 0, NULL);

    if (!job)
        return SIZE_MAX;
    while (!wsasec_job_run(job, UINT64_MAX))
        continue;
    return wsasec_job_end(job, first);
}

size_t wsasec_secure_many(const int32_t *sockets, size_t count, const void *settings, uint32_t settings_len,
                          int32_t *codes, wsasec_status *first)
{
    struct wsasec_request request;
    struct wsasec_plan plan;
    struct wsasec_readiness readiness = {0};
    wsasec_status status;
    size_t failed = 0;
    size_t in_groups;

    if (first)
        memset(first, 0, sizeof *first);
    wsasec_settings_read(settings, settings_len, &request);
    wsasec_backend_plan(&request, &plan);
    readiness.lacking = wsasec_backend_lacks_privilege() != 0;
    if (readiness.lacking && count > 1) {
        in_groups = secure_in_groups(sockets, count, settings, settings_len, codes, first);
        if (in_groups != SIZE_MAX)
            return in_groups;
    }
    for (size_t i = 0; i < count; i++) {
        int32_t code = wsasec_secure_one(&request, &plan, &readiness, sockets[i], &status);

        if (codes)
            codes[i] = code;
        if (code && !failed++ && first)
            *first = status;
    }
    return failed;
}
