/* SPDX-License-Identifier: Apache-2.0 */
/* What is counted: by each worker for itself, so that no two write one cache line, and summed up by who asks. */
#ifndef WSASEC_ENGINE_TOTALS_H
#define WSASEC_ENGINE_TOTALS_H

#include <stdalign.h>
#include <stdatomic.h>
#include <stdint.h>

#include "control_protocol.h"

/* name, what it counts (the help text of the metric) */
#define WSE_COUNTERS(X)                                                                                                \
    X(sent_packets, "Inner packets that were sent")                                                                    \
    X(sent_bytes, "Bytes of inner packets that were sent")                                                             \
    X(received_packets, "Inner packets that were received")                                                            \
    X(received_bytes, "Bytes of inner packets that were received")                                                     \
    X(held, "Packets that waited for an association")                                                                  \
    X(held_lost, "Packets that waited for an association and were dropped")                                            \
    X(acquires, "Associations that were asked for")                                                                    \
    X(unknown_spi, "Received ESP packets of no association")                                                           \
    X(malformed, "Received packets, or packets of the device, that are none")                                          \
    X(replayed, "Received ESP packets that came before, or too late")                                                  \
    X(forged, "Received ESP packets with a wrong tag")                                                                 \
    X(refused, "Packets that are not allowed: of or to an address that is not the association's, and the like")       \
    X(no_buffer, "Packets that were dropped as there was no room, or no way to send them")                             \
    X(fragments, "IP fragments that came from the device")                                                             \
    X(fragments_lost, "IP fragments that were dropped")                                                                \
    X(reassembled, "Packets that were put together from fragments")                                                    \
    X(too_big, "Packets that were answered with what fits")

/* These only the metrics tell. */
#define WSE_MORE_COUNTERS(X)                                                                                           \
    X(not_ours, "Datagrams with the non-ESP marker, which are for IKE, and keepalives")                                \
    X(written, "Packets that were written to devices, many inner packets in one")                                      \
    X(datagrams, "Datagrams that were received")                                                                       \
    X(receives, "System calls that received datagrams")                                                                \
    X(sends, "Messages that were sent, many datagrams in one")                                                         \
    X(probes, "Dummy packets that were sent to find what the way to a peer takes")                                     \
    X(dummies, "Dummy packets that were received")

struct wse_counters {
#define X(name, help) _Atomic(uint64_t) name;
    alignas(64) WSE_COUNTERS(X) WSE_MORE_COUNTERS(X)
#undef X
};

/* A counter that one thread writes only. */
static inline void wse_count(_Atomic(uint64_t) *counter, uint64_t number)
{
    atomic_store_explicit(counter, atomic_load_explicit(counter, memory_order_relaxed) + number, memory_order_relaxed);
}

/* Adds a worker's. */
void wse_totals_add(struct wse_totals *totals, const struct wse_counters *counters);

#endif
