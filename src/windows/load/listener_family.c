/* SPDX-License-Identifier: Apache-2.0 */
/* There is no fork(), so no listener of this process can be in another. */
#include "../../load/listener.h"

void wsasec_family_enlist(wsasec_listener *listener)
{
    (void)listener;
}

void wsasec_family_lock(void)
{
}

void wsasec_family_strike_out(wsasec_listener *listener)
{
    (void)listener;
}

void wsasec_family_unlock(void)
{
}

void wsasec_family_part(int32_t fd)
{
    (void)fd;
}
