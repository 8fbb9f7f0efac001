/* SPDX-License-Identifier: Apache-2.0 */
#include "esp.h"

#include <errno.h>
#include <string.h>

enum { AAD_MAX = 12 };

static void put32(uint8_t *at, uint32_t value)
{
    at[0] = (uint8_t)(value >> 24);
    at[1] = (uint8_t)(value >> 16);
    at[2] = (uint8_t)(value >> 8);
    at[3] = (uint8_t)value;
}

static uint32_t get32(const uint8_t *at)
{
    return (uint32_t)at[0] << 24 | (uint32_t)at[1] << 16 | (uint32_t)at[2] << 8 | at[3];
}

uint64_t wse_sequence_take(struct wse_sequence *sequence, uint32_t count, bool esn)
{
    const uint64_t most = esn ? UINT64_MAX : UINT32_MAX;
    uint64_t last = atomic_load_explicit(&sequence->last, memory_order_relaxed);

    do {
        if (!count || most - last < count)
            return 0;
    } while (!atomic_compare_exchange_weak_explicit(&sequence->last, &last, last + count, memory_order_relaxed,
                                                    memory_order_relaxed));
    return last + 1;
}

/* RFC 4106 section 5, and RFC 7634 section 2.1: the SPI, and the sequence number of 32 or 64 bits. */
static size_t make_aad(uint8_t aad[AAD_MAX], const uint8_t *packet, uint64_t sequence, bool esn)
{
    memcpy(aad, packet, 4);
    if (!esn) {
        put32(aad + 4, (uint32_t)sequence);
        return 8;
    }
    put32(aad + 4, (uint32_t)(sequence >> 32));
    put32(aad + 8, (uint32_t)sequence);
    return 12;
}

size_t wse_esp_seal(const struct wse_key *key, unsigned thread, uint32_t spi, uint64_t sequence, bool esn,
                    uint8_t *packet, size_t payload, uint8_t next_header)
{
    const size_t size = wse_esp_size(payload);
    const size_t text = size - WSE_ESP_HEAD - WSE_TAG_SIZE;
    const size_t padding = text - WSE_ESP_TRAILER - payload;
    uint8_t *end = packet + WSE_ESP_HEAD + payload;
    uint8_t aad[AAD_MAX];
    size_t aad_length;

    put32(packet, spi);
    put32(packet + 4, (uint32_t)sequence);
    put32(packet + 8, (uint32_t)(sequence >> 32));
    put32(packet + 12, (uint32_t)sequence);
    for (size_t i = 0; i < padding; i++)
        end[i] = (uint8_t)(i + 1);
    end[padding] = (uint8_t)padding;
    end[padding + 1] = next_header;
    aad_length = make_aad(aad, packet, sequence, esn);
    return wse_seal(key, thread, packet + 8, aad, aad_length, packet + WSE_ESP_HEAD, text, packet + size - WSE_TAG_SIZE)
               ? 0
               : size;
}

uint32_t wse_esp_spi(const uint8_t *packet)
{
    return get32(packet);
}

/* Bytes of payload in the opened text, or -EBADMSG: its trailer is none (RFC 4303 section 2.4: 1, 2, 3 ...). */
static long strip(const uint8_t *text, size_t length)
{
    const size_t padding = text[length - 2];
    const uint8_t *at;

    if (padding > length - WSE_ESP_TRAILER)
        return -EBADMSG;
    at = text + length - WSE_ESP_TRAILER - padding;
    for (size_t i = 0; i < padding; i++)
        if (at[i] != i + 1)
            return -EBADMSG;
    return at - text;
}

enum wse_esp_result wse_esp_open(const struct wse_key *key, unsigned thread, struct wse_replay *replay, bool esn,
                                 uint8_t *packet, size_t size, struct wse_esp_opened *opened)
{
    uint8_t *text = packet + WSE_ESP_HEAD;
    uint8_t aad[AAD_MAX];
    size_t aad_length;
    size_t text_length;
    uint32_t low;
    long length;

    *opened = (struct wse_esp_opened){0};
    if (size < WSE_ESP_MIN || size % WSE_ESP_ALIGNMENT)
        return WSE_ESP_MALFORMED;
    text_length = size - WSE_ESP_HEAD - WSE_TAG_SIZE;
    low = get32(packet + 4);
    opened->sequence = esn ? wse_replay_infer(replay, low) : low;
    if (!wse_replay_check(replay, opened->sequence))
        return WSE_ESP_REPLAYED;
    aad_length = make_aad(aad, packet, opened->sequence, esn);
    switch (wse_open(key, thread, packet + 8, aad, aad_length, text, text_length, packet + size - WSE_TAG_SIZE)) {
    case 0:
        break;
    case -EBADMSG:
        return WSE_ESP_FORGED;
    default:
        return WSE_ESP_FAILED;
    }
    if (!wse_replay_update(replay, opened->sequence)) {
        wse_wipe(text, text_length);
        return WSE_ESP_REPLAYED;
    }
    length = strip(text, text_length);
    opened->next_header = text[text_length - 1];
    if (length < 0 || opened->next_header == WSE_ESP_DUMMY) {
        /* The content of a dummy packet need not be padded as is said above, so it is not looked at. */
        const bool dummy = opened->next_header == WSE_ESP_DUMMY;

        wse_wipe(text, text_length);
        return dummy ? WSE_ESP_EMPTY : WSE_ESP_MALFORMED;
    }
    opened->payload = text;
    opened->length = (size_t)length;
    return WSE_ESP_OK;
}
