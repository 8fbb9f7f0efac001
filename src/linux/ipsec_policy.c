/* SPDX-License-Identifier: Apache-2.0 */
/* Policies belong to the key daemon, whose sessions are Python's (wsasec.policy). None is ever open here. */
#include "wsasec_policy.h"

#include "../core/errors.h"

static int32_t fail(unsigned step, wsasec_status *status)
{
    return wsasec_fail(status, step, WSASEC_REASON_NOT_IMPLEMENTED, 0);
}

wsasec_policy_session *wsasec_policy_session_open(uint32_t flags, wsasec_status *status)
{
    (void)flags;
    (void)fail(WSASEC_STEP_ENGINE, status);
    return NULL;
}

void wsasec_policy_session_close(wsasec_policy_session *session)
{
    (void)session;
}

int32_t wsasec_policy_add(wsasec_policy_session *session, const wsasec_ipsec_policy *policy, wsasec_status *status)
{
    (void)session;
    (void)policy;
    return fail(WSASEC_STEP_POLICY_ADD, status);
}

int32_t wsasec_policy_delete(wsasec_policy_session *session, const wsasec_guid *key, wsasec_status *status)
{
    (void)session;
    (void)key;
    return fail(WSASEC_STEP_POLICY_DELETE, status);
}

wsasec_policy_list *wsasec_policy_list_begin(wsasec_policy_session *session, wsasec_status *status)
{
    (void)session;
    (void)fail(WSASEC_STEP_POLICY_LIST, status);
    return NULL;
}

int32_t wsasec_policy_list_next(wsasec_policy_list *list, wsasec_ipsec_policy *policy, wsasec_status *status)
{
    (void)list;
    (void)policy;
    return fail(WSASEC_STEP_POLICY_LIST, status);
}

void wsasec_policy_list_end(wsasec_policy_list *list)
{
    (void)list;
}

wsasec_association_list *wsasec_association_list_begin(wsasec_policy_session *session, const wsasec_subnet *local,
                                                       const wsasec_subnet *remote, wsasec_status *status)
{
    (void)session;
    (void)local;
    (void)remote;
    (void)fail(WSASEC_STEP_ASSOCIATIONS, status);
    return NULL;
}

int32_t wsasec_association_list_next(wsasec_association_list *list, wsasec_association *association,
                                     wsasec_status *status)
{
    (void)list;
    (void)association;
    return fail(WSASEC_STEP_ASSOCIATIONS, status);
}

void wsasec_association_list_end(wsasec_association_list *list)
{
    (void)list;
}

int32_t wsasec_ike_association_get(wsasec_policy_session *session, uint64_t id, const wsasec_guid *lookup,
                                   wsasec_ike_association *association, wsasec_status *status)
{
    (void)session;
    (void)id;
    (void)lookup;
    (void)association;
    return fail(WSASEC_STEP_IKE_ASSOCIATION, status);
}
