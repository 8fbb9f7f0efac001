/* SPDX-License-Identifier: Apache-2.0 */
/* The system's policies. */
#include "wfp.h"

#include <stdlib.h>

#include "../core/errors.h"

struct wsasec_policy_list {
    wsasec_policy_session *session;
    HANDLE handle;
    FWPM_PROVIDER_CONTEXT1 **page; /* NULL: to be fetched */
    UINT32 count;
    UINT32 next;
    int last; /* there is no page after this */
};

static void copy_name(const wchar_t *from, uint16_t *to, size_t size)
{
    size_t i = 0;

    for (; from && i < size - 1 && from[i]; i++)
        to[i] = (uint16_t)from[i];
    to[i] = 0;
}

static void methods_of(const IKEEXT_AUTHENTICATION_METHOD1 *methods, UINT32 count, wsasec_ipsec_policy *policy)
{
    policy->authentication_count = count < WSASEC_AUTHENTICATIONS_MAX ? count : WSASEC_AUTHENTICATIONS_MAX;
    for (uint32_t i = 0; i < policy->authentication_count; i++)
        wsasec_wfp_authentication_of(&methods[i], &policy->authentications[i]);
}

static void main_of(const IKEEXT_POLICY1 *from, wsasec_ipsec_policy *policy)
{
    methods_of(from->authenticationMethods, from->numAuthenticationMethods, policy);
    policy->impersonation = (uint32_t)from->initiatorImpersonationType;
    policy->flags = from->flags;
    policy->dynamic_filters = from->maxDynamicFilters;
    policy->retransmit_seconds = from->retransmitDurationSecs;
    policy->proposal_count = from->numIkeProposals < WSASEC_PROPOSALS_MAX ? from->numIkeProposals : WSASEC_PROPOSALS_MAX;
    for (uint32_t i = 0; i < policy->proposal_count; i++)
        wsasec_wfp_ike_proposal_of(&from->ikeProposals[i], &policy->proposals[i]);
}

static void transform_of(const IPSEC_SA_TRANSFORM0 *from, wsasec_transform *to)
{
    const IPSEC_AUTH_TRANSFORM0 *auth = NULL;
    const IPSEC_CIPHER_TRANSFORM0 *cipher = NULL;

    switch (from->ipsecTransformType) {
    case IPSEC_TRANSFORM_AH:
    case IPSEC_TRANSFORM_ESP_AUTH:
    case IPSEC_TRANSFORM_ESP_AUTH_FW:
        auth = from->ahTransform;
        break;
    case IPSEC_TRANSFORM_ESP_CIPHER:
        cipher = from->espCipherTransform;
        break;
    case IPSEC_TRANSFORM_ESP_AUTH_AND_CIPHER:
        auth = &from->espAuthAndCipherTransform->authTransform;
        cipher = &from->espAuthAndCipherTransform->cipherTransform;
        break;
    default:
        break;
    }
    wsasec_wfp_transform_of(from->ipsecTransformType, auth, cipher, to);
}

static void quick_proposal_of(const IPSEC_PROPOSAL0 *from, wsasec_proposal *to)
{
    memset(to, 0, sizeof *to);
    to->transform_count = from->numSaTransforms < WSASEC_TRANSFORMS_MAX ? from->numSaTransforms : WSASEC_TRANSFORMS_MAX;
    for (uint32_t i = 0; i < to->transform_count; i++)
        transform_of(&from->saTransforms[i], &to->transforms[i]);
    to->group = wsasec_wfp_group_of_pfs(from->pfsGroup);
    to->lifetime_seconds = from->lifetime.lifetimeSeconds;
    to->lifetime_kilobytes = from->lifetime.lifetimeKilobytes;
    to->lifetime_packets = from->lifetime.lifetimePackets;
}

static void quick_of(const IPSEC_TRANSPORT_POLICY1 *from, wsasec_ipsec_policy *policy)
{
    policy->flags = from->flags;
    policy->clear_seconds = from->ndAllowClearTimeoutSeconds;
    policy->idle_seconds = from->saIdleTimeout.idleTimeoutSeconds;
    policy->idle_failover_seconds = from->saIdleTimeout.idleTimeoutSecondsFailOver;
    if (from->emPolicy) {
        methods_of(from->emPolicy->authenticationMethods, from->emPolicy->numAuthenticationMethods, policy);
        policy->impersonation = (uint32_t)from->emPolicy->initiatorImpersonationType;
    }
    policy->proposal_count =
        from->numIpsecProposals < WSASEC_PROPOSALS_MAX ? from->numIpsecProposals : WSASEC_PROPOSALS_MAX;
    for (uint32_t i = 0; i < policy->proposal_count; i++)
        quick_proposal_of(&from->ipsecProposals[i], &policy->proposals[i]);
}

/* Fills in the policy; 0 where the context is of no kind that this library knows. */
static int policy_of(const FWPM_PROVIDER_CONTEXT1 *context, wsasec_ipsec_policy *policy)
{
    memset(policy, 0, offsetof(wsasec_ipsec_policy, proposals));
    switch (context->type) {
    case FWPM_IPSEC_IKE_QM_TRANSPORT_CONTEXT:
    case FWPM_IPSEC_AUTHIP_QM_TRANSPORT_CONTEXT:
        if (!context->authipQmTransportPolicy)
            return 0;
        quick_of(context->authipQmTransportPolicy, policy);
        break;
    case FWPM_IPSEC_IKE_MM_CONTEXT:
    case FWPM_IPSEC_AUTHIP_MM_CONTEXT:
    case FWPM_IPSEC_IKEV2_MM_CONTEXT:
        if (!context->authIpMmPolicy)
            return 0;
        main_of(context->authIpMmPolicy, policy);
        break;
    default:
        return 0;
    }
    policy->key = wsasec_wfp_guid_of(&context->providerContextKey);
    policy->kind = (uint32_t)context->type;
    policy->persistent = context->flags & 1; /* FWPM_PROVIDER_CONTEXT_FLAG_PERSISTENT */
    copy_name(context->displayData.name, policy->name, sizeof policy->name / sizeof *policy->name);
    return 1;
}

wsasec_policy_list *wsasec_policy_list_begin(wsasec_policy_session *session, wsasec_status *status)
{
    wsasec_policy_list *list = calloc(1, sizeof *list);
    DWORD error;

    if (!list) {
        wsasec_fail(status, WSASEC_STEP_POLICY_LIST, WSASEC_REASON_NO_MEMORY, 0);
        return NULL;
    }
    list->session = session;
    error = session->wfp->context_create_enum(session->engine, NULL, &list->handle);
    if (error != ERROR_SUCCESS) {
        wsasec_wfp_fail(status, WSASEC_STEP_POLICY_LIST, error);
        free(list);
        return NULL;
    }
    return list;
}

/* The system tells an administrator the pre-shared keys as well. */
static void wipe_keys(const IKEEXT_POLICY1 *policy)
{
    for (UINT32 i = 0; i < policy->numAuthenticationMethods; i++) {
        const IKEEXT_AUTHENTICATION_METHOD1 *method = &policy->authenticationMethods[i];

        if (method->authenticationMethodType == IKEEXT_PRESHARED_KEY)
            wsasec_wipe(method->presharedKeyAuthentication.presharedKey.data,
                        method->presharedKeyAuthentication.presharedKey.size);
    }
}

static void free_page(wsasec_policy_list *list)
{
    for (UINT32 i = 0; list->page && i < list->count; i++) {
        const FWPM_PROVIDER_CONTEXT1 *context = list->page[i];

        if (wsasec_wfp_is_main((uint32_t)context->type) && context->authIpMmPolicy)
            wipe_keys(context->authIpMmPolicy);
    }
    if (list->page)
        list->session->wfp->free_memory((void **)(void *)&list->page);
    list->page = NULL;
    list->count = list->next = 0;
}

static DWORD fetch(wsasec_policy_list *list)
{
    DWORD error;

    free_page(list);
    error = list->session->wfp->context_enum(list->session->engine, list->handle, WSASEC_WFP_PAGE, &list->page,
                                             &list->count);
    list->last = list->count < WSASEC_WFP_PAGE;
    return error;
}

int32_t wsasec_policy_list_next(wsasec_policy_list *list, wsasec_ipsec_policy *policy, wsasec_status *status)
{
    for (;;) {
        DWORD error;

        while (list->next < list->count) {
            if (policy_of(list->page[list->next++], policy))
                return 1;
        }
        if (list->last)
            return 0;
        error = fetch(list);
        if (error != ERROR_SUCCESS)
            return wsasec_wfp_fail(status, WSASEC_STEP_POLICY_LIST, error);
    }
}

void wsasec_policy_list_end(wsasec_policy_list *list)
{
    if (!list)
        return;
    free_page(list);
    list->session->wfp->context_destroy_enum(list->session->engine, list->handle);
    free(list);
}
