/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Fragments from the device are put together before ESP: in transport mode ESP is applied to whole IP datagrams only
 * (RFC 4303 3.3.4); the outer packet is cut again, behind ESP, by the kernel. A fixed number of datagrams of fixed
 * memory; each has a time limit; where there is no room the oldest goes; overlaps discard a datagram (RFC 5722, here
 * for IPv4, too), and what else comes of it. Linux gives all fragments between two hosts to one queue of a TUN device.
 */
#ifndef WSASEC_ENGINE_REASSEMBLE_H
#define WSASEC_ENGINE_REASSEMBLE_H

#include "packet.h"

enum { WSE_REASSEMBLE_SECONDS = 30, WSE_REASSEMBLE_FRAGMENTS = 2048 /* of one datagram */ };

struct wse_reassembly; /* one a thread */

enum wse_reassembled {
    WSE_REASSEMBLY_WAITS = 0, /* taken; more has to come */
    WSE_REASSEMBLY_DONE,      /* *whole is the datagram, valid until the next call */
    WSE_REASSEMBLY_DROPPED    /* this one and, if it overlaps, all of its datagram */
};

/* Bytes of memory for so many datagrams at a time (about 67 kB each); 1 to 1024. */
size_t wse_reassembly_bytes(uint32_t datagrams);

/* Makes it in that memory (aligned to 16). */
struct wse_reassembly *wse_reassembly_start(void *memory, uint32_t datagrams);

/*
 * Takes a fragment (packet->fragment, of wse_packet_parse) at a time in milliseconds of a monotonic clock. A *whole
 * that is done was parsed without refusal, is no fragment, and has dont_fragment 0: what it becomes may be cut, with
 * IPv6, too.
 */
enum wse_reassembled wse_reassembly_add(struct wse_reassembly *reassembly, const struct wse_packet *packet,
                                        uint64_t now, struct wse_packet *whole);

/* Forgets what is over its time; returns how many datagrams. wse_reassembly_add does so itself when it needs room. */
uint32_t wse_reassembly_expire(struct wse_reassembly *reassembly, uint64_t now);

/* Datagrams that were begun and given up so far: time, room, overlaps, contradictions. */
uint64_t wse_reassembly_lost(const struct wse_reassembly *reassembly);

#endif
