/* SPDX-License-Identifier: Apache-2.0 */
/* What a socket gets, as data; and what the system has, for those who ask before they rely on it. */
#include <string.h>

#include "../backend.h"
#include "errors.h"
#include "profiles.h"
#include "settings.h"

int32_t wsasec_socket_options(int address_family, const void *settings, uint32_t settings_len,
                              wsasec_option options[WSASEC_OPTIONS_MAX], size_t *count, wsasec_status *status)
{
    struct wsasec_request request;
    struct wsasec_plan plan;

    wsasec_settings_read(settings, settings_len, &request);
    if (request.buffer_reason)
        return wsasec_fail(status, WSASEC_STEP_BUFFER, request.buffer_reason, 0);
    if (!options || !count)
        return wsasec_fail(status, WSASEC_STEP_BUFFER, WSASEC_REASON_NULL_POINTER, 0);
    if (request.member_reason)
        return wsasec_fail(status, WSASEC_STEP_SETTINGS, request.member_reason, 0);
    wsasec_backend_plan(&request, &plan);
    return wsasec_backend_options(&request, &plan, address_family, options, count, status);
}

int32_t wsasec_guard_state(int address_family, const wsasec_guid *guid, wsasec_status *status)
{
    uint16_t number;
    const wsasec_profile *found = wsasec_profile_find(guid, &number);

    if (!found)
        return wsasec_fail(status, WSASEC_STEP_SETTINGS, WSASEC_REASON_QM_POLICY, 0);
    return wsasec_backend_guard_state(found, address_family, status);
}

int32_t wsasec_capability(unsigned capability, wsasec_status *status)
{
    return wsasec_backend_capability(capability, status);
}

int32_t wsasec_carrier_auto(wsasec_status *status)
{
    return wsasec_backend_carrier_auto(status);
}

void wsasec_release_namespaces(void)
{
    wsasec_backend_release();
}
