/* SPDX-License-Identifier: Apache-2.0 */
/* The counters as text in Prometheus' exposition format 0.0.4. */
#ifndef WSASEC_ENGINE_METRICS_H
#define WSASEC_ENGINE_METRICS_H

#include <stddef.h>

#include "engine.h"

/* Makes the text, of *length bytes; free it with free(). NULL: no memory. totals: the sums. */
char *wse_metrics_make(const struct wse_engine *engine, const struct wse_totals *totals, size_t *length);

#endif
