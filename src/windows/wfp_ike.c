/* SPDX-License-Identifier: Apache-2.0 */
/* The associations of main modes. */
#include "wfp.h"

static void credentials_of(const IKEEXT_CREDENTIALS1 *from, wsasec_ike_association *to)
{
    to->credential_count = from->numCredentials;
    for (uint32_t i = 0; i < from->numCredentials && i < WSASEC_AUTHENTICATIONS_MAX; i++) {
        const IKEEXT_CREDENTIAL_PAIR1 *pair = &from->credentials[i];

        to->credentials[i].local_method = (uint32_t)pair->localCredentials.authenticationMethodType;
        to->credentials[i].local_impersonation = (uint32_t)pair->localCredentials.impersonationType;
        to->credentials[i].peer_method = (uint32_t)pair->peerCredentials.authenticationMethodType;
        to->credentials[i].peer_impersonation = (uint32_t)pair->peerCredentials.impersonationType;
    }
}

int32_t wsasec_ike_association_get(wsasec_policy_session *session, uint64_t id, const wsasec_guid *lookup,
                                   wsasec_ike_association *association, wsasec_status *status)
{
    IKEEXT_SA_DETAILS1 *found = NULL;
    GUID context = {0};
    DWORD error;

    if (lookup)
        context = wsasec_wfp_guid(lookup);
    error = session->wfp->ike_get(session->engine, id, lookup ? &context : NULL, &found);
    if (error != ERROR_SUCCESS)
        return wsasec_wfp_fail(status, WSASEC_STEP_IKE_ASSOCIATION, error);
    memset(association, 0, sizeof *association);
    association->id = found->saId;
    association->initiator_cookie = found->cookiePair.initiator;
    association->responder_cookie = found->cookiePair.responder;
    association->policy = wsasec_wfp_guid_of(&found->ikePolicyKey);
    association->key_module = (uint32_t)found->keyModuleType;
    credentials_of(&found->ikeCredentials, association);
    wsasec_wfp_ike_proposal_of(&found->ikeProposal, &association->proposal);
    association->version = wsasec_wfp_address_of(found->ikeTraffic.ipVersion, found->ikeTraffic.localV4Address,
                                                 found->ikeTraffic.localV6Address, association->local);
    wsasec_wfp_address_of(found->ikeTraffic.ipVersion, found->ikeTraffic.remoteV4Address,
                          found->ikeTraffic.remoteV6Address, association->remote);
    if (found->ipVersion == FWP_IP_VERSION_V4 && found->v4UdpEncapsulation) {
        association->local_udp_port = found->v4UdpEncapsulation->localUdpEncapPort;
        association->remote_udp_port = found->v4UdpEncapsulation->remoteUdpEncapPort;
    }
    session->wfp->free_memory((void **)(void *)&found);
    return 0;
}
