/* SPDX-License-Identifier: Apache-2.0 */
/* The system's security associations. */
#include "wfp.h"

#include <stdlib.h>

#include "../core/errors.h"

struct wsasec_association_list {
    wsasec_policy_session *session;
    HANDLE handle;
    IPSEC_SA_CONTEXT1 **page; /* NULL: to be fetched */
    UINT32 count;
    UINT32 next; /* context of the page */
    UINT32 side; /* of the context: 0 inbound, 1 outbound */
    UINT32 sa;   /* of the side's bundle */
    int last;
};

uint8_t wsasec_wfp_address_of(FWP_IP_VERSION version, UINT32 v4, const UINT8 *v6, uint8_t address[16])
{
    memset(address, 0, 16);
    if (version == FWP_IP_VERSION_V4) {
        for (int i = 0; i < 4; i++)
            address[i] = (uint8_t)(v4 >> (24 - 8 * i));
        return 4;
    }
    if (version != FWP_IP_VERSION_V6)
        return 0;
    memcpy(address, v6, 16);
    return 6;
}

/* Room for what a condition points to. */
struct condition {
    FWP_V4_ADDR_AND_MASK v4;
    FWP_V6_ADDR_AND_MASK v6;
};

/* Returns 0 where it is no subnet. */
static int fill_condition(const wsasec_subnet *subnet, struct condition *room, FWP_CONDITION_VALUE0 *value)
{
    if (!subnet || !subnet->version)
        return 1; /* FWP_EMPTY */
    if (subnet->version == 4 && subnet->prefix <= 32) {
        for (int i = 0; i < 4; i++)
            room->v4.addr = room->v4.addr << 8 | subnet->address[i];
        room->v4.mask = subnet->prefix ? UINT32_MAX << (32 - subnet->prefix) : 0;
        value->type = FWP_V4_ADDR_MASK;
        value->v4AddrMask = &room->v4;
        return 1;
    }
    if (subnet->version != 6 || subnet->prefix > 128)
        return 0;
    memcpy(room->v6.addr, subnet->address, 16);
    room->v6.prefixLength = subnet->prefix;
    value->type = FWP_V6_ADDR_MASK;
    value->v6AddrMask = &room->v6;
    return 1;
}

wsasec_association_list *wsasec_association_list_begin(wsasec_policy_session *session, const wsasec_subnet *local,
                                                       const wsasec_subnet *remote, wsasec_status *status)
{
    IPSEC_SA_CONTEXT_ENUM_TEMPLATE0 template;
    struct condition rooms[2];
    wsasec_association_list *list;
    DWORD error;

    memset(&template, 0, sizeof template);
    memset(rooms, 0, sizeof rooms);
    if (!fill_condition(local, &rooms[0], &template.localSubNet) ||
        !fill_condition(remote, &rooms[1], &template.remoteSubNet)) {
        wsasec_fail(status, WSASEC_STEP_ASSOCIATIONS, WSASEC_REASON_POLICY_VALUE, 0);
        return NULL;
    }
    list = calloc(1, sizeof *list);
    if (!list) {
        wsasec_fail(status, WSASEC_STEP_ASSOCIATIONS, WSASEC_REASON_NO_MEMORY, 0);
        return NULL;
    }
    list->session = session;
    error = session->wfp->association_create_enum(session->engine, &template, &list->handle);
    if (error != ERROR_SUCCESS) {
        wsasec_wfp_fail(status, WSASEC_STEP_ASSOCIATIONS, error);
        free(list);
        return NULL;
    }
    return list;
}

static void transform_of(const IPSEC_SA0 *sa, wsasec_transform *to)
{
    const IPSEC_AUTH_TRANSFORM0 *auth = NULL;
    const IPSEC_CIPHER_TRANSFORM0 *cipher = NULL;

    switch (sa->saTransformType) {
    case IPSEC_TRANSFORM_AH:
    case IPSEC_TRANSFORM_ESP_AUTH:
    case IPSEC_TRANSFORM_ESP_AUTH_FW:
        if (sa->ahInformation)
            auth = &sa->ahInformation->authTransform;
        break;
    case IPSEC_TRANSFORM_ESP_CIPHER:
        if (sa->espCipherInformation)
            cipher = &sa->espCipherInformation->cipherTransform;
        break;
    case IPSEC_TRANSFORM_ESP_AUTH_AND_CIPHER:
        if (sa->espAuthAndCipherInformation) {
            auth = &sa->espAuthAndCipherInformation->saAuthInformation.authTransform;
            cipher = &sa->espAuthAndCipherInformation->saCipherInformation.cipherTransform;
        }
        break;
    default:
        break;
    }
    wsasec_wfp_transform_of(sa->saTransformType, auth, cipher, to);
}

/* Of the keys nothing is read. */
static void association_of(UINT64 context_id, const IPSEC_SA_DETAILS1 *details, const IPSEC_SA0 *sa,
                           wsasec_association *to)
{
    const IPSEC_TRAFFIC1 *traffic = &details->traffic;
    const IPSEC_SA_BUNDLE1 *bundle = &details->saBundle;

    memset(to, 0, sizeof *to);
    to->context_id = context_id;
    to->main_mode_id = bundle->mmSaId;
    to->filter_id = traffic->ipsecFilterId;
    to->lookup = wsasec_wfp_guid_of(&bundle->saLookupContext);
    to->quick_mode_id = bundle->qmSaId;
    to->direction = (uint32_t)details->saDirection;
    to->spi = sa->spi;
    to->flags = bundle->flags;
    to->tunnel = traffic->trafficType == IPSEC_TRAFFIC_TYPE_TUNNEL;
    to->group = wsasec_wfp_group_of_pfs(bundle->pfsGroup);
    transform_of(sa, &to->transform);
    to->lifetime_seconds = bundle->lifetime.lifetimeSeconds;
    to->lifetime_kilobytes = bundle->lifetime.lifetimeKilobytes;
    to->lifetime_packets = bundle->lifetime.lifetimePackets;
    to->idle_seconds = bundle->idleTimeoutSeconds;
    to->version = wsasec_wfp_address_of(traffic->ipVersion, traffic->localV4Address, traffic->localV6Address, to->local);
    wsasec_wfp_address_of(traffic->ipVersion, traffic->remoteV4Address, traffic->remoteV6Address, to->remote);
    to->ip_protocol = traffic->ipProtocol;
    to->local_port = traffic->localPort;
    to->remote_port = traffic->remotePort;
    if (details->ipVersion == FWP_IP_VERSION_V4 && details->udpEncapsulation) {
        to->local_udp_port = details->udpEncapsulation->localUdpEncapPort;
        to->remote_udp_port = details->udpEncapsulation->remoteUdpEncapPort;
    }
}

/* Goes to the next association of the page; returns 0 at its end. */
static int next_of_page(wsasec_association_list *list, wsasec_association *association)
{
    while (list->next < list->count) {
        const IPSEC_SA_CONTEXT1 *context = list->page[list->next];
        const IPSEC_SA_DETAILS1 *details = list->side ? context->outboundSa : context->inboundSa;

        if (details && list->sa < details->saBundle.numSAs) {
            association_of(context->saContextId, details, &details->saBundle.saList[list->sa++], association);
            return 1;
        }
        list->sa = 0;
        list->next += list->side;
        list->side = !list->side;
    }
    return 0;
}

static void free_page(wsasec_association_list *list)
{
    if (list->page)
        list->session->wfp->free_memory((void **)(void *)&list->page);
    list->page = NULL;
}

static DWORD fetch(wsasec_association_list *list)
{
    DWORD error;

    free_page(list);
    list->count = list->next = 0;
    error = list->session->wfp->association_enum(list->session->engine, list->handle, WSASEC_WFP_PAGE, &list->page,
                                                 &list->count);
    list->last = list->count < WSASEC_WFP_PAGE;
    return error;
}

int32_t wsasec_association_list_next(wsasec_association_list *list, wsasec_association *association,
                                     wsasec_status *status)
{
    while (!next_of_page(list, association)) {
        DWORD error;

        if (list->last)
            return 0;
        error = fetch(list);
        if (error != ERROR_SUCCESS)
            return wsasec_wfp_fail(status, WSASEC_STEP_ASSOCIATIONS, error);
    }
    return 1;
}

void wsasec_association_list_end(wsasec_association_list *list)
{
    if (!list)
        return;
    free_page(list);
    list->session->wfp->association_destroy_enum(list->session->engine, list->handle);
    free(list);
}
