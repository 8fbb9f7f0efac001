/* SPDX-License-Identifier: Apache-2.0 */
/* Adding policies as provider contexts, and deleting them. */
#include "wfp.h"

#include <stdlib.h>

#include "../core/errors.h"

/* FWPM_PROVIDER_CONTEXT_FLAG_PERSISTENT; not every header has it. */
enum { FLAG_PERSISTENT = 1 };

/* What a quick-mode proposal points to. */
struct quick_details {
    IPSEC_SA_TRANSFORM0 transforms[WSASEC_TRANSFORMS_MAX];
    IPSEC_AUTH_AND_CIPHER_TRANSFORM0 algorithms[WSASEC_TRANSFORMS_MAX];
};

/* All that a context points to. */
struct room {
    wchar_t name[256];
    IKEEXT_AUTHENTICATION_METHOD1 methods[WSASEC_AUTHENTICATIONS_MAX];
    IKEEXT_EM_POLICY1 extended;
    IPSEC_TRANSPORT_POLICY1 quick;
    IKEEXT_POLICY1 main;
    IKEEXT_PROPOSAL0 main_proposals[WSASEC_PROPOSALS_MAX];
    IPSEC_PROPOSAL0 quick_proposals[WSASEC_PROPOSALS_MAX];
    struct quick_details details[WSASEC_PROPOSALS_MAX];
};

static int is_quick(uint32_t kind)
{
    return kind == WSASEC_POLICY_IKE_QUICK || kind == WSASEC_POLICY_AUTHIP_QUICK;
}

_Static_assert((int)WSASEC_POLICY_IKE_QUICK == (int)FWPM_IPSEC_IKE_QM_TRANSPORT_CONTEXT &&
                   (int)WSASEC_POLICY_AUTHIP_QUICK == (int)FWPM_IPSEC_AUTHIP_QM_TRANSPORT_CONTEXT &&
                   (int)WSASEC_POLICY_IKE_MAIN == (int)FWPM_IPSEC_IKE_MM_CONTEXT &&
                   (int)WSASEC_POLICY_AUTHIP_MAIN == (int)FWPM_IPSEC_AUTHIP_MM_CONTEXT &&
                   (int)WSASEC_POLICY_IKEV2_MAIN == (int)FWPM_IPSEC_IKEV2_MM_CONTEXT,
               "the kinds have the numbers of the system");

/* What would be read beyond an end, or has no form in the system; the system sees to the rest. */
static int is_sound(const wsasec_ipsec_policy *policy)
{
    static const wsasec_guid none;
    int ends = 0;

    for (size_t i = 0; i < sizeof policy->name / sizeof *policy->name; i++)
        ends |= !policy->name[i];
    return ends && memcmp(&policy->key, &none, sizeof none) &&
           (wsasec_wfp_is_main(policy->kind) || is_quick(policy->kind)) && policy->proposal_count &&
           policy->proposal_count <= WSASEC_PROPOSALS_MAX &&
           policy->authentication_count <= WSASEC_AUTHENTICATIONS_MAX;
}

static void fill_main(const wsasec_ipsec_policy *policy, struct room *room)
{
    for (uint32_t i = 0; i < policy->proposal_count; i++)
        wsasec_wfp_ike_proposal(&policy->proposals[i], &room->main_proposals[i]);
    room->main.numAuthenticationMethods = policy->authentication_count;
    room->main.authenticationMethods = policy->authentication_count ? room->methods : NULL;
    room->main.initiatorImpersonationType = (IKEEXT_AUTHENTICATION_IMPERSONATION_TYPE)policy->impersonation;
    room->main.numIkeProposals = policy->proposal_count;
    room->main.ikeProposals = room->main_proposals;
    room->main.flags = policy->flags;
    room->main.maxDynamicFilters = policy->dynamic_filters;
    room->main.retransmitDurationSecs = policy->retransmit_seconds;
}

static int fill_quick_proposal(const wsasec_proposal *from, IPSEC_PROPOSAL0 *to, struct quick_details *details)
{
    if (!from->transform_count || from->transform_count > WSASEC_TRANSFORMS_MAX)
        return 0;
    for (uint32_t i = 0; i < from->transform_count; i++) {
        if (!wsasec_wfp_transform(&from->transforms[i], &details->transforms[i], &details->algorithms[i]))
            return 0;
    }
    to->lifetime.lifetimeSeconds = from->lifetime_seconds;
    to->lifetime.lifetimeKilobytes = from->lifetime_kilobytes;
    to->lifetime.lifetimePackets = from->lifetime_packets;
    to->numSaTransforms = from->transform_count;
    to->saTransforms = details->transforms;
    to->pfsGroup = wsasec_wfp_pfs(from->group);
    return 1;
}

static int fill_quick(const wsasec_ipsec_policy *policy, struct room *room)
{
    for (uint32_t i = 0; i < policy->proposal_count; i++) {
        if (!fill_quick_proposal(&policy->proposals[i], &room->quick_proposals[i], &room->details[i]))
            return 0;
    }
    room->quick.numIpsecProposals = policy->proposal_count;
    room->quick.ipsecProposals = room->quick_proposals;
    room->quick.flags = policy->flags;
    room->quick.ndAllowClearTimeoutSeconds = policy->clear_seconds;
    room->quick.saIdleTimeout.idleTimeoutSeconds = policy->idle_seconds;
    room->quick.saIdleTimeout.idleTimeoutSecondsFailOver = policy->idle_failover_seconds;
    if (policy->authentication_count) {
        room->extended.numAuthenticationMethods = policy->authentication_count;
        room->extended.authenticationMethods = room->methods;
        room->extended.initiatorImpersonationType = (IKEEXT_AUTHENTICATION_IMPERSONATION_TYPE)policy->impersonation;
        room->quick.emPolicy = &room->extended;
    }
    return 1;
}

static int fill(const wsasec_ipsec_policy *policy, struct room *room, FWPM_PROVIDER_CONTEXT1 *context)
{
    for (uint32_t i = 0; i < policy->authentication_count; i++)
        wsasec_wfp_authentication(&policy->authentications[i], &room->methods[i]);
    memcpy(room->name, policy->name, sizeof room->name);
    memset(context, 0, sizeof *context);
    context->providerContextKey = wsasec_wfp_guid(&policy->key);
    context->displayData.name = room->name;
    context->flags = policy->persistent ? FLAG_PERSISTENT : 0;
    context->type = (FWPM_PROVIDER_CONTEXT_TYPE)policy->kind;
    if (wsasec_wfp_is_main(policy->kind)) {
        fill_main(policy, room);
        context->authIpMmPolicy = &room->main; /* all policies of main modes are of this type */
        return 1;
    }
    context->authipQmTransportPolicy = &room->quick;
    return fill_quick(policy, room);
}

int32_t wsasec_policy_add(wsasec_policy_session *session, const wsasec_ipsec_policy *policy, wsasec_status *status)
{
    FWPM_PROVIDER_CONTEXT1 context;
    struct room *room;
    int32_t code = 0;
    DWORD error;
    UINT64 id;

    if (!is_sound(policy))
        return wsasec_fail(status, WSASEC_STEP_POLICY_ADD, WSASEC_REASON_POLICY_VALUE, 0);
    room = calloc(1, sizeof *room);
    if (!room)
        return wsasec_fail(status, WSASEC_STEP_POLICY_ADD, WSASEC_REASON_NO_MEMORY, 0);
    if (!fill(policy, room, &context)) {
        code = wsasec_fail(status, WSASEC_STEP_POLICY_ADD, WSASEC_REASON_POLICY_VALUE, 0);
    } else {
        error = session->wfp->context_add(session->engine, &context, NULL, &id);
        if (error != ERROR_SUCCESS)
            code = wsasec_wfp_fail(status, WSASEC_STEP_POLICY_ADD, error);
    }
    free(room);
    return code;
}

int32_t wsasec_policy_delete(wsasec_policy_session *session, const wsasec_guid *key, wsasec_status *status)
{
    const GUID wanted = wsasec_wfp_guid(key);
    const DWORD error = session->wfp->context_delete(session->engine, &wanted);

    return error == ERROR_SUCCESS ? 0 : wsasec_wfp_fail(status, WSASEC_STEP_POLICY_DELETE, error);
}
