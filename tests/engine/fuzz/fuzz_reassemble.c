/* SPDX-License-Identifier: Apache-2.0 */
/* Compiled with: reassemble.c packet.c inner.c checksum.c; runs 30000 */
/*
 * Fragments of eight datagrams in any order, sizes and times, and raw ones. Six bytes a fragment: name and flags,
 * offset (2), length (2), time. A byte tells its datagram and its place there: a whole one has each where it belongs.
 */
#include "reassemble.h"

#include "../c/made_packet.h"

enum { DATAGRAMS = 3, FRAGMENTS = 40 };

static uint8_t pattern(uint32_t id, uint32_t at)
{
    return (uint8_t)(id * 37 + at / 8 * 5 + at);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static void *memory;
    struct wse_reassembly *reassembly;
    uint64_t now = 0;

    if (!memory)
        memory = aligned_alloc(64, (wse_reassembly_bytes(DATAGRAMS) + 63) / 64 * 64);
    CHECK(memory);
    reassembly = wse_reassembly_start(memory, DATAGRAMS);
    for (int count = 0; size >= 6 && count < FRAGMENTS; count++) {
        const uint32_t id = data[0] & 7;
        const int four = data[0] & 8, more = data[0] & 16, raw = data[0] & 32, short_piece = data[0] & 64;
        const uint32_t offset = (uint32_t)(data[1] << 8 | data[2]) & (short_piece ? 0x1f8 : 0xfff8);
        uint32_t length = (uint32_t)(data[3] << 8 | data[4]) & (short_piece ? 0x7f : 0x1fff);
        const uint32_t header = four ? 20 : 48;
        struct wse_packet packet, whole;
        uint8_t *bytes;

        now += data[5] < 250 ? data[5] : 10000;
        if (more && data[0] & 128)
            length &= ~7u;
        data += 6;
        size -= 6;
        if (raw && length > size)
            length = (uint32_t)size;
        bytes = malloc(header + length); /* at least 20 */
        CHECK(bytes);
        if (raw) {
            memset(bytes, 0, header + length);
            memcpy(bytes, data, length);
            bytes[bytes[0] >> 4 == 4 ? 12 : 8] = 10; /* never an address of the others' */
            data += length;
            size -= length;
        } else {
            memset(bytes, 0, header);
            if (four) {
                bytes[0] = 0x45;
                wse_put16(bytes + 2, (uint16_t)(20 + length));
                wse_put16(bytes + 4, (uint16_t)id);
                wse_put16(bytes + 6, (uint16_t)((more ? 0x2000 : 0) | offset / 8));
                bytes[9] = IPPROTO_UDP;
            } else {
                bytes[0] = 0x60;
                wse_put16(bytes + 4, (uint16_t)(8 + length));
                bytes[6] = IPPROTO_FRAGMENT;
                bytes[40] = IPPROTO_UDP;
                wse_put16(bytes + 42, (uint16_t)(offset | (more ? 1 : 0)));
                bytes[47] = (uint8_t)id;
            }
            for (uint32_t i = 0; i < length; i++)
                bytes[header + i] = pattern(id, offset + i);
            if (!offset && length)
                bytes[header + 1 % length] = (uint8_t)(id * 16); /* a port that says which it is */
        }
        if (wse_packet_parse(&packet, bytes, header + length) == WSE_FINE && packet.fragment &&
            wse_reassembly_add(reassembly, &packet, now, &whole) == WSE_REASSEMBLY_DONE) {
            CHECK(!whole.fragment && whole.length <= WSE_INNER_MAX && whole.headers <= whole.length);
            CHECK(whole.bytes > (uint8_t *)memory &&
                  whole.bytes + whole.length <= (uint8_t *)memory + wse_reassembly_bytes(DATAGRAMS));
            for (uint32_t i = 8; whole.source[0] == 0 && i < whole.length - whole.payload; i++)
                CHECK(whole.bytes[whole.payload + i] == pattern(whole.bytes[whole.payload + 1] / 16u, i));
        }
        free(bytes);
    }
    (void)wse_reassembly_expire(reassembly, UINT64_MAX);
    return 0;
}
