/* SPDX-License-Identifier: Apache-2.0 */
/* Many sockets in one call: the settings are read once, and nothing is allocated for a socket. */
#include <string.h>

#include "settings.h"
#include "unasked.h"

size_t wsasec_secure_many(const int32_t *sockets, size_t count, const void *settings, uint32_t settings_len,
                          int32_t *codes, wsasec_status *first)
{
    struct wsasec_request request;
    struct wsasec_plan plan;
    struct wsasec_readiness readiness = {0};
    wsasec_status status;
    size_t failed = 0;

    if (first)
        memset(first, 0, sizeof *first);
    wsasec_settings_read(settings, settings_len, &request);
    wsasec_backend_plan(&request, &plan);
    for (size_t i = 0; i < count; i++) {
        int32_t code = wsasec_secure_one(&request, &plan, &readiness, sockets[i], &status);

        if (codes)
            codes[i] = code;
        if (code && !failed++ && first)
            *first = status;
    }
    return failed;
}
