/* SPDX-License-Identifier: Apache-2.0 */
#include "totals.h"

void wse_totals_add(struct wse_totals *totals, const struct wse_counters *counters)
{
#define X(name, help) totals->name += atomic_load_explicit(&counters->name, memory_order_relaxed);
    WSE_COUNTERS(X)
#undef X
}
