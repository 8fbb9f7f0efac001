/* SPDX-License-Identifier: Apache-2.0 */
/* From a profile to the kernel's policy structures, for sockets and for the guard. */
#ifndef WSASEC_LINUX_POLICY_H
#define WSASEC_LINUX_POLICY_H

#include <linux/xfrm.h>

#include "wsasec.h"

/* The kernel tells the number of templates by the length: this is exactly one. */
struct wsasec_policy {
    struct xfrm_userpolicy_info info;
    struct xfrm_user_tmpl tmpl;
};
_Static_assert(sizeof(struct xfrm_userpolicy_info) == 168, "a policy without templates");
_Static_assert(sizeof(struct xfrm_user_tmpl) == 64, "one template");
_Static_assert(sizeof(struct wsasec_policy) == 168 + 64, "one policy with one template, without a gap");

/* address_family: AF_INET or AF_INET6; direction: XFRM_POLICY_IN or _OUT. */
void wsasec_policy_make(struct wsasec_policy *policy, const wsasec_profile *profile, int address_family,
                        uint8_t direction, int required);

#endif
