/* SPDX-License-Identifier: Apache-2.0 */
/* Security associations: those that the test says there are. */
#include "wfp.h"

#include <stdlib.h>
#include <string.h>

#define MOST 64
#define NAME_LENGTH 64

/* One pair of quick mode. IPv4 addresses are the first four bytes, as on the wire. */
struct pair {
    uint64_t id;
    uint64_t main_mode;
    uint32_t quick_mode;
    uint32_t version; /* FWP_IP_VERSION */
    uint8_t local[16];
    uint8_t remote[16];
    uint32_t remote_port;
    uint32_t transform; /* IPSEC_TRANSFORM_TYPE */
    uint32_t auth_type;
    uint32_t auth_config;
    uint32_t cipher_type;
    uint32_t cipher_config;
    uint32_t inbound_spi;
    uint32_t outbound_spi;
    uint32_t seconds;
    uint32_t kilobytes;
    uint32_t packets;
    uint32_t pfs;
    uint32_t flags;
    uint32_t unused;
    uint16_t target[NAME_LENGTH]; /* the peer's name; empty: none */
};

/* One of main mode. */
struct main_mode {
    uint64_t id;
    uint64_t initiator; /* cookies */
    uint64_t responder;
    uint32_t key_module; /* IKEEXT_KEY_MODULE_TYPE */
    uint32_t version;
    uint8_t local[16];
    uint8_t remote[16];
    uint32_t cipher;
    uint32_t key_length;
    uint32_t integrity;
    uint32_t seconds;
    uint32_t group;
    uint32_t quick_modes;
    uint32_t method; /* IKEEXT_AUTHENTICATION_METHOD_TYPE */
    uint32_t unused;
    uint16_t peer[NAME_LENGTH]; /* the peer's name; empty: none */
};

struct walk {
    struct walk *next;
    FWP_CONDITION_VALUE0 local;
    FWP_CONDITION_VALUE0 remote;
    FWP_V6_ADDR_AND_MASK masks[2]; /* room for either version's */
    uint32_t at;
};

static struct pair pairs[MOST];
static uint32_t pair_count;
static struct main_mode main_modes[MOST];
static uint32_t main_mode_count;
static struct walk *walks;

EXPORT uint32_t WsasecDoubleAddPair(const struct pair *pair, uint32_t size)
{
    if (size != sizeof *pair || pair_count == MOST)
        return 0;
    pairs[pair_count++] = *pair;
    return 1;
}

EXPORT uint32_t WsasecDoubleAddMainMode(const struct main_mode *main_mode, uint32_t size)
{
    if (size != sizeof *main_mode || main_mode_count == MOST)
        return 0;
    main_modes[main_mode_count++] = *main_mode;
    return 1;
}

/* For what has more than a pair tells: contexts as the system would hand them out, which stay the test's. */
static IPSEC_SA_CONTEXT1 **given;
static uint32_t given_count;
static const IKEEXT_SA_DETAILS1 *given_main_mode;

EXPORT void WsasecDoubleAssociations(IPSEC_SA_CONTEXT1 **contexts, uint32_t count)
{
    given = contexts;
    given_count = count;
}

EXPORT void WsasecDoubleMainMode(const IKEEXT_SA_DETAILS1 *main_mode)
{
    given_main_mode = main_mode;
}

static UINT32 host_order(const uint8_t *address)
{
    return (UINT32)address[0] << 24 | (UINT32)address[1] << 16 | (UINT32)address[2] << 8 | address[3];
}

static int is_within(const FWP_CONDITION_VALUE0 *subnet, uint32_t version, const uint8_t *address)
{
    switch ((int)subnet->type) {
    case FWP_EMPTY:
        return 1;
    case FWP_UINT32:
        return version == FWP_IP_VERSION_V4 && host_order(address) == subnet->uint32;
    case FWP_V4_ADDR_MASK:
        return version == FWP_IP_VERSION_V4 &&
               !((host_order(address) ^ subnet->v4AddrMask->addr) & subnet->v4AddrMask->mask);
    case FWP_BYTE_ARRAY16_TYPE:
        return version == FWP_IP_VERSION_V6 && memcmp(address, subnet->byteArray16->byteArray16, 16) == 0;
    case FWP_V6_ADDR_MASK:
        if (version != FWP_IP_VERSION_V6)
            return 0;
        for (unsigned bit = 0; bit < subnet->v6AddrMask->prefixLength && bit < 128; bit++)
            if ((address[bit / 8] ^ subnet->v6AddrMask->addr[bit / 8]) & 0x80 >> bit % 8)
                return 0;
        return 1;
    default:
        return 0;
    }
}

/* What it points to has to be kept, too. Returns 0 for a type that names no subnet. */
static int keep(FWP_CONDITION_VALUE0 *kept, FWP_V6_ADDR_AND_MASK *room, const FWP_CONDITION_VALUE0 *given)
{
    size_t size = 0;

    *kept = *given;
    switch ((int)given->type) {
    case FWP_EMPTY:
    case FWP_UINT32:
        return 1;
    case FWP_V4_ADDR_MASK:
        size = sizeof *given->v4AddrMask;
        break;
    case FWP_BYTE_ARRAY16_TYPE:
        size = sizeof *given->byteArray16;
        break;
    case FWP_V6_ADDR_MASK:
        size = sizeof *given->v6AddrMask;
        break;
    default:
        return 0;
    }
    if (!given->byteArray16)
        return 0;
    memcpy(room, given->byteArray16, size);
    kept->byteArray16 = (void *)room;
    return 1;
}

EXPORT DWORD WINAPI IPsecSaContextCreateEnumHandle0(HANDLE handle, const IPSEC_SA_CONTEXT_ENUM_TEMPLATE0 *template_,
                                                    HANDLE *walk_handle)
{
    struct walk *walk;
    struct call call;
    DWORD error = 0;

    call_begin(&call, SA_ENUM_CREATE, (uintptr_t)handle, template_, sizeof *template_);
    if (call.error)
        return wfp_end(&call, call.error);
    if (!walk_handle)
        return wfp_end(&call, (DWORD)FWP_E_NULL_POINTER);
    walk = calloc(1, sizeof *walk);
    if (!walk)
        return wfp_end(&call, ERROR_NOT_ENOUGH_MEMORY);
    if (template_ && (!keep(&walk->local, &walk->masks[0], &template_->localSubNet) ||
                      !keep(&walk->remote, &walk->masks[1], &template_->remoteSubNet)))
        error = (DWORD)FWP_E_TYPE_MISMATCH;
    wfp_enter();
    if (!engine_is_open(handle))
        error = ERROR_INVALID_HANDLE;
    if (error) {
        free(walk);
    } else {
        walk->next = walks;
        walks = walk;
        *walk_handle = walk;
    }
    wfp_leave();
    return wfp_end(&call, error);
}

static IPSEC_SA_AUTH_AND_CIPHER_INFORMATION0 information_of(const struct pair *pair)
{
    IPSEC_SA_AUTH_AND_CIPHER_INFORMATION0 information;

    memset(&information, 0, sizeof information);
    information.saAuthInformation.authTransform.authTransformId.authType = (IPSEC_AUTH_TYPE)pair->auth_type;
    information.saAuthInformation.authTransform.authTransformId.authConfig = (IPSEC_AUTH_CONFIG)pair->auth_config;
    information.saCipherInformation.cipherTransform.cipherTransformId.cipherType =
        (IPSEC_CIPHER_TYPE)pair->cipher_type;
    information.saCipherInformation.cipherTransform.cipherTransformId.cipherConfig =
        (IPSEC_CIPHER_CONFIG)pair->cipher_config;
    return information;
}

static void set_transform(struct arena *arena, IPSEC_SA0 *sa, const struct pair *pair)
{
    const IPSEC_SA_AUTH_AND_CIPHER_INFORMATION0 both = information_of(pair);

    sa->saTransformType = (IPSEC_TRANSFORM_TYPE)pair->transform;
    if (sa->saTransformType == IPSEC_TRANSFORM_ESP_AUTH_AND_CIPHER)
        sa->espAuthAndCipherInformation = arena_copy(arena, &both, sizeof both);
    else if (sa->saTransformType == IPSEC_TRANSFORM_ESP_CIPHER)
        sa->espCipherInformation = arena_copy(arena, &both.saCipherInformation, sizeof both.saCipherInformation);
    else
        sa->ahInformation = arena_copy(arena, &both.saAuthInformation, sizeof both.saAuthInformation);
}

static IPSEC_SA_DETAILS1 *details(struct arena *arena, const struct pair *pair, FWP_DIRECTION direction)
{
    IPSEC_SA_DETAILS1 *one = arena_take(arena, sizeof *one);
    IPSEC_SA_BUNDLE1 *bundle = &one->saBundle;

    one->ipVersion = one->traffic.ipVersion = bundle->ipVersion = (FWP_IP_VERSION)pair->version;
    one->saDirection = direction;
    if (pair->version == FWP_IP_VERSION_V4) {
        one->traffic.localV4Address = host_order(pair->local);
        one->traffic.remoteV4Address = host_order(pair->remote);
    } else {
        memcpy(one->traffic.localV6Address, pair->local, 16);
        memcpy(one->traffic.remoteV6Address, pair->remote, 16);
    }
    one->traffic.trafficType = IPSEC_TRAFFIC_TYPE_TRANSPORT;
    one->traffic.remotePort = (UINT16)pair->remote_port;
    bundle->flags = pair->flags;
    bundle->lifetime.lifetimeSeconds = pair->seconds;
    bundle->lifetime.lifetimeKilobytes = pair->kilobytes;
    bundle->lifetime.lifetimePackets = pair->packets;
    bundle->qmSaId = pair->quick_mode;
    bundle->mmSaId = pair->main_mode;
    bundle->pfsGroup = (IPSEC_PFS_GROUP)pair->pfs;
    bundle->numSAs = 1;
    bundle->saList = arena_take(arena, sizeof *bundle->saList);
    bundle->saList->spi = direction == FWP_DIRECTION_INBOUND ? pair->inbound_spi : pair->outbound_spi;
    set_transform(arena, bundle->saList, pair);
    if (pair->target[0]) {
        bundle->ipsecId = arena_take(arena, sizeof *bundle->ipsecId);
        bundle->ipsecId->mmTargetName = arena_text(arena, (const wchar_t *)pair->target);
    }
    return one;
}

static IPSEC_SA_CONTEXT1 *context_of(struct arena *arena, const struct pair *pair)
{
    IPSEC_SA_CONTEXT1 *context = arena_take(arena, sizeof *context);

    context->saContextId = pair->id;
    context->inboundSa = details(arena, pair, FWP_DIRECTION_INBOUND);
    context->outboundSa = details(arena, pair, FWP_DIRECTION_OUTBOUND);
    return context;
}

static struct walk **find(HANDLE handle)
{
    struct walk **one = &walks;

    while (*one && (HANDLE)*one != handle)
        one = &(*one)->next;
    return one;
}

static DWORD tell(struct walk *walk, UINT32 most, IPSEC_SA_CONTEXT1 ***entries, UINT32 *count)
{
    struct arena arena;

    if (!arena_make(&arena, (MOST + 1) * 4096))
        return ERROR_NOT_ENOUGH_MEMORY;
    *entries = arena_take(&arena, MOST * sizeof(void *));
    for (*count = 0; *count < most && walk->at < pair_count; walk->at++) {
        const struct pair *pair = &pairs[walk->at];

        if (is_within(&walk->local, pair->version, pair->local) &&
            is_within(&walk->remote, pair->version, pair->remote))
            (*entries)[(*count)++] = context_of(&arena, pair);
    }
    for (; *count < most && *count < MOST && walk->at < pair_count + given_count; walk->at++)
        (*entries)[(*count)++] = given[walk->at - pair_count];
    return 0;
}

EXPORT DWORD WINAPI IPsecSaContextEnum1(HANDLE handle, HANDLE walk_handle, UINT32 most, IPSEC_SA_CONTEXT1 ***entries,
                                        UINT32 *count)
{
    struct call call;
    DWORD error;

    call_begin(&call, SA_ENUM, (uintptr_t)handle, NULL, 0);
    if (call.record)
        call.record->value = most;
    if (call.error)
        return wfp_end(&call, call.error);
    if (!entries || !count)
        return wfp_end(&call, (DWORD)FWP_E_NULL_POINTER);
    wfp_enter();
    if (!engine_is_open(handle) || !*find(walk_handle))
        error = ERROR_INVALID_HANDLE;
    else
        error = tell(*find(walk_handle), most, entries, count);
    wfp_leave();
    return wfp_end(&call, error);
}

EXPORT DWORD WINAPI IPsecSaContextDestroyEnumHandle0(HANDLE handle, HANDLE walk_handle)
{
    DWORD error = ERROR_INVALID_HANDLE;
    struct walk **place;
    struct call call;

    call_begin(&call, SA_ENUM_DESTROY, (uintptr_t)handle, NULL, 0);
    if (call.error)
        return wfp_end(&call, call.error);
    wfp_enter();
    place = find(walk_handle);
    if (*place) {
        struct walk *walk = *place;

        *place = walk->next;
        free(walk);
        error = 0;
    }
    wfp_leave();
    return wfp_end(&call, error);
}

static DWORD tell_main_mode(const struct main_mode *from, IKEEXT_SA_DETAILS1 **sa)
{
    struct arena arena;
    IKEEXT_SA_DETAILS1 *one;

    if (!arena_make(&arena, 4096))
        return ERROR_NOT_ENOUGH_MEMORY;
    one = arena_take(&arena, sizeof *one);
    one->saId = from->id;
    one->keyModuleType = (IKEEXT_KEY_MODULE_TYPE)from->key_module;
    one->ipVersion = one->ikeTraffic.ipVersion = (FWP_IP_VERSION)from->version;
    if (from->version == FWP_IP_VERSION_V4) {
        one->ikeTraffic.localV4Address = host_order(from->local);
        one->ikeTraffic.remoteV4Address = host_order(from->remote);
    } else {
        memcpy(one->ikeTraffic.localV6Address, from->local, 16);
        memcpy(one->ikeTraffic.remoteV6Address, from->remote, 16);
    }
    one->ikeProposal.cipherAlgorithm.algoIdentifier = (IKEEXT_CIPHER_TYPE)from->cipher;
    one->ikeProposal.cipherAlgorithm.keyLen = from->key_length;
    one->ikeProposal.integrityAlgorithm.algoIdentifier = (IKEEXT_INTEGRITY_TYPE)from->integrity;
    one->ikeProposal.maxLifetimeSeconds = from->seconds;
    one->ikeProposal.dhGroup = (IKEEXT_DH_GROUP)from->group;
    one->ikeProposal.quickModeLimit = from->quick_modes;
    one->cookiePair.initiator = from->initiator;
    one->cookiePair.responder = from->responder;
    one->ikeCredentials.numCredentials = 1;
    one->ikeCredentials.credentials = arena_take(&arena, sizeof *one->ikeCredentials.credentials);
    one->ikeCredentials.credentials->localCredentials.authenticationMethodType =
        one->ikeCredentials.credentials->peerCredentials.authenticationMethodType =
            (IKEEXT_AUTHENTICATION_METHOD_TYPE)from->method;
    if (from->peer[0] && (from->method == IKEEXT_KERBEROS || from->method == IKEEXT_NTLM_V2)) {
        IKEEXT_NAME_CREDENTIAL0 *name = arena_take(&arena, sizeof *name);

        name->principalName = arena_text(&arena, (const wchar_t *)from->peer);
        one->ikeCredentials.credentials->peerCredentials.name = name;
    }
    *sa = one;
    return 0;
}

EXPORT DWORD WINAPI IkeextSaGetById1(HANDLE handle, UINT64 id, GUID *lookup, IKEEXT_SA_DETAILS1 **sa)
{
    DWORD error = (DWORD)FWP_E_NOT_FOUND;
    struct call call;

    call_begin(&call, IKE_SA_GET, (uintptr_t)handle, lookup, sizeof *lookup);
    if (call.record)
        call.record->value = id;
    if (call.error)
        return wfp_end(&call, call.error);
    if (!sa)
        return wfp_end(&call, (DWORD)FWP_E_NULL_POINTER);
    wfp_enter();
    if (!engine_is_open(handle)) {
        error = ERROR_INVALID_HANDLE;
    } else {
        struct arena arena;

        if (given_main_mode && given_main_mode->saId == id && arena_make(&arena, sizeof **sa)) {
            *sa = arena_copy(&arena, given_main_mode, sizeof **sa);
            error = 0;
        }
        for (uint32_t i = 0; i < main_mode_count; i++) {
            if (main_modes[i].id == id) {
                error = tell_main_mode(&main_modes[i], sa);
                break;
            }
        }
    }
    wfp_leave();
    return wfp_end(&call, error);
}

uint32_t sa_walks(void)
{
    uint32_t count = 0;

    for (const struct walk *one = walks; one; one = one->next)
        count++;
    return count;
}

void sa_reset(void)
{
    pair_count = main_mode_count = given_count = 0;
    given_main_mode = NULL;
    while (walks) {
        struct walk *next = walks->next;

        free(walks);
        walks = next;
    }
}
