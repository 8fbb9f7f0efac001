/* SPDX-License-Identifier: Apache-2.0 */
/* Compiled with: esp.c replay.c log.c crypto*.c; runs 100000 */
/*
 * Packets for one inbound SA: of any bytes, or sealed under its key with any text and trailer, or sealed and then
 * damaged. What comes of each is compared with a model, which keeps all numbers that were accepted in a list.
 *
 * The input: a byte that chooses the implementation, the algorithm and ESN, one that chooses the window, and steps of
 * a byte that says what it is, and of what it needs.
 */
#include "esp.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "../c/keys.h"

enum { IMPLEMENTATIONS = 2, ALGORITHMS = 3, STEPS_MAX = 64, TEXT_MAX = 255 };

static struct keys {
    struct wse_key *seals;
    struct wse_key *opens;
} keys[IMPLEMENTATIONS][ALGORITHMS];

static const uint32_t WINDOWS[] = {64, 65, 96, 1000, 1024, 65535, 65536};
enum { SIZES = sizeof WINDOWS / sizeof *WINDOWS };
static struct wse_replay *replays[SIZES];

struct input {
    const uint8_t *at;
    size_t left;
};

static uint64_t number(struct input *input, size_t bytes)
{
    uint64_t value = 0;

    while (bytes--) {
        value = value << 8 | (input->left ? *input->at : 0);
        if (input->left) {
            input->at++;
            input->left--;
        }
    }
    return value;
}

static const uint8_t *bytes(struct input *input, size_t *length)
{
    const uint8_t *at = input->at;

    if (*length > input->left)
        *length = input->left;
    input->at += *length;
    input->left -= *length;
    return at;
}

struct model {
    uint64_t accepted[STEPS_MAX];
    size_t count;
    uint64_t top;
    uint32_t window;
    bool esn;
};

/* The one number with this lower half among the 2**32 that begin with the window's left edge; 0: there is none. */
static uint64_t inferred(const struct model *model, uint32_t low)
{
    const uint64_t left = model->top >= model->window - 1 ? model->top - model->window + 1 : 0;
    const uint64_t found = left + (uint32_t)(low - (uint32_t)left);

    return found < left ? 0 : found;
}

static bool is_new(const struct model *model, uint64_t sequence)
{
    if (!sequence || (sequence <= model->top && model->top - sequence >= model->window))
        return false;
    for (size_t i = 0; i < model->count; i++)
        if (model->accepted[i] == sequence)
            return false;
    return true;
}

/* Section 2.4 to 2.6 of RFC 4303, read forwards. */
static enum wse_esp_result told_by(const uint8_t *text, size_t length, size_t *payload)
{
    const size_t padding = text[length - 2];

    if (text[length - 1] == 59)
        return WSE_ESP_EMPTY;
    if (padding + 2 > length)
        return WSE_ESP_MALFORMED;
    *payload = length - 2 - padding;
    for (size_t i = *payload, value = 1; i < length - 2; i++, value++)
        if (text[i] != value)
            return WSE_ESP_MALFORMED;
    return WSE_ESP_OK;
}

static enum wse_esp_result open_copy(const struct keys *pair, struct wse_replay *replay, bool esn, const uint8_t *from,
                                     size_t size, uint8_t **packet, struct wse_esp_opened *opened)
{
    *packet = malloc(size ? size : 1); /* not a byte more */
    CHECK(*packet);
    memcpy(*packet, from, size);
    return wse_esp_open(pair->opens, 0, replay, esn, *packet, size, opened);
}

/* What is not of the key's owner is never accepted, and changes nothing. */
static void step_forged(const struct keys *pair, struct wse_replay *replay, const struct model *model,
                        const uint8_t *from, size_t size)
{
    const bool whole = size >= WSE_ESP_MIN && size % 4 == 0;
    struct wse_esp_opened opened;
    uint8_t *packet;
    const enum wse_esp_result result = open_copy(pair, replay, model->esn, from, size, &packet, &opened);

    CHECK(!opened.payload && wse_replay_top(replay) == model->top);
    if (!whole) {
        CHECK(result == WSE_ESP_MALFORMED);
    } else {
        const uint32_t low = (uint32_t)from[4] << 24 | (uint32_t)from[5] << 16 | (uint32_t)from[6] << 8 | from[7];
        const uint64_t sequence = model->esn ? inferred(model, low) : low;

        CHECK(result == (is_new(model, sequence) ? WSE_ESP_FORGED : WSE_ESP_REPLAYED));
    }
    free(packet);
}

static void step_sealed(const struct keys *pair, struct wse_replay *replay, struct model *model, struct input *input,
                        bool damaged)
{
    const uint64_t base = number(input, 1) & 1 ? model->top : 0;
    const uint64_t wide = base + (uint64_t)((int64_t)(number(input, 8) << 8) >> (8 * (number(input, 1) & 7)));
    const uint64_t sequence = model->esn ? wide : (uint32_t)wide;
    size_t length = number(input, 1) / 4 * 4 + 4;
    const size_t known = length;
    uint8_t packet[WSE_ESP_HEAD + TEXT_MAX + 1 + 4 + WSE_TAG_SIZE] = {0};
    uint8_t text[TEXT_MAX + 1 + 4] = {0};
    uint8_t aad[12];
    size_t payload = 0;
    size_t size;

    memcpy(text, bytes(input, &length), length);
    length = known; /* what the input has not is zero */
    size = WSE_ESP_HEAD + length + WSE_TAG_SIZE;
    for (size_t i = 0; i < 8; i++)
        packet[8 + i] = (uint8_t)(sequence >> (56 - 8 * i));
    memcpy(packet, "SPI.", 4);
    memcpy(packet + 4, packet + 12, 4);
    memcpy(aad, packet, 4);
    memcpy(aad + 4, model->esn ? packet + 8 : packet + 4, model->esn ? 8 : 4);
    memcpy(packet + WSE_ESP_HEAD, text, length);
    CHECK(!wse_seal(pair->seals, 0, packet + 8, aad, model->esn ? 12 : 8, packet + WSE_ESP_HEAD, length,
                    packet + WSE_ESP_HEAD + length));
    if (damaged) {
        const size_t bit = number(input, 2) % (8 * size);

        packet[bit / 8] ^= (uint8_t)(1 << bit % 8);
        step_forged(pair, replay, model, packet, size);
        return;
    }
    {
        const uint64_t taken_for = model->esn ? inferred(model, (uint32_t)sequence) : sequence;
        const enum wse_esp_result content = told_by(text, length, &payload);
        struct wse_esp_opened opened;
        uint8_t *copy;
        const enum wse_esp_result result = open_copy(pair, replay, model->esn, packet, size, &copy, &opened);

        if (!is_new(model, taken_for)) {
            CHECK(result == WSE_ESP_REPLAYED);
        } else if (taken_for != sequence) {
            CHECK(result == WSE_ESP_FORGED);
        } else {
            CHECK(result == content && opened.sequence == sequence);
            model->accepted[model->count++] = sequence;
            if (sequence > model->top)
                model->top = sequence;
        }
        CHECK(wse_replay_top(replay) == model->top);
        if (result == WSE_ESP_OK)
            CHECK(opened.payload == copy + WSE_ESP_HEAD && opened.length == payload &&
                  opened.next_header == text[length - 1] && !memcmp(opened.payload, text, length));
        else
            CHECK(!opened.payload);
        free(copy);
    }
}

int LLVMFuzzerInitialize(int *count, char ***arguments);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerInitialize(int *count, char ***arguments)
{
    const uint8_t material[36] = {1, 2, 3, 4, 5, 6, 7, 8};

    (void)count;
    (void)arguments;
    for (size_t i = 0; i < IMPLEMENTATIONS; i++) {
        const struct wse_crypto *crypto = wse_crypto_at(i) ? wse_crypto_at(i) : wse_crypto_at(0);

        for (size_t j = 0; j < ALGORITHMS; j++) {
            const enum wse_algorithm algorithm = (enum wse_algorithm)(WSE_AES_128_GCM + j);

            keys[i][j].seals = key_of(crypto, 1, algorithm, WSE_OUTBOUND, material);
            keys[i][j].opens = key_of(crypto, 1, algorithm, WSE_INBOUND, material);
        }
    }
    for (size_t i = 0; i < SIZES; i++) {
        replays[i] = aligned_alloc(64, wse_replay_size(WINDOWS[i]));
        CHECK(replays[i]);
    }
    return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct input input = {data, size};
    const uint64_t first = number(&input, 1);
    const struct keys *pair = &keys[first % IMPLEMENTATIONS][first / 2 % ALGORITHMS];
    const size_t size_index = number(&input, 1) % SIZES;
    struct model model = {.window = WINDOWS[size_index], .esn = first / 2 / ALGORITHMS % 2};
    struct wse_replay *replay = replays[size_index];

    CHECK(!wse_replay_init(replay, model.window));
    for (size_t step = 0; step < STEPS_MAX && input.left; step++) {
        const uint64_t kind = number(&input, 1) % 4;

        if (kind) {
            step_sealed(pair, replay, &model, &input, kind == 3);
        } else {
            size_t length = number(&input, 1);
            const uint8_t *raw = bytes(&input, &length);

            step_forged(pair, replay, &model, raw, length);
        }
    }
    return 0;
}
