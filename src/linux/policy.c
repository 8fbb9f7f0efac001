/* SPDX-License-Identifier: Apache-2.0 */
#include "policy.h"

#include <string.h>

void wsasec_policy_make(struct wsasec_policy *policy, const wsasec_profile *profile, int address_family,
                        uint8_t direction, int required)
{
    memset(policy, 0, sizeof *policy);
    /* The selector stays empty, which is "any": a flow that a selector misses goes out in clear. */
    policy->info.sel.family = (uint16_t)address_family;
    policy->info.lft.soft_byte_limit = XFRM_INF;
    policy->info.lft.hard_byte_limit = XFRM_INF;
    policy->info.lft.soft_packet_limit = XFRM_INF;
    policy->info.lft.hard_packet_limit = XFRM_INF;
    policy->info.dir = direction;
    policy->info.action = XFRM_POLICY_ALLOW;
    policy->info.share = XFRM_SHARE_ANY;
    policy->tmpl.id.proto = (uint8_t)profile->protocol;
    policy->tmpl.family = (uint16_t)address_family;
    policy->tmpl.reqid = profile->reqid;
    policy->tmpl.mode = XFRM_MODE_TRANSPORT;
    policy->tmpl.share = XFRM_SHARE_ANY;
    policy->tmpl.optional = !required;
    /* The kernel does not hold an SA to these; an AEAD SA passes no other mask. The reqid is the guarantee. */
    policy->tmpl.aalgos = policy->tmpl.ealgos = policy->tmpl.calgos = UINT32_MAX;
}
