/* SPDX-License-Identifier: Apache-2.0 */
#include "carrier.h"

#include <stdatomic.h>

#include "../backend.h"
#include "failure.h"

/*
 * What WSASEC_CARRIER_AUTO is. ESP is the whole kernel's, not a namespace's; and a process that has begun with one carrier
 * stays with it, so that its sockets are all alike. WSASEC_CARRIER_AUTO: not yet found out.
 */
static atomic_int found = WSASEC_CARRIER_AUTO;

int32_t wsasec_backend_carrier_auto(wsasec_status *status)
{
    int32_t carrier = atomic_load_explicit(&found, memory_order_relaxed);
    wsasec_status own;

    if (carrier != WSASEC_CARRIER_AUTO)
        return carrier;
    if (!status)
        status = &own;
    carrier = wsasec_backend_capability(WSASEC_CAPABILITY_ESP4, status);
    if (carrier < 0 && status->reason != WSASEC_REASON_NO_XFRM)
        return carrier;
    carrier = carrier == 1 ? WSASEC_CARRIER_POLICY : WSASEC_CARRIER_DEVICE;
    atomic_store_explicit(&found, carrier, memory_order_relaxed);
    return carrier;
}

enum wsasec_carrier wsasec_carrier_of(const wsasec_profile *profile)
{
    int32_t carrier;

    if (profile->carrier != WSASEC_CARRIER_AUTO)
        return (enum wsasec_carrier)profile->carrier;
    carrier = wsasec_backend_carrier_auto(NULL);
    return carrier < 0 ? WSASEC_CARRIER_AUTO : (enum wsasec_carrier)carrier;
}

/* Where that cannot be told, it is taken that they can: a broker that knows better protects them all the same. */
int wsasec_backend_falls_back(const wsasec_profile *profile)
{
    return wsasec_carrier_of(profile) != WSASEC_CARRIER_DEVICE;
}
