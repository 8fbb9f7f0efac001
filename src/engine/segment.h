/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Cuts a super packet (TSO4, TSO6, USO) into what ESP in transport mode carries of each segment: the transport header,
 * made anew, with a whole checksum, and its part of the payload. A packet that is none is one segment.
 *
 *     count = wse_segment_start(&cut, &packet);
 *     for (i = 0; i < count; i++) {
 *         length = wse_segment_write(&cut, i, room);      // copied once, to where it is sealed
 *         esp_seal(..., room, length, packet.next, ...);
 *     }
 *
 * The IP header is not written: ESP in transport mode does not carry it. wse_segment_ip writes it where it is needed.
 */
#ifndef WSASEC_ENGINE_SEGMENT_H
#define WSASEC_ENGINE_SEGMENT_H

#include "packet.h"

struct wse_segments {
    const struct wse_packet *packet;
    uint64_t pseudo;    /* sum of the pseudo header without the length */
    uint32_t data;      /* bytes of payload in all */
    uint32_t size;      /* bytes of payload of each but the last */
    uint32_t count;
    uint16_t lead;      /* bytes from packet->payload to packet->headers: options and the transport header */
};

/* Returns the number of segments, at least 1. The packet was parsed without refusal, and stays while it is cut. */
uint32_t wse_segment_start(struct wse_segments *cut, const struct wse_packet *packet);

/* Bytes that wse_segment_write writes for segment `index`; all but the last are equal. */
static inline uint32_t wse_segment_length(const struct wse_segments *cut, uint32_t index)
{
    return cut->lead + (index + 1 < cut->count ? cut->size : cut->data - index * cut->size);
}

/* Writes segment `index` (wse_segment_length bytes) to `to`; returns the bytes written. */
uint32_t wse_segment_write(const struct wse_segments *cut, uint32_t index, uint8_t *to);

/* Writes the IP header of segment `index` with its own length, ID and checksum (20 or 40 bytes); returns its bytes. */
uint32_t wse_segment_ip(const struct wse_segments *cut, uint32_t index, uint8_t *to);

#endif
