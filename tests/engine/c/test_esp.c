/* SPDX-License-Identifier: Apache-2.0 */
/* Compiled with threads: esp.c replay.c log.c crypto*.c */
#include "esp.h"

#include <pthread.h>

#include "crypto_implementation.h"
#include "keys.h"
#include "octets.h"

enum { SPI = 0x01020304, UDP = 17 };

static const enum wse_algorithm ALGORITHMS[] = {WSE_AES_128_GCM, WSE_AES_256_GCM, WSE_CHACHA20_POLY1305};

/* Both ends of an SA. */
struct ends {
    const struct wse_crypto *crypto;
    struct wse_key *seals;
    struct wse_key *opens;
    struct wse_replay *replay;
    bool esn;
};

enum { THREADS = 4 };

static struct wse_replay *new_replay(uint32_t window)
{
    struct wse_replay *replay = aligned_alloc(64, wse_replay_size(window));

    CHECK(replay && !wse_replay_init(replay, window));
    return replay;
}

static struct ends ends_of(const struct wse_crypto *crypto, enum wse_algorithm algorithm, bool esn)
{
    uint8_t material[36];
    uint64_t state = 4711;

    for (size_t i = 0; i < sizeof material; i++)
        material[i] = (uint8_t)(drawn(&state) >> 56);
    return (struct ends){.crypto = crypto,
                         .seals = key_of(crypto, THREADS, algorithm, WSE_OUTBOUND, material),
                         .opens = key_of(crypto, THREADS, algorithm, WSE_INBOUND, material),
                         .replay = new_replay(64),
                         .esn = esn};
}

static void drop(struct ends *ends)
{
    drop_key(ends->crypto, THREADS, ends->seals);
    drop_key(ends->crypto, THREADS, ends->opens);
    free(ends->replay);
}

/* A packet in a piece of memory that has not a byte more than it may take. */
static uint8_t *sealed(const struct ends *ends, uint64_t sequence, size_t payload, uint8_t next_header, size_t *size)
{
    uint8_t *packet = malloc(WSE_ESP_HEAD + payload + WSE_ESP_TAIL_MAX);
    uint8_t *kept;

    CHECK(packet);
    for (size_t i = 0; i < payload; i++)
        packet[WSE_ESP_HEAD + i] = (uint8_t)(3 * i + sequence);
    *size = wse_esp_seal(ends->seals, 0, SPI, sequence, ends->esn, packet, payload, next_header);
    CHECK(*size == wse_esp_size(payload) && *size <= WSE_ESP_HEAD + payload + WSE_ESP_TAIL_MAX);
    kept = malloc(*size);
    CHECK(kept);
    memcpy(kept, packet, *size);
    free(packet);
    return kept;
}

static enum wse_esp_result open_with(const struct ends *ends, uint8_t *packet, size_t size,
                                     struct wse_esp_opened *opened)
{
    const enum wse_esp_result result = wse_esp_open(ends->opens, 1, ends->replay, ends->esn, packet, size, opened);

    CHECK((result == WSE_ESP_OK) == (opened->payload != NULL));
    CHECK(result == WSE_ESP_OK || opened->length == 0);
    return result;
}

/* Nothing of the text is left. */
static void check_wiped(const uint8_t *packet, size_t size)
{
    for (size_t i = WSE_ESP_HEAD; i < size - WSE_TAG_SIZE; i++)
        CHECK(!packet[i]);
}

static void test_sizes(void)
{
    CHECK(wse_esp_size(0) == WSE_ESP_MIN && wse_esp_size(2) == WSE_ESP_MIN && wse_esp_size(3) == WSE_ESP_MIN + 4);
    for (size_t payload = 0; payload < 10000; payload++) {
        const size_t size = wse_esp_size(payload);

        CHECK(size % 4 == 0 && size >= payload + 16 + 2 + 16 && size <= payload + 16 + WSE_ESP_TAIL_MAX);
    }
}

static void test_layout(const struct ends *ends)
{
    const uint64_t sequence = UINT64_C(0x0102030405060708);
    const uint8_t header[] = {1, 2, 3, 4, 5, 6, 7, 8, 1, 2, 3, 4, 5, 6, 7, 8};
    size_t size;
    uint8_t *packet = sealed(ends, sequence, 9, UDP, &size);

    /* The text under the header, with the AAD made by hand. */
    const uint8_t aad[] = {1, 2, 3, 4, 1, 2, 3, 4, 5, 6, 7, 8};
    const uint8_t tail[] = {1, 1, UDP};
    const uint8_t short_aad[] = {1, 2, 3, 4, 5, 6, 7, 8};

    CHECK(size == 16 + 12 + 16 && !memcmp(packet, header, sizeof header));
    CHECK(!wse_open(ends->opens, 2, packet + 8, ends->esn ? aad : short_aad, ends->esn ? 12 : 8, packet + 16, 12,
                    packet + 28));
    for (size_t i = 0; i < 9; i++)
        CHECK(packet[16 + i] == (uint8_t)(3 * i + sequence));
    CHECK(!memcmp(packet + 25, tail, sizeof tail));
    CHECK(wse_esp_spi(packet) == SPI);
    free(packet);
}

static void test_there_and_back(struct ends *ends)
{
    for (size_t payload = 0; payload <= 1500; payload += payload < 300 ? 1 : 97) {
        const uint64_t sequence = payload + 1;
        struct wse_esp_opened opened;
        size_t size;
        uint8_t *packet = sealed(ends, sequence, payload, UDP, &size);

        CHECK(open_with(ends, packet, size, &opened) == WSE_ESP_OK);
        CHECK(opened.payload == packet + WSE_ESP_HEAD && opened.length == payload && opened.next_header == UDP);
        CHECK(opened.sequence == sequence && wse_replay_top(ends->replay) == sequence);
        for (size_t i = 0; i < payload; i++)
            CHECK(opened.payload[i] == (uint8_t)(3 * i + sequence));
        free(packet);

        /* Again; also if it is forged. It is refused before it costs anything: not decrypted. */
        packet = sealed(ends, sequence, payload, UDP, &size);
        for (int forged = 0; forged < 2; forged++) {
            uint8_t *copy = malloc(size);

            CHECK(copy);
            packet[size - 1] ^= (uint8_t)forged;
            memcpy(copy, packet, size);
            CHECK(open_with(ends, packet, size, &opened) == WSE_ESP_REPLAYED && opened.sequence == sequence);
            CHECK(!memcmp(copy, packet, size));
            free(copy);
        }
        free(packet);
    }
}

/* Each bit counts, and what is forged leaves the window as it was. */
static void test_forged(struct ends *ends)
{
    const uint64_t top = wse_replay_top(ends->replay);
    struct wse_esp_opened opened;
    size_t size;
    uint8_t *packet = sealed(ends, top + 5, 21, UDP, &size);
    uint8_t *copy = malloc(size);

    CHECK(copy);
    for (size_t bit = 0; bit < 8 * size; bit++) {
        enum wse_esp_result result;

        memcpy(copy, packet, size);
        copy[bit / 8] ^= (uint8_t)(1 << bit % 8);
        result = open_with(ends, copy, size, &opened);
        CHECK(result == WSE_ESP_FORGED || (result == WSE_ESP_REPLAYED && bit / 32 == 1));
        if (result == WSE_ESP_FORGED)
            check_wiped(copy, size);
        CHECK(wse_replay_top(ends->replay) == top);
    }
    free(copy);

    /* Cut at every length, in memory that ends there. */
    for (size_t length = 0; length < size; length++) {
        copy = malloc(length ? length : 1);
        CHECK(copy);
        memcpy(copy, packet, length);
        CHECK(open_with(ends, copy, length, &opened) ==
              (length < WSE_ESP_MIN || length % 4 ? WSE_ESP_MALFORMED : WSE_ESP_FORGED));
        free(copy);
    }
    CHECK(open_with(ends, packet, size, &opened) == WSE_ESP_OK && opened.sequence == top + 5);
    free(packet);
}

/* Authentic packets whose trailer is wrong, and dummy packets: their numbers are used up, and nothing is delivered. */
static void test_trailers(struct ends *ends)
{
    static const struct {
        uint8_t text[12];
        size_t length;
        enum wse_esp_result result;
    } CASES[] = {
        {{9, 1, 2, 3, 4, 5, 5, UDP}, 8, WSE_ESP_OK},
        {{1, 2, 3, 4, 5, 6, 6, UDP}, 8, WSE_ESP_OK}, /* no payload at all; more padding than is needed */
        {{9, 9, 3, UDP}, 4, WSE_ESP_MALFORMED},      /* more padding than there is text */
        {{1, 2, 3, 4, 5, 6, 7, UDP}, 8, WSE_ESP_MALFORMED},
        {{1, 2, 3, 4, 5, 6, 255, UDP}, 8, WSE_ESP_MALFORMED},
        {{9, 9, 9, 9, 1, 3, 2, UDP}, 8, WSE_ESP_MALFORMED},
        {{9, 9, 9, 9, 0, 0, 2, UDP}, 8, WSE_ESP_MALFORMED},
        {{9, 9, 9, 9, 0, 2, 2, UDP}, 8, WSE_ESP_MALFORMED},
        {{9, 9, 9, 9, 9, 9, 9, 9, 0, 2, 2, WSE_ESP_DUMMY}, 12, WSE_ESP_EMPTY},
        {{9, 9, 9, 9, 9, 9, 0, WSE_ESP_DUMMY}, 8, WSE_ESP_EMPTY},
    };

    for (size_t i = 0; i < sizeof CASES / sizeof *CASES; i++) {
        const uint64_t sequence = wse_replay_top(ends->replay) + 1;
        const uint8_t *text = CASES[i].text;
        uint8_t packet[16 + 12 + 16];
        uint8_t aad[12] = {1, 2, 3, 4};
        const size_t length = CASES[i].length;
        struct wse_esp_opened opened;
        size_t size;
        uint8_t *whole = sealed(ends, sequence, length - 2, UDP, &size); /* for its header */

        memcpy(packet, whole, WSE_ESP_HEAD);
        memcpy(packet + WSE_ESP_HEAD, text, length);
        memcpy(aad + 4, ends->esn ? packet + 8 : packet + 4, ends->esn ? 8 : 4);
        CHECK(!wse_seal(ends->seals, 0, packet + 8, aad, ends->esn ? 12 : 8, packet + WSE_ESP_HEAD, length,
                        packet + WSE_ESP_HEAD + length));
        CHECK(size == WSE_ESP_HEAD + length + WSE_TAG_SIZE);
        CHECK(open_with(ends, packet, size, &opened) == CASES[i].result);
        CHECK(wse_replay_top(ends->replay) == sequence);
        if (CASES[i].result == WSE_ESP_OK)
            CHECK(opened.length == length - 2 - text[length - 2]);
        else
            check_wiped(packet, size);
        free(whole);
    }
}

/*
 * A sender's numbers over the end of the lower half: extended ones go on, each with a nonce of its own, and the receiver
 * follows; the others end with the last one, and never begin anew. So do extended ones at the end of all.
 */
static void test_sender(struct ends *ends)
{
    const uint64_t half = UINT64_C(1) << 32, most = ends->esn ? UINT64_MAX : UINT32_MAX;
    struct wse_sequence sequence = {.last = half - 4};
    struct wse_esp_opened opened;
    uint64_t first, number;
    uint32_t count;

    free(ends->replay);
    ends->replay = new_replay(64);
    CHECK(wse_replay_update(ends->replay, half - 4));
    first = wse_sequence_take(&sequence, 6, ends->esn);
    CHECK(first == (ends->esn ? half - 3 : 0));
    count = ends->esn ? 6 : 3;
    if (!first)
        first = wse_sequence_take(&sequence, 3, false); /* none was taken */
    CHECK(first == half - 3);
    for (number = first; number < first + count; number++) {
        size_t size;
        uint8_t *packet = sealed(ends, number, 100, UDP, &size);

        /* The lower half in the header, the whole of it as the IV. */
        CHECK(wse_get32(packet + 4) == (uint32_t)number);
        CHECK(wse_get32(packet + 8) == (uint32_t)(number >> 32) && wse_get32(packet + 12) == (uint32_t)number);
        CHECK(open_with(ends, packet, size, &opened) == WSE_ESP_OK && opened.sequence == number);
        free(packet);
    }
    CHECK(wse_replay_top(ends->replay) == number - 1);
    CHECK(wse_sequence_take(&sequence, 1, ends->esn) == (ends->esn ? half + 3 : 0));

    sequence.last = most - 2;
    CHECK(wse_sequence_take(&sequence, 3, ends->esn) == 0 && wse_sequence_take(&sequence, 0, ends->esn) == 0);
    CHECK(wse_sequence_take(&sequence, UINT32_MAX, ends->esn) == 0);
    CHECK(wse_sequence_take(&sequence, 2, ends->esn) == most - 1);
    for (int i = 0; i < 3; i++)
        CHECK(wse_sequence_take(&sequence, 1, ends->esn) == 0 && sequence.last == most);
}

/* Over the end of the lower half of the number: with extended numbers it goes on, the others are at their end. */
static void test_extended(struct ends *ends)
{
    static const int64_t STEPS[] = {-3, 2, -1, 0, 60, 1, -2, 61, 61, 4294967200, 0};
    const uint64_t half = UINT64_C(1) << 32;
    struct wse_esp_opened opened;

    if (!ends->esn)
        return;
    free(ends->replay);
    ends->replay = new_replay(64);
    CHECK(wse_replay_update(ends->replay, half - 4));
    for (size_t i = 0; i < sizeof STEPS / sizeof *STEPS; i++) {
        const uint64_t number = half + (uint64_t)STEPS[i];
        const bool twice = i == 8 || i == 10;
        size_t size;
        uint8_t *packet = sealed(ends, number, 100, UDP, &size);

        CHECK(open_with(ends, packet, size, &opened) ==
              (i == 8 ? WSE_ESP_REPLAYED : i == 10 ? WSE_ESP_FORGED : WSE_ESP_OK));
        if (!twice)
            CHECK(opened.sequence == number);
        free(packet);
    }
    /* What was sent a half-space too early is no packet of this one. */
    {
        size_t size;
        uint8_t *packet = sealed(ends, 3 * half, 100, UDP, &size);

        CHECK(open_with(ends, packet, size, &opened) == WSE_ESP_FORGED);
        free(packet);
    }
}

/* RFC 7634 appendix A: a packet as another made it. */
static void test_rfc7634(const struct wse_crypto *crypto)
{
    uint8_t material[36];
    uint8_t packet[] = {
        0x01, 0x02, 0x03, 0x04, 0x00, 0x00, 0x00, 0x05, 0x10, 0x11, 0x12, 0x13, 0x14, 0x15, 0x16, 0x17,
        0x24, 0x03, 0x94, 0x28, 0xb9, 0x7f, 0x41, 0x7e, 0x3c, 0x13, 0x75, 0x3a, 0x4f, 0x05, 0x08, 0x7b,
        0x67, 0xc3, 0x52, 0xe6, 0xa7, 0xfa, 0xb1, 0xb9, 0x82, 0xd4, 0x66, 0xef, 0x40, 0x7a, 0xe5, 0xc6,
        0x14, 0xee, 0x80, 0x99, 0xd5, 0x28, 0x44, 0xeb, 0x61, 0xaa, 0x95, 0xdf, 0xab, 0x4c, 0x02, 0xf7,
        0x2a, 0xa7, 0x1e, 0x7c, 0x4c, 0x4f, 0x64, 0xc9, 0xbe, 0xfe, 0x2f, 0xac, 0xc6, 0x38, 0xe8, 0xf3,
        0xcb, 0xec, 0x16, 0x3f, 0xac, 0x46, 0x9b, 0x50, 0x27, 0x73, 0xf6, 0xfb, 0x94, 0xe6, 0x64, 0xda,
        0x91, 0x65, 0xb8, 0x28, 0x29, 0xf6, 0x41, 0xe0, 0x76, 0xaa, 0xa8, 0x26, 0x6b, 0x7f, 0xb0, 0xf7,
        0xb1, 0x1b, 0x36, 0x99, 0x07, 0xe1, 0xad, 0x43};
    const uint8_t start[] = {0x45, 0x00, 0x00, 0x54, 0xa6, 0xf2};
    struct wse_esp_opened opened;
    struct ends ends = {.crypto = crypto, .replay = new_replay(64), .esn = false};

    for (size_t i = 0; i < 32; i++)
        material[i] = (uint8_t)(0x80 + i);
    for (size_t i = 0; i < 4; i++)
        material[32 + i] = (uint8_t)(0xa0 + i);
    ends.opens = key_of(crypto, THREADS, WSE_CHACHA20_POLY1305, WSE_INBOUND, material);
    CHECK(open_with(&ends, packet, sizeof packet, &opened) == WSE_ESP_OK);
    CHECK(opened.sequence == 5 && opened.next_header == 4 && opened.length == 84);
    CHECK(!memcmp(opened.payload, start, sizeof start) && opened.payload[83] == 0x37);
    drop_key(crypto, THREADS, ends.opens);
    free(ends.replay);
}

/* Another thread opens the same packet between this one's check and its update. */
static wse_open_function *true_open;
static struct wse_replay *other_replay;
static uint64_t other_sequence;

static int open_after_another(const struct wse_key *key, unsigned thread, const uint8_t *nonce, const uint8_t *aad,
                              size_t aad_length, uint8_t *text, size_t length, const uint8_t *tag)
{
    CHECK(wse_replay_update(other_replay, other_sequence));
    return true_open(key, thread, nonce, aad, aad_length, text, length, tag);
}

static void test_overtaken(struct ends *ends)
{
    struct wse_esp_opened opened;
    size_t size;
    uint8_t *packet;

    other_replay = ends->replay;
    other_sequence = wse_replay_top(ends->replay) + 1;
    packet = sealed(ends, other_sequence, 30, UDP, &size);
    true_open = ends->opens->open;
    ends->opens->open = open_after_another;
    CHECK(open_with(ends, packet, size, &opened) == WSE_ESP_REPLAYED);
    check_wiped(packet, size);
    ends->opens->open = true_open;
    free(packet);
}

/* Threads seal with numbers that they take from one counter, and open all: each packet is opened once. */
enum { PACKETS = 2000, PAYLOAD = 40 };

struct shared {
    struct ends ends;
    struct wse_sequence sequence;
    uint8_t packets[PACKETS + 1][WSE_ESP_HEAD + PAYLOAD + WSE_ESP_TAIL_MAX];
    _Atomic unsigned opened;
    pthread_barrier_t barrier;
};

struct part {
    struct shared *shared;
    unsigned thread;
};

static void *seal_and_open(void *argument)
{
    const struct part *part = argument;
    struct shared *shared = part->shared;
    const struct ends *ends = &shared->ends;
    uint64_t first;

    while ((first = wse_sequence_take(&shared->sequence, 4, false)) + 3 <= PACKETS && first)
        for (uint64_t sequence = first; sequence < first + 4; sequence++) {
            memset(shared->packets[sequence] + WSE_ESP_HEAD, (int)(sequence & 0xff), PAYLOAD);
            CHECK(wse_esp_seal(ends->seals, part->thread, SPI, sequence, ends->esn, shared->packets[sequence], PAYLOAD,
                               UDP) == wse_esp_size(PAYLOAD));
        }
    pthread_barrier_wait(&shared->barrier);
    for (size_t i = 1; i <= PACKETS; i++) {
        uint8_t packet[WSE_ESP_HEAD + PAYLOAD + WSE_ESP_TAIL_MAX];
        struct wse_esp_opened opened;

        memcpy(packet, shared->packets[i], sizeof packet);
        if (wse_esp_open(ends->opens, part->thread, ends->replay, ends->esn, packet, wse_esp_size(PAYLOAD), &opened) ==
            WSE_ESP_OK) {
            CHECK(opened.sequence == i && opened.length == PAYLOAD && opened.payload[0] == (uint8_t)i);
            atomic_fetch_add(&shared->opened, 1);
        }
    }
    return NULL;
}

static void test_many_threads(const struct wse_crypto *crypto, enum wse_algorithm algorithm)
{
    struct shared *shared = aligned_alloc(64, (sizeof *shared + 63) / 64 * 64);
    struct part parts[THREADS];
    pthread_t threads[THREADS];

    CHECK(shared);
    memset(shared, 0, sizeof *shared);
    shared->ends = ends_of(crypto, algorithm, false);
    free(shared->ends.replay);
    shared->ends.replay = new_replay(WSE_REPLAY_MAX);
    CHECK(!pthread_barrier_init(&shared->barrier, NULL, THREADS));
    for (unsigned i = 0; i < THREADS; i++) {
        parts[i] = (struct part){shared, i};
        CHECK(!pthread_create(&threads[i], NULL, seal_and_open, &parts[i]));
    }
    for (unsigned i = 0; i < THREADS; i++)
        CHECK(!pthread_join(threads[i], NULL));
    CHECK(atomic_load(&shared->opened) == PACKETS);
    CHECK(!pthread_barrier_destroy(&shared->barrier));
    drop(&shared->ends);
    free(shared);
}

int main(void)
{
    const struct wse_crypto *crypto;

    test_sizes();
    for (size_t i = 0; (crypto = wse_crypto_at(i)); i++) {
        test_rfc7634(crypto);
        for (size_t j = 0; j < sizeof ALGORITHMS / sizeof *ALGORITHMS; j++) {
            for (int esn = 0; esn < 2; esn++) {
                struct ends ends = ends_of(crypto, ALGORITHMS[j], esn);

                test_layout(&ends);
                test_there_and_back(&ends);
                test_forged(&ends);
                test_trailers(&ends);
                test_overtaken(&ends);
                test_sender(&ends);
                test_extended(&ends);
                drop(&ends);
            }
            test_many_threads(crypto, ALGORITHMS[j]);
        }
    }
    return 0;
}
