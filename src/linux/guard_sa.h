/* SPDX-License-Identifier: Apache-2.0 */
/* Inbound SAs that do not set the guard's mark on what they decapsulate: replies to that would go out in clear. */
#ifndef WSASEC_LINUX_GUARD_SA_H
#define WSASEC_LINUX_GUARD_SA_H

#include "realm.h"

/* Returns 1 if the profile has such an SA, 0 if not, or -errno. */
int wsasec_guard_sa_unmarked(struct wsasec_realm *realm, const wsasec_profile *profile, int address_family);

/* Whether a message of the kernel (XFRM_MSG_NEWSA, XFRM_MSG_UPDSA) tells of one. */
int wsasec_guard_sa_is_unmarked(struct wsasec_realm *realm, const wsasec_profile *profile, int address_family,
                                const struct nlmsghdr *message);

#endif
