/* SPDX-License-Identifier: Apache-2.0 */
/* The guard's system policy: outbound, any to any, for packets with the profile's mark, ESP required. */
#ifndef WSASEC_LINUX_GUARD_POLICY_H
#define WSASEC_LINUX_GUARD_POLICY_H

#include "realm.h"

/* Puts it up where it is missing; refuses where another has its place or comes before it. */
int32_t wsasec_guard_policy_ready(struct wsasec_realm *realm, const wsasec_profile *profile, int address_family,
                                  wsasec_status *status);

/* WSASEC_GUARD_UP, _POLICY_MISSING, _POLICY_FOREIGN, or an error. Changes nothing. */
int32_t wsasec_guard_policy_look(struct wsasec_realm *realm, const wsasec_profile *profile, int address_family,
                                 wsasec_status *status);

#endif
