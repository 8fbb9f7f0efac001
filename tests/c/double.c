/* SPDX-License-Identifier: Apache-2.0 */
#include "double.h"

#include "../../src/core/errors.h"

struct double_backend the_double;

static void note(char call)
{
    if (the_double.count < sizeof the_double.calls - 1)
        the_double.calls[the_double.count++] = call;
}

int32_t wsasec_backend_inspect(wsasec_socket socket, struct wsasec_facts *facts, wsasec_status *status)
{
    (void)socket;
    note('I');
    if (the_double.inspect_fails)
        return wsasec_fail(status, WSASEC_STEP_DESCRIPTOR, the_double.inspect_fails, 0);
    *facts = the_double.facts;
    return 0;
}

uint16_t wsasec_backend_bound_reason(wsasec_socket socket)
{
    (void)socket;
    note('B');
    return the_double.bound_reason;
}

void wsasec_backend_plan(const struct wsasec_request *request, struct wsasec_plan *plan)
{
    (void)request;
    (void)plan;
}

int32_t wsasec_backend_ready(const struct wsasec_request *request, const struct wsasec_facts *facts,
                             wsasec_socket socket, wsasec_status *status)
{
    (void)request;
    (void)facts;
    (void)socket;
    note('R');
    return the_double.ready_fails ? wsasec_fail(status, WSASEC_STEP_GUARD, the_double.ready_fails, 7) : 0;
}

int32_t wsasec_backend_apply(struct wsasec_plan *plan, const struct wsasec_facts *facts, wsasec_socket socket,
                             wsasec_status *status)
{
    (void)plan;
    (void)facts;
    (void)socket;
    note('A');
    return the_double.apply_fails ? wsasec_fail(status, WSASEC_STEP_POLICY_IN, the_double.apply_fails, 8) : 0;
}

int32_t wsasec_backend_block(wsasec_socket socket)
{
    (void)socket;
    note('X');
    return the_double.block_fails;
}

int32_t wsasec_backend_options(const struct wsasec_request *request, struct wsasec_plan *plan, int family,
                               wsasec_option *options, size_t *count, wsasec_status *status)
{
    (void)request;
    (void)plan;
    (void)family;
    (void)options;
    (void)status;
    *count = 0;
    return 0;
}

int32_t wsasec_backend_guard_state(const wsasec_profile *profile, int family, wsasec_status *status)
{
    (void)profile;
    (void)family;
    (void)status;
    return 0;
}

void wsasec_backend_release(void)
{
}

int32_t wsasec_backend_capability(unsigned capability, wsasec_status *status)
{
    (void)status;
    return (int32_t)capability & 1;
}

int32_t wsasec_backend_query(wsasec_socket socket, const void *template_, void *info, uint32_t *info_len,
                             wsasec_status *status)
{
    (void)socket;
    (void)template_;
    (void)info;
    (void)info_len;
    (void)status;
    note('q');
    return 0;
}

int32_t wsasec_backend_set_peer_name(wsasec_socket socket, const void *name, uint32_t name_len, wsasec_status *status)
{
    (void)socket;
    (void)name;
    (void)name_len;
    (void)status;
    note('n');
    return 0;
}

int32_t wsasec_backend_delete_peer_name(wsasec_socket socket, const void *peer, uint32_t peer_len,
                                        wsasec_status *status)
{
    (void)socket;
    (void)peer;
    (void)peer_len;
    (void)status;
    note('d');
    return 0;
}

int32_t wsasec_backend_impersonate(wsasec_socket socket, const void *peer, uint32_t peer_len, wsasec_status *status)
{
    (void)socket;
    (void)peer;
    (void)peer_len;
    (void)status;
    note('i');
    return 0;
}

int32_t wsasec_backend_revert(wsasec_status *status)
{
    (void)status;
    note('r');
    return 0;
}
