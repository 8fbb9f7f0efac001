/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The packet of ESP in transport mode (RFC 4303 section 2), with the AEADs of crypto.h, in place:
 *
 *     | SPI 4 | sequence 4 | IV 8 | payload | padding 0..3 | pad length 1 | next header 1 | ICV 16 |
 *     ^ packet                    ^ packet + WSE_ESP_HEAD            WSE_ESP_TAIL_MAX at most after the payload
 *
 * The IV is the sequence number of 64 bits, so it never repeats under a key (RFC 4106 section 3.1).
 */
#ifndef WSASEC_ENGINE_ESP_H
#define WSASEC_ENGINE_ESP_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "crypto.h"
#include "replay.h"

enum {
    WSE_ESP_HEAD = 16,     /* SPI, sequence number, IV */
    WSE_ESP_TRAILER = 2,   /* pad length, next header */
    WSE_ESP_ALIGNMENT = 4, /* of the end of the trailer */
    WSE_ESP_TAIL_MAX = WSE_ESP_ALIGNMENT - 1 + WSE_ESP_TRAILER + WSE_TAG_SIZE,
    WSE_ESP_MIN = WSE_ESP_HEAD + WSE_ESP_ALIGNMENT + WSE_TAG_SIZE, /* the shortest packet there is */
    WSE_ESP_DUMMY = 59,                                            /* next header of a dummy packet (section 2.6) */
};

/* Bytes of the ESP packet for a payload of so many, from SPI to ICV. */
static inline size_t wse_esp_size(size_t payload)
{
    const size_t words = (payload + WSE_ESP_TRAILER + WSE_ESP_ALIGNMENT - 1) / WSE_ESP_ALIGNMENT;

    return WSE_ESP_HEAD + words * WSE_ESP_ALIGNMENT + WSE_TAG_SIZE;
}

/*
 * The sequence numbers of an outbound SA; any number of threads may take them. Zero is its first state.
 */
struct wse_sequence {
    _Alignas(64) _Atomic uint64_t last; /* that was taken */
};

/*
 * Takes count (1 and more) numbers in a row. The first of them, or 0: there are not so many left (RFC 4303 section
 * 3.3.3: they must not cycle), and none was taken. The caller's SA is at its end then.
 */
uint64_t wse_sequence_take(struct wse_sequence *sequence, uint32_t count, bool esn);

/*
 * Makes an ESP packet of the payload bytes that lie at packet + WSE_ESP_HEAD, with WSE_ESP_TAIL_MAX bytes of room
 * after them. Its size, that is wse_esp_size(payload), or 0: the crypto library failed, and the packet's content is
 * wiped.
 */
size_t wse_esp_seal(const struct wse_key *key, unsigned thread, uint32_t spi, uint64_t sequence, bool esn,
                    uint8_t *packet, size_t payload, uint8_t next_header);

enum wse_esp_result {
    WSE_ESP_OK,
    WSE_ESP_EMPTY,     /* a dummy packet, authentic; nothing is to be delivered */
    WSE_ESP_MALFORMED, /* too short, not a multiple of four, or its padding is wrong though it is authentic */
    WSE_ESP_REPLAYED,  /* left of the window, 0, or seen before */
    WSE_ESP_FORGED,    /* the tag is wrong */
    WSE_ESP_FAILED,    /* the crypto library failed */
};

struct wse_esp_opened {
    uint8_t *payload; /* in the packet, at WSE_ESP_HEAD; set with WSE_ESP_OK only */
    size_t length;
    uint64_t sequence; /* as inferred; 0 where malformed before that */
    uint8_t next_header;
};

/* The SPI of a packet of WSE_ESP_MIN bytes or more. */
uint32_t wse_esp_spi(const uint8_t *packet);

/*
 * Opens a packet of size bytes in place: lengths, sequence number, replay check, tag, replay update, padding (section
 * 3.4). Any thread that has a number of its own may open packets of one SA at the same time as others. If the result
 * is not WSE_ESP_OK, no plaintext is left in the packet.
 */
enum wse_esp_result wse_esp_open(const struct wse_key *key, unsigned thread, struct wse_replay *replay, bool esn,
                                 uint8_t *packet, size_t size, struct wse_esp_opened *opened);

#endif
