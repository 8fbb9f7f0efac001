/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Algorithms, groups and transforms: from this library's numbers to the system's and back. The tables have the system's
 * numbers, as headers differ in which of the names they know.
 */
#include "wfp.h"

enum { NO = 0xFFFF }; /* there is no such */

/* IKEEXT_CIPHER_TYPE */
static const uint16_t ike_ciphers[WSASEC_ENCRYPTION_COUNT] = {
    [WSASEC_ENCRYPTION_NONE] = NO,       [WSASEC_ENCRYPTION_DES] = 0,     [WSASEC_ENCRYPTION_TRIPLE_DES] = 1,
    [WSASEC_ENCRYPTION_AES_128] = 2,     [WSASEC_ENCRYPTION_AES_192] = 3, [WSASEC_ENCRYPTION_AES_256] = 4,
    [WSASEC_ENCRYPTION_AES_GCM_128] = 5, [WSASEC_ENCRYPTION_AES_GCM_192] = NO,
    [WSASEC_ENCRYPTION_AES_GCM_256] = 6,
};

/* IKEEXT_INTEGRITY_TYPE */
static const uint16_t ike_integrities[WSASEC_INTEGRITY_COUNT] = {
    [WSASEC_INTEGRITY_NONE] = NO,         [WSASEC_INTEGRITY_MD5] = 0,           [WSASEC_INTEGRITY_SHA1] = 1,
    [WSASEC_INTEGRITY_SHA256] = 2,        [WSASEC_INTEGRITY_SHA384] = 3,        [WSASEC_INTEGRITY_AES_GMAC_128] = NO,
    [WSASEC_INTEGRITY_AES_GMAC_192] = NO, [WSASEC_INTEGRITY_AES_GMAC_256] = NO,
};

/* IKEEXT_DH_GROUP */
static const uint16_t ike_groups[WSASEC_GROUP_COUNT] = {
    [WSASEC_GROUP_NONE] = 0,      [WSASEC_GROUP_MODP_768] = 1, [WSASEC_GROUP_MODP_1024] = 2,
    [WSASEC_GROUP_MODP_2048] = 3, [WSASEC_GROUP_ECP_256] = 4,  [WSASEC_GROUP_ECP_384] = 5,
    [WSASEC_GROUP_MODP_2048_256] = 6, [WSASEC_GROUP_MAIN_MODE] = NO,
};

/* IPSEC_PFS_GROUP */
static const uint16_t pfs_groups[WSASEC_GROUP_COUNT] = {
    [WSASEC_GROUP_NONE] = 0,      [WSASEC_GROUP_MODP_768] = 1, [WSASEC_GROUP_MODP_1024] = 2,
    [WSASEC_GROUP_MODP_2048] = 3, [WSASEC_GROUP_ECP_256] = 4,  [WSASEC_GROUP_ECP_384] = 5,
    [WSASEC_GROUP_MODP_2048_256] = 7, [WSASEC_GROUP_MAIN_MODE] = 6,
};

/* IPSEC_CIPHER_TYPE * 256 + IPSEC_CIPHER_CONFIG */
static const uint16_t ciphers[WSASEC_ENCRYPTION_COUNT] = {
    [WSASEC_ENCRYPTION_NONE] = NO,           [WSASEC_ENCRYPTION_DES] = 0x101,
    [WSASEC_ENCRYPTION_TRIPLE_DES] = 0x202,  [WSASEC_ENCRYPTION_AES_128] = 0x303,
    [WSASEC_ENCRYPTION_AES_192] = 0x404,     [WSASEC_ENCRYPTION_AES_256] = 0x505,
    [WSASEC_ENCRYPTION_AES_GCM_128] = 0x306, [WSASEC_ENCRYPTION_AES_GCM_192] = 0x407,
    [WSASEC_ENCRYPTION_AES_GCM_256] = 0x508,
};

/* IPSEC_AUTH_TYPE * 256 + IPSEC_AUTH_CONFIG */
static const uint16_t auths[WSASEC_INTEGRITY_COUNT] = {
    [WSASEC_INTEGRITY_NONE] = NO,           [WSASEC_INTEGRITY_MD5] = 0x000,
    [WSASEC_INTEGRITY_SHA1] = 0x101,        [WSASEC_INTEGRITY_SHA256] = 0x202,
    [WSASEC_INTEGRITY_SHA384] = NO,         [WSASEC_INTEGRITY_AES_GMAC_128] = 0x303,
    [WSASEC_INTEGRITY_AES_GMAC_192] = 0x404, [WSASEC_INTEGRITY_AES_GMAC_256] = 0x505,
};

/* What the system has no number for goes to it as one that it refuses. */
static uint32_t to_system(const uint16_t *table, uint32_t count, uint32_t value)
{
    return value < count ? table[value] : value >= WSASEC_POLICY_UNKNOWN ? value - WSASEC_POLICY_UNKNOWN : NO;
}

static uint32_t of_system(const uint16_t *table, uint32_t count, uint32_t value)
{
    for (uint32_t i = 0; i < count; i++) {
        if (table[i] == value && value != NO)
            return i;
    }
    return WSASEC_POLICY_UNKNOWN + value;
}

IPSEC_PFS_GROUP wsasec_wfp_pfs(uint32_t group)
{
    return (IPSEC_PFS_GROUP)to_system(pfs_groups, WSASEC_GROUP_COUNT, group);
}

uint32_t wsasec_wfp_group_of_pfs(IPSEC_PFS_GROUP group)
{
    return of_system(pfs_groups, WSASEC_GROUP_COUNT, (uint32_t)group);
}

void wsasec_wfp_ike_proposal(const wsasec_proposal *from, IKEEXT_PROPOSAL0 *to)
{
    const wsasec_transform *transform = &from->transforms[0];

    memset(to, 0, sizeof *to);
    to->cipherAlgorithm.algoIdentifier =
        (IKEEXT_CIPHER_TYPE)to_system(ike_ciphers, WSASEC_ENCRYPTION_COUNT, transform->encryption);
    to->integrityAlgorithm.algoIdentifier =
        (IKEEXT_INTEGRITY_TYPE)to_system(ike_integrities, WSASEC_INTEGRITY_COUNT, transform->integrity);
    to->maxLifetimeSeconds = from->lifetime_seconds;
    to->dhGroup = (IKEEXT_DH_GROUP)to_system(ike_groups, WSASEC_GROUP_COUNT, from->group);
    to->quickModeLimit = from->quick_mode_limit;
}

void wsasec_wfp_ike_proposal_of(const IKEEXT_PROPOSAL0 *from, wsasec_proposal *to)
{
    memset(to, 0, sizeof *to);
    to->transform_count = 1;
    to->transforms[0].protocol = WSASEC_PROTOCOL_IKE;
    to->transforms[0].encryption =
        of_system(ike_ciphers, WSASEC_ENCRYPTION_COUNT, (uint32_t)from->cipherAlgorithm.algoIdentifier);
    to->transforms[0].integrity =
        of_system(ike_integrities, WSASEC_INTEGRITY_COUNT, (uint32_t)from->integrityAlgorithm.algoIdentifier);
    to->group = of_system(ike_groups, WSASEC_GROUP_COUNT, (uint32_t)from->dhGroup);
    to->lifetime_seconds = from->maxLifetimeSeconds;
    to->quick_mode_limit = from->quickModeLimit;
}

/* The integrity that AES-GCM brings along. */
static uint32_t integrity_within(uint32_t encryption)
{
    switch (encryption) {
    case WSASEC_ENCRYPTION_AES_GCM_128:
        return WSASEC_INTEGRITY_AES_GMAC_128;
    case WSASEC_ENCRYPTION_AES_GCM_192:
        return WSASEC_INTEGRITY_AES_GMAC_192;
    case WSASEC_ENCRYPTION_AES_GCM_256:
        return WSASEC_INTEGRITY_AES_GMAC_256;
    default:
        return WSASEC_INTEGRITY_NONE;
    }
}

int wsasec_wfp_transform(const wsasec_transform *from, IPSEC_SA_TRANSFORM0 *to,
                         IPSEC_AUTH_AND_CIPHER_TRANSFORM0 *details)
{
    const uint32_t encryption = from->encryption;
    const uint32_t integrity = from->integrity ? from->integrity : integrity_within(encryption);
    const uint32_t auth = to_system(auths, WSASEC_INTEGRITY_COUNT, integrity);
    const uint32_t cipher = to_system(ciphers, WSASEC_ENCRYPTION_COUNT, encryption);

    memset(to, 0, sizeof *to);
    memset(details, 0, sizeof *details);
    details->authTransform.authTransformId.authType = (IPSEC_AUTH_TYPE)(auth >> 8);
    details->authTransform.authTransformId.authConfig = (IPSEC_AUTH_CONFIG)(auth & 0xFF);
    details->cipherTransform.cipherTransformId.cipherType = (IPSEC_CIPHER_TYPE)(cipher >> 8);
    details->cipherTransform.cipherTransformId.cipherConfig = (IPSEC_CIPHER_CONFIG)(cipher & 0xFF);
    if (from->protocol == WSASEC_PROTOCOL_ESP && encryption && integrity) {
        to->ipsecTransformType = IPSEC_TRANSFORM_ESP_AUTH_AND_CIPHER;
        to->espAuthAndCipherTransform = details;
    } else if (from->protocol == WSASEC_PROTOCOL_ESP && encryption) {
        to->ipsecTransformType = IPSEC_TRANSFORM_ESP_CIPHER;
        to->espCipherTransform = &details->cipherTransform;
    } else if (encryption || !integrity) {
        return 0;
    } else if (from->protocol == WSASEC_PROTOCOL_ESP) {
        to->ipsecTransformType = IPSEC_TRANSFORM_ESP_AUTH;
        to->espAuthTransform = &details->authTransform;
    } else if (from->protocol == WSASEC_PROTOCOL_AH) {
        to->ipsecTransformType = IPSEC_TRANSFORM_AH;
        to->ahTransform = &details->authTransform;
    } else if (from->protocol == WSASEC_PROTOCOL_ESP_FIRST_PACKET) {
        to->ipsecTransformType = IPSEC_TRANSFORM_ESP_AUTH_FW;
        to->espAuthFwTransform = &details->authTransform;
    } else {
        return 0;
    }
    return 1;
}

static uint32_t protocol_of(IPSEC_TRANSFORM_TYPE type)
{
    switch (type) {
    case IPSEC_TRANSFORM_AH:
        return WSASEC_PROTOCOL_AH;
    case IPSEC_TRANSFORM_ESP_AUTH:
    case IPSEC_TRANSFORM_ESP_CIPHER:
    case IPSEC_TRANSFORM_ESP_AUTH_AND_CIPHER:
        return WSASEC_PROTOCOL_ESP;
    case IPSEC_TRANSFORM_ESP_AUTH_FW:
        return WSASEC_PROTOCOL_ESP_FIRST_PACKET;
    default:
        return WSASEC_POLICY_UNKNOWN + (uint32_t)type;
    }
}

void wsasec_wfp_transform_of(IPSEC_TRANSFORM_TYPE type, const IPSEC_AUTH_TRANSFORM0 *auth,
                             const IPSEC_CIPHER_TRANSFORM0 *cipher, wsasec_transform *to)
{
    to->protocol = protocol_of(type);
    to->encryption = WSASEC_ENCRYPTION_NONE;
    to->integrity = WSASEC_INTEGRITY_NONE;
    if (cipher)
        to->encryption = of_system(ciphers, WSASEC_ENCRYPTION_COUNT,
                                   (uint32_t)cipher->cipherTransformId.cipherType << 8 |
                                       cipher->cipherTransformId.cipherConfig);
    if (auth)
        to->integrity =
            of_system(auths, WSASEC_INTEGRITY_COUNT,
                      (uint32_t)auth->authTransformId.authType << 8 | auth->authTransformId.authConfig);
    if (cipher && auth && to->integrity == integrity_within(to->encryption))
        to->integrity = WSASEC_INTEGRITY_NONE;
}
