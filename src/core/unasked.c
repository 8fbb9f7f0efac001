/* SPDX-License-Identifier: Apache-2.0 */
/* Without a claim: to ask and to claim took most of the time of a loop whose calls take little themselves. */
#include "unasked.h"

#include "errors.h"

static const struct wsasec_facts unasked = {.family = WSASEC_FAMILY_UNASKED, .type = WSASEC_TYPE_UNASKED};

static int is_number(wsasec_socket socket)
{
    return socket >= 0 && socket <= INT32_MAX;
}

static int32_t not_a_socket(wsasec_status *status)
{
    return wsasec_fail(status, WSASEC_STEP_DESCRIPTOR, WSASEC_REASON_NOT_A_SOCKET, 0);
}

int32_t wsasec_unasked_facts(wsasec_socket socket, struct wsasec_facts *facts, wsasec_status *status)
{
    if (!is_number(socket))
        return not_a_socket(status);
    *facts = unasked;
    facts->identity = wsasec_socket_next_identity(socket);
    return 0;
}

int32_t wsasec_secure_unasked(const struct wsasec_request *request, struct wsasec_plan *plan, wsasec_socket socket,
                              wsasec_status *status)
{
    struct wsasec_entry *entry;
    int32_t code;

    if (!is_number(socket))
        return not_a_socket(status);
    entry = wsasec_socket_entry(socket);
    if (!entry)
        return wsasec_no_room(socket, status);
    code = wsasec_backend_apply(plan, &unasked, socket, status);
    wsasec_entry_settle(entry, request->profile_number,
                        code ? (unsigned)wsasec_failed(request, socket, status) : wsasec_outcome_of(request, 0));
    return code;
}
