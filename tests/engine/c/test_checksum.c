/* SPDX-License-Identifier: Apache-2.0 */
/* Compiled with: checksum.c */
#include "checksum.h"

#include "made_packet.h"

static uint16_t swapped(uint16_t sum)
{
    return ntohs(sum);
}

/* Every length and alignment at the edges of the vectors, in buffers of just that size, ones and zeros too. */
static void test_against_slow(void)
{
    for (size_t length = 0; length < 300; length++) {
        for (int fill = 0; fill < 3; fill++) {
            uint8_t *bytes = malloc(length + 1), *copy = malloc(length + 1);
            uint16_t expected;

            CHECK(bytes && copy);
            for (size_t i = 0; i <= length; i++)
                bytes[i] = fill == 0 ? 0xff : fill == 1 ? 0 : (uint8_t)(i * 37 + length);
            for (size_t from = 0; from < 2 && from <= length; from++) {
                const size_t rest = length + 1 - from;

                expected = slow_sum(bytes + from, rest, 0);
                CHECK(swapped(wse_sum_fold(wse_sum(bytes + from, rest))) == expected);
                memset(copy, 0x5a, length + 1);
                CHECK(swapped(wse_sum_fold(wse_sum_copy(copy, bytes + from, rest))) == expected);
                CHECK(!memcmp(copy, bytes + from, rest));
                CHECK(from == 0 || copy[length] == 0x5a);
            }
            free(bytes);
            free(copy);
        }
    }
}

static void test_large(void)
{
    const size_t length = 1 << 20;
    uint8_t *bytes = malloc(length);

    CHECK(bytes);
    memset(bytes, 0xff, length);
    CHECK(wse_sum(bytes, length) < UINT64_C(1) << 51);
    CHECK(wse_sum_fold(wse_sum(bytes, length)) == 0xffff);
    free(bytes);
}

static void test_fold(void)
{
    CHECK(wse_sum_fold(0) == 0);
    CHECK(wse_sum_fold(0xffff) == 0xffff);
    CHECK(wse_sum_fold(0x10000) == 1);
    CHECK(wse_sum_fold(UINT64_MAX) == 0xffff);
    CHECK(wse_sum_fold(UINT64_MAX - 1) == 0xfffe);
    CHECK(wse_sum_fold(UINT64_C(0xffffffff00000001)) == 1); /* = 0xffff + 1 */
    CHECK(wse_checksum(0xffff) == 0 && wse_checksum(0) == 0xffff);
}

static void test_pseudo(void)
{
    uint8_t bytes[21] = {1, 2, 3};

    for (uint32_t length = 0; length <= sizeof bytes; length += 7) {
        const uint64_t four = wse_sum_pseudo(AF_INET, made_source_4, made_destination_4, 6, length);
        const uint64_t six = wse_sum_pseudo(AF_INET6, made_source_6, made_destination_6, 17, length);

        CHECK(swapped(wse_sum_fold(four + wse_sum(bytes, length))) ==
              slow_transport_sum(AF_INET, made_source_4, made_destination_4, 6, bytes, length));
        CHECK(swapped(wse_sum_fold(six + wse_sum(bytes, length))) ==
              slow_transport_sum(AF_INET6, made_source_6, made_destination_6, 17, bytes, length));
    }
    /* More than 16 bits of length (RFC 8200 8.1: 32). */
    CHECK(wse_sum_fold(wse_sum_pseudo(AF_INET, made_source_4, made_destination_4, 6, 0x20001)) ==
          wse_sum_fold(wse_sum_pseudo(AF_INET, made_source_4, made_destination_4, 6, 3)));
}

static void test_update(void)
{
    uint8_t bytes[40];
    unsigned seed = 1;

    for (int round = 0; round < 20000; round++) {
        uint16_t before, after;
        uint64_t old_sum, new_sum;

        for (size_t i = 0; i < sizeof bytes; i++) {
            seed = seed * 1103515245 + 12345;
            bytes[i] = round % 5 == 0 ? (uint8_t)-(int)(seed >> 31) : (uint8_t)(seed >> 16);
        }
        bytes[0] = 0x45; /* all zero is the one sum that an update can't tell from all ones */
        before = wse_checksum(wse_sum(bytes, sizeof bytes));
        old_sum = wse_sum(bytes + 8, 12);
        for (size_t i = 8; i < 20; i++)
            bytes[i] = (uint8_t)(bytes[i] * 5 + round);
        new_sum = wse_sum(bytes + 8, 12);
        after = wse_checksum_update(before, old_sum, new_sum);
        CHECK(after == wse_checksum(wse_sum(bytes, sizeof bytes)));
    }
}

static void test_complete(void)
{
    const int families[] = {AF_INET, AF_INET6};

    for (int i = 0; i < 2; i++) {
        for (size_t data = 0; data < 40; data++) {
            for (int udp = 0; udp < 2; udp++) {
                const uint8_t protocol = udp ? IPPROTO_UDP : IPPROTO_TCP;
                struct made made = make_packet(families[i], protocol, data, 0, 0);

                wse_checksum_complete(made.frame + made.ip, made.length - made.ip, made.transport - made.ip,
                                      udp ? 6 : 16, protocol);
                CHECK(slow_transport_sum(families[i], i ? made_source_6 : made_source_4,
                                         i ? made_destination_6 : made_destination_4, protocol,
                                         made.frame + made.transport, made.length - made.transport) == 0xffff);
                free(made.frame);
            }
        }
    }
    /* What sums up to a checksum of zero: UDP says 0xffff for it. */
    for (int udp = 0; udp < 2; udp++) {
        uint8_t bytes[8] = {0xff, 0xff};
        uint16_t checksum;

        wse_checksum_complete(bytes, sizeof bytes, 0, 6, udp ? IPPROTO_UDP : IPPROTO_TCP);
        memcpy(&checksum, bytes + 6, sizeof checksum);
        CHECK(checksum == (udp ? 0xffff : 0));
    }
}

int main(void)
{
    test_against_slow();
    test_large();
    test_fold();
    test_pseudo();
    test_update();
    test_complete();
    return 0;
}
