/* SPDX-License-Identifier: Apache-2.0 */
#include "metrics.h"

#include <arpa/inet.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "worker.h"

static void head(FILE *out, const char *name, const char *kind, const char *help)
{
    fprintf(out, "# HELP wsasec_engine_%s %s\n# TYPE wsasec_engine_%s %s\n", name, help, name, kind);
}

static void single(FILE *out, const char *name, const char *kind, const char *help, uint64_t value)
{
    head(out, name, kind, help);
    fprintf(out, "wsasec_engine_%s %" PRIu64 "\n", name, value);
}

static const struct {
    const char *name, *help;
} of_each[] = {
    {"sa_packets_total", "Packets of an association"},
    {"sa_bytes_total", "Bytes of an association's inner packets"},
    {"sa_replayed_total", "An association's packets that came before, or too late"},
    {"sa_forged_total", "An association's packets with a wrong tag"},
    {"sa_refused_total", "An association's packets that are not allowed"},
};

static uint64_t value_of(const struct wse_sa_state *state, size_t which)
{
    const uint64_t values[] = {state->packets, state->bytes, state->replayed, state->forged, state->refused};

    return values[which];
}

static void associations(FILE *out, const struct wse_engine *engine)
{
    const uint64_t now = wse_seconds();

    for (size_t which = 0; which < sizeof of_each / sizeof *of_each; which++) {
        head(out, of_each[which].name, "counter", of_each[which].help);
        for (const struct wse_association *each = engine->table.all; each; each = each->next) {
            char source[INET6_ADDRSTRLEN], destination[INET6_ADDRSTRLEN];
            struct wse_sa_state state;

            wse_association_state(each, now, &state);
            inet_ntop(state.name.family, state.name.source, source, sizeof source);
            inet_ntop(state.name.family, state.name.destination, destination, sizeof destination);
            fprintf(out,
                    "wsasec_engine_%s{spi=\"0x%08" PRIx32 "\",direction=\"%s\",source=\"%s\",destination=\"%s\","
                    "reqid=\"%" PRIu32 "\"} %" PRIu64 "\n",
                    of_each[which].name, state.name.spi, state.name.direction == WSE_OUTBOUND ? "out" : "in", source,
                    destination, state.reqid, value_of(&state, which));
        }
    }
}

char *wse_metrics_make(const struct wse_engine *engine, const struct wse_totals *totals, size_t *length)
{
    char *text = NULL;
    FILE *out = open_memstream(&text, length);

    if (!out)
        return NULL;
#define X(name, help) single(out, #name "_total", "counter", help, totals->name);
    WSE_COUNTERS(X)
#undef X
#define X(name, help)                                                                                                  \
    {                                                                                                                  \
        uint64_t sum = 0;                                                                                              \
                                                                                                                       \
        for (unsigned i = 0; i < 2 * engine->threads; i++)                                                             \
            sum += atomic_load_explicit(&engine->workers[i]->counters.name, memory_order_relaxed);                     \
        single(out, #name "_total", "counter", help, sum);                                                             \
    }
    WSE_MORE_COUNTERS(X)
#undef X
    single(out, "sas", "gauge", "Associations there are", totals->sas);
    single(out, "devices", "gauge", "Devices that are served", totals->devices);
    single(out, "transports", "gauge", "Transports that are served", totals->transports);
    single(out, "subscribers", "gauge", "Connections that events are told to", totals->subscribers);
    associations(out, engine);
    if (fclose(out)) {
        free(text);
        return NULL;
    }
    return text;
}
