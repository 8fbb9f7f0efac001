/* SPDX-License-Identifier: Apache-2.0 */
/* Compiled with: reassemble.c packet.c inner.c checksum.c */
#include "reassemble.h"

#include "made_packet.h"

enum { DATAGRAMS = 4 };

static void *memory;
static struct wse_reassembly *reassembly;
static struct wse_packet whole;

static void start(void)
{
    const size_t size = wse_reassembly_bytes(DATAGRAMS);

    free(memory);
    memory = aligned_alloc(64, (size + 63) / 64 * 64);
    CHECK(memory);
    memset(memory, 0xa5, size);
    reassembly = wse_reassembly_start(memory, DATAGRAMS);
}

/* Gives it bytes [from, from + length) of the packet's data as a fragment, in a buffer of just its size. */
static enum wse_reassembled give(const struct made *made, uint32_t id, size_t from, size_t length, int more,
                                 uint64_t now)
{
    const int four = made->transport - made->ip == 20;
    const size_t header = four ? 20 : 48;
    uint8_t *bytes = malloc(header + length);
    struct wse_packet packet;
    enum wse_reassembled done;

    CHECK(bytes);
    memcpy(bytes, made->frame + made->ip, four ? 20 : 40);
    if (four) {
        wse_put16(bytes + 2, (uint16_t)(20 + length));
        wse_put16(bytes + 4, (uint16_t)id);
        wse_put16(bytes + 6, (uint16_t)((more ? 0x2000 : 0) | (from / 8)));
    } else {
        wse_put16(bytes + 4, (uint16_t)(8 + length));
        bytes[40] = bytes[6];
        bytes[41] = 0;
        bytes[6] = IPPROTO_FRAGMENT;
        wse_put16(bytes + 42, (uint16_t)(from | (more ? 1 : 0)));
        wse_put32(bytes + 44, id);
    }
    memcpy(bytes + header, made->frame + made->transport + from, length);
    CHECK(wse_packet_parse(&packet, bytes, header + length) == WSE_FINE);
    CHECK(packet.fragment || (four && !from && !more));
    done = wse_reassembly_add(reassembly, &packet, now, &whole);
    free(bytes);
    return done;
}

static void right(const struct made *made)
{
    const size_t ip = made->transport - made->ip;

    CHECK(whole.length == made->length - made->ip && !whole.fragment && !whole.dont_fragment);
    CHECK(!memcmp(whole.bytes + ip, made->frame + made->transport, made->length - made->transport));
    CHECK(!memcmp(whole.source, made->frame + made->ip + (ip == 20 ? 12 : 8), ip == 20 ? 4 : 16));
    CHECK(whole.protocol == IPPROTO_UDP && whole.ttl == made->frame[made->ip + (ip == 20 ? 8 : 7)]);
    CHECK(ip == 40 || slow_sum(whole.bytes, 20, 0) == 0xffff);
}

static void test_orders(int family)
{
    struct made made = make_packet(family, IPPROTO_UDP, 5000, 0, 0);
    const size_t size = made.length - made.transport, piece = 1480;

    start();
    for (int order = 0; order < 24; order++) {
        int left[4] = {0, 1, 2, 3}, picked = order;

        for (int i = 4; i > 0; i--) {
            const int at = picked % i;
            const size_t from = (size_t)left[at] * piece;
            const int last = left[at] == 3;

            picked /= i;
            CHECK(give(&made, (uint32_t)order, from, last ? size - from : piece, !last, 0) ==
                  (i == 1 ? WSE_REASSEMBLY_DONE : WSE_REASSEMBLY_WAITS));
            memmove(left + at, left + at + 1, (size_t)(3 - at) * sizeof *left);
        }
        right(&made);
    }
    CHECK(wse_reassembly_lost(reassembly) == 0 && wse_reassembly_expire(reassembly, UINT64_MAX) == 0);
    free(made.frame);
}

static void test_largest(int family)
{
    const size_t most = family == AF_INET ? 65535 - 20 : 65535;
    struct made made = make_packet(family, IPPROTO_UDP, most - 8, 0, 0);

    start();
    for (size_t from = 0; from < most; from += 1448) {
        const int last = from + 1448 >= most;

        CHECK(give(&made, 1, from, last ? most - from : 1448, !last, 0) ==
              (last ? WSE_REASSEMBLY_DONE : WSE_REASSEMBLY_WAITS));
    }
    right(&made);
    free(made.frame);
}

/* Data must not lie beyond the largest packet, whatever offset and length say. */
static void test_too_far(void)
{
    struct made made = make_packet(AF_INET, IPPROTO_UDP, 1400, 0, 0);
    struct wse_packet packet;

    start();
    /* By one byte. */
    for (int six = 0; six < 2; six++) {
        static const uint8_t data[16];
        const uint32_t most = six ? 65535 : 65535 - 20, from = most / 8 * 8, length = most - from;
        uint8_t bytes[48 + 16] = {six ? 0x60 : 0x45};

        for (uint32_t more = 0; more < 2; more++) {
            const uint32_t size = length + more;
            const size_t header = six ? 48 : 20;

            if (six) {
                wse_put16(bytes + 4, (uint16_t)(8 + size));
                bytes[6] = IPPROTO_FRAGMENT;
                bytes[40] = IPPROTO_UDP;
                wse_put16(bytes + 42, (uint16_t)from);
                bytes[47] = (uint8_t)more;
            } else {
                wse_put16(bytes + 2, (uint16_t)(20 + size));
                wse_put16(bytes + 4, (uint16_t)more);
                wse_put16(bytes + 6, (uint16_t)(from / 8));
                bytes[9] = IPPROTO_UDP;
            }
            memcpy(bytes + header, data, size);
            CHECK(wse_packet_parse(&packet, bytes, header + size) == WSE_FINE && packet.fragment);
            CHECK(wse_reassembly_add(reassembly, &packet, 0, &whole) ==
                  (more ? WSE_REASSEMBLY_DROPPED : WSE_REASSEMBLY_WAITS));
        }
    }
    CHECK(wse_reassembly_expire(reassembly, UINT64_MAX) == 2);
    wse_put16(made.frame + made.ip + 6, 0x1fff);
    CHECK(wse_packet_parse(&packet, made.frame + made.ip, made.length - made.ip) == WSE_FINE && packet.fragment);
    CHECK(wse_reassembly_add(reassembly, &packet, 0, &whole) == WSE_REASSEMBLY_DROPPED);
    CHECK(wse_reassembly_expire(reassembly, UINT64_MAX) == 0); /* nothing was kept */
    free(made.frame);
}

static void test_overlaps(int family)
{
    struct made made = make_packet(family, IPPROTO_UDP, 4000, 0, 0);

    start();
    /* The same again is none. */
    CHECK(give(&made, 1, 0, 1000, 1, 0) == WSE_REASSEMBLY_WAITS);
    CHECK(give(&made, 1, 0, 1000, 1, 0) == WSE_REASSEMBLY_WAITS);
    CHECK(give(&made, 1, 1000, 1000, 1, 0) == WSE_REASSEMBLY_WAITS);
    /* One unit of it: all goes, and the rest is not taken for a new one. */
    CHECK(give(&made, 1, 1992, 1000, 1, 0) == WSE_REASSEMBLY_DROPPED);
    CHECK(wse_reassembly_lost(reassembly) == 1);
    CHECK(give(&made, 1, 2000, 2008, 0, 0) == WSE_REASSEMBLY_DROPPED);
    CHECK(give(&made, 1, 0, 2000, 1, 0) == WSE_REASSEMBLY_DROPPED);
    /* Other bytes at the same place. */
    CHECK(give(&made, 2, 0, 1000, 1, 0) == WSE_REASSEMBLY_WAITS);
    made.frame[made.transport + 500] ^= 1;
    CHECK(give(&made, 2, 0, 1000, 1, 0) == WSE_REASSEMBLY_DROPPED);
    made.frame[made.transport + 500] ^= 1;
    /* Two ends; data behind the end; an end before data. */
    CHECK(give(&made, 3, 3000, 1008, 0, 0) == WSE_REASSEMBLY_WAITS);
    CHECK(give(&made, 3, 2000, 1000, 0, 0) == WSE_REASSEMBLY_DROPPED);
    CHECK(give(&made, 3, 0, 1000, 1, 0) == WSE_REASSEMBLY_DROPPED);
    CHECK(give(&made, 4, 1000, 1000, 0, 0) == WSE_REASSEMBLY_WAITS);
    CHECK(give(&made, 4, 2000, 1000, 1, 0) == WSE_REASSEMBLY_DROPPED);
    CHECK(give(&made, 4, 0, 1000, 1, 0) == WSE_REASSEMBLY_DROPPED);
    CHECK(give(&made, 5, 2000, 1000, 1, 0) == WSE_REASSEMBLY_WAITS);
    CHECK(give(&made, 5, 1000, 504, 0, 0) == WSE_REASSEMBLY_DROPPED);
    CHECK(give(&made, 5, 0, 1000, 1, 0) == WSE_REASSEMBLY_DROPPED);
    /* A piece in the middle that ends within a unit; an empty one. */
    CHECK(give(&made, 6, 0, 1001, 1, 0) == WSE_REASSEMBLY_DROPPED);
    CHECK(give(&made, 6, 1000, 0, 0, 0) == WSE_REASSEMBLY_DROPPED);
    CHECK(wse_reassembly_lost(reassembly) == 5);
    free(made.frame);
}

/* Bytes of an earlier datagram are still in memory: they are not what makes an overlap "the same again". */
static void test_remains(void)
{
    struct made made = make_packet(AF_INET, IPPROTO_UDP, 1992, 0, 0);

    start();
    CHECK(give(&made, 1, 0, 1000, 1, 0) == WSE_REASSEMBLY_WAITS);
    CHECK(give(&made, 1, 1000, 1000, 0, 0) == WSE_REASSEMBLY_DONE);
    CHECK(give(&made, 2, 0, 1000, 1, 0) == WSE_REASSEMBLY_WAITS);
    CHECK(give(&made, 2, 992, 504, 1, 0) == WSE_REASSEMBLY_DROPPED);
    free(made.frame);
}

static void test_many_pieces(void)
{
    struct made made = make_packet(AF_INET, IPPROTO_UDP, 30000, 0, 0);

    start();
    for (size_t i = 0; i < WSE_REASSEMBLE_FRAGMENTS; i++)
        CHECK(give(&made, 1, 8 * i, 8, 1, 0) == WSE_REASSEMBLY_WAITS);
    CHECK(give(&made, 1, 8 * WSE_REASSEMBLE_FRAGMENTS, 8, 1, 0) == WSE_REASSEMBLY_DROPPED);
    CHECK(wse_reassembly_lost(reassembly) == 1);
    free(made.frame);
}

static void test_time_and_room(void)
{
    const uint64_t limit = WSE_REASSEMBLE_SECONDS * 1000;
    struct made made = make_packet(AF_INET, IPPROTO_UDP, 1992, 0, 0);

    start();
    for (uint32_t id = 0; id < DATAGRAMS; id++)
        CHECK(give(&made, id, 0, 1000, 1, id) == WSE_REASSEMBLY_WAITS);
    /* A fifth: the oldest makes room. */
    CHECK(give(&made, 99, 0, 1000, 1, 100) == WSE_REASSEMBLY_WAITS && wse_reassembly_lost(reassembly) == 1);
    CHECK(give(&made, 3, 1000, 1000, 0, 101) == WSE_REASSEMBLY_DONE);
    right(&made);
    /* Time: ids 1 and 2 are over theirs, 99 is not. */
    CHECK(wse_reassembly_expire(reassembly, limit + 3) == 2 && wse_reassembly_lost(reassembly) == 3);
    CHECK(give(&made, 2, 1000, 1000, 0, limit + 3) == WSE_REASSEMBLY_WAITS);
    CHECK(give(&made, 99, 1000, 1000, 0, limit + 3) == WSE_REASSEMBLY_DONE);
    /* What is over its time is not completed. */
    CHECK(give(&made, 2, 0, 1000, 1, 2 * limit + 3) == WSE_REASSEMBLY_WAITS);

    /* What is dead makes room before what is older. */
    start();
    for (uint32_t id = 0; id < DATAGRAMS; id++)
        CHECK(give(&made, id, 0, 1000, 1, id) == WSE_REASSEMBLY_WAITS);
    CHECK(give(&made, 2, 992, 504, 1, 9) == WSE_REASSEMBLY_DROPPED);
    CHECK(give(&made, 99, 0, 1000, 1, 10) == WSE_REASSEMBLY_WAITS && wse_reassembly_lost(reassembly) == 1);
    CHECK(give(&made, 0, 1000, 1000, 0, 11) == WSE_REASSEMBLY_DONE);
    free(made.frame);
}

/* Not one of these makes a datagram of two. */
static void test_names(void)
{
    struct made made = make_packet(AF_INET, IPPROTO_UDP, 1992, 0, 0);

    for (int what = 0; what < 4; what++) {
        struct made other = make_packet(AF_INET, IPPROTO_UDP, 1992, 0, 0);

        other.frame[other.ip + (what == 0 ? 9 : what == 1 ? 15 : 19)] ^= 1;
        start();
        CHECK(give(&made, 1, 0, 1000, 1, 0) == WSE_REASSEMBLY_WAITS);
        CHECK(give(what == 3 ? &made : &other, what == 3 ? 2 : 1, 1000, 1000, 0, 0) == WSE_REASSEMBLY_WAITS);
        CHECK(give(&made, 1, 1000, 1000, 0, 0) == WSE_REASSEMBLY_DONE);
        right(&made);
        free(other.frame);
    }
    free(made.frame);
}

/* An IPv6 packet that is one fragment alone (RFC 6946). */
static void test_atomic(void)
{
    struct made made = make_packet(AF_INET6, IPPROTO_UDP, 100, 0, 0);

    start();
    CHECK(give(&made, 7, 0, 108, 0, 0) == WSE_REASSEMBLY_DONE);
    right(&made);
    free(made.frame);
}

/* Together they are no packet that is carried: a TCP header that says more than there is. */
static void test_bad_whole(void)
{
    struct made made = make_packet(AF_INET, IPPROTO_TCP, 4, 0, 0);

    start();
    made.frame[made.transport + 12] = 0xf0;
    CHECK(give(&made, 1, 0, 24, 1, 0) == WSE_REASSEMBLY_WAITS);
    CHECK(give(&made, 1, 24, 12, 0, 0) == WSE_REASSEMBLY_DROPPED && wse_reassembly_lost(reassembly) == 1);
    free(made.frame);
}

int main(void)
{
    CHECK(!wse_reassembly_bytes(0) && !wse_reassembly_bytes(1025) && wse_reassembly_bytes(1024) < 80u << 20);
    test_orders(AF_INET);
    test_orders(AF_INET6);
    test_largest(AF_INET);
    test_largest(AF_INET6);
    test_too_far();
    test_overlaps(AF_INET);
    test_overlaps(AF_INET6);
    test_remains();
    test_many_pieces();
    test_time_and_room();
    test_names();
    test_atomic();
    test_bad_whole();
    free(memory);
    return 0;
}
