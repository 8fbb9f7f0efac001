/* SPDX-License-Identifier: Apache-2.0 */
/* The backend of Windows: its own WSASetSocketSecurity. */
#include "../backend.h"

#include <string.h>
#include <winsock2.h>

#include "../core/errors.h"
#include "explain.h"
#include "library.h"

struct plan {
    const struct wsasec_library *library; /* NULL: the status tells why */
    const struct wsasec_request *request;
    wsasec_status status;
};
_Static_assert(sizeof(struct plan) <= sizeof(struct wsasec_plan), "a plan has room");

int wsasec_backend_has_profiles(void)
{
    return 0;
}

/* The system's own services have the privilege, for every program. */
int wsasec_backend_lacks_privilege(void)
{
    return 0;
}

int wsasec_backend_broker(const struct wsasec_request *request, struct wsasec_member *members, size_t count)
{
    (void)request;
    (void)members;
    (void)count;
    return 0;
}

/* Whether a socket may go on in clear is the system's policy. */
int wsasec_backend_falls_back(const wsasec_profile *profile)
{
    (void)profile;
    return 1;
}

/* The system's call is one, and is what the long way makes. */
int wsasec_backend_one_call_begin(uint64_t realm, wsasec_socket socket, uint64_t *identity)
{
    (void)realm;
    (void)socket;
    (void)identity;
    return 0;
}

int wsasec_backend_one_call(const struct wsasec_facts *others, wsasec_socket socket)
{
    (void)others;
    (void)socket;
    return 0;
}

int32_t wsasec_backend_carrier_auto(wsasec_status *status)
{
    (void)status;
    return WSASEC_CARRIER_POLICY;
}

void wsasec_backend_plan(const struct wsasec_request *request, struct wsasec_plan *opaque)
{
    struct plan *plan = (struct plan *)(void *)opaque->bytes;

    plan->request = request;
    if (wsasec_library_get(&plan->library, &plan->status))
        plan->library = NULL;
}

/* The services that do the work tell by the call itself whether they are there. */
int32_t wsasec_backend_ready(const struct wsasec_request *request, struct wsasec_facts *facts,
                             wsasec_socket socket, wsasec_status *status)
{
    (void)request;
    (void)facts;
    (void)socket;
    (void)status;
    return 0;
}

int32_t wsasec_backend_apply(struct wsasec_plan *opaque, const struct wsasec_facts *facts, wsasec_socket socket,
                             wsasec_status *status)
{
    const struct plan *plan = (const struct plan *)(const void *)opaque->bytes;
    const struct wsasec_request *request = plan->request;

    (void)facts;
    if (!plan->library) {
        *status = plan->status;
        return status->code;
    }
    if (plan->library->set_socket_security((SOCKET)socket, request->settings, request->settings_len,
                                           request->overlapped,
                                           wsasec_routine(request->completion_routine)) == 0)
        return 0;
    return wsasec_explain(socket, WSAGetLastError(), status);
}

int32_t wsasec_backend_apply_fresh(struct wsasec_plan *plan, const struct wsasec_facts *facts, wsasec_socket socket,
                                   wsasec_status *status)
{
    return wsasec_backend_apply(plan, facts, socket, status);
}

/* Accepted sockets are protected as their listener is, by Windows. */
int32_t wsasec_backend_apply_accepted(struct wsasec_plan *plan, const struct wsasec_facts *facts,
                                      wsasec_socket socket, wsasec_status *status)
{
    (void)plan;
    (void)facts;
    (void)socket;
    (void)status;
    return 0;
}

/* Nothing does that here without a privilege; the caller is told, and closes it. */
int32_t wsasec_backend_block(wsasec_socket socket)
{
    (void)socket;
    return -WSASEC_WSAEOPNOTSUPP;
}

int32_t wsasec_backend_options(const struct wsasec_request *request, struct wsasec_plan *plan, int address_family,
                               wsasec_option *options, size_t *count, wsasec_status *status)
{
    (void)request;
    (void)plan;
    (void)address_family;
    (void)options;
    (void)count;
    return wsasec_fail(status, WSASEC_STEP_NONE, WSASEC_REASON_NOT_IMPLEMENTED, 0);
}

int32_t wsasec_backend_guard_state(const wsasec_profile *profile, int address_family, wsasec_status *status)
{
    (void)profile;
    (void)address_family;
    return wsasec_fail(status, WSASEC_STEP_NONE, WSASEC_REASON_NOT_IMPLEMENTED, 0);
}

void wsasec_backend_release(void)
{
}

int32_t wsasec_backend_capability(unsigned capability, wsasec_status *status)
{
    const struct wsasec_library *library;

    if (capability != WSASEC_CAPABILITY_SOCKET_POLICY)
        return wsasec_fail(status, WSASEC_STEP_NONE, WSASEC_REASON_NOT_IMPLEMENTED, 0);
    return wsasec_library_get(&library, NULL) == 0;
}
