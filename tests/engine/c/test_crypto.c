/* SPDX-License-Identifier: Apache-2.0 */
/* Compiled with: crypto*.c log.c */
#include "crypto.h"

#include <errno.h>
#include <stdbool.h>
#include <string.h>

#include "check.h"
#include "crypto_implementation.h"
#include "keys.h"

static const enum wse_algorithm ALGORITHMS[] = {WSE_AES_128_GCM, WSE_AES_256_GCM, WSE_CHACHA20_POLY1305};

/* Where OpenSSL keeps keys, as it was told. */
static struct {
    const uint8_t *memory;
    size_t length;
} locked[64];
static size_t locked_count;

static int note_locked(void *memory, size_t length)
{
    if (locked_count < sizeof locked / sizeof *locked) {
        locked[locked_count].memory = memory;
        locked[locked_count].length = length;
    }
    locked_count++;
    return -1; /* not locked, and yet it goes on */
}

static int lock_nothing(void *memory, size_t length)
{
    (void)memory;
    (void)length;
    return 0;
}

static bool holds(const uint8_t *memory, size_t length, const uint8_t *part, size_t part_length)
{
    for (size_t i = 0; i + part_length <= length; i++)
        if (!memcmp(memory + i, part, part_length))
            return true;
    return false;
}

/* A key begins its own key schedule: it is found where memory was locked, once for each thread, and nowhere else. */
static void test_locked(const struct wse_crypto *crypto)
{
    enum { THREADS = 3 };
    uint8_t material[36];
    struct wse_key *key;
    size_t found = 0;

    for (size_t i = 0; i < sizeof material; i++)
        material[i] = (uint8_t)(0xa1 + 3 * i);
    locked_count = 0;
    key = key_of(crypto, THREADS, WSE_CHACHA20_POLY1305, WSE_OUTBOUND, material);
    if (!strcmp(crypto->name, "OpenSSL")) {
        CHECK(locked_count <= sizeof locked / sizeof *locked);
        for (size_t i = 0; i < locked_count; i++)
            found += holds(locked[i].memory, locked[i].length, material, 32);
        CHECK(found == THREADS && !holds((void *)key, key->size, material, 32));
    } else {
        CHECK(!locked_count && holds((void *)key, key->size, material, 32));
    }
    locked_count = 0;
    drop_key(crypto, THREADS, key);
    CHECK(!locked_count);
}

static void test_choice(void)
{
    const struct wse_crypto *first = wse_crypto_at(0);

    CHECK(first);
    CHECK(wse_crypto_choose(NULL) == first);
    CHECK(!wse_crypto_choose("none"));
    for (size_t i = 0; wse_crypto_at(i); i++) {
        CHECK(!wse_crypto_test(wse_crypto_at(i)));
        CHECK(strlen(wse_crypto_name(wse_crypto_at(i))) < 32);
        CHECK(wse_crypto_choose(wse_crypto_at(i)->name) == wse_crypto_at(i));
        printf("%s\n", wse_crypto_name(wse_crypto_at(i)));
    }
}

static void test_arguments(const struct wse_crypto *crypto)
{
    const uint8_t material[37] = {1};
    struct wse_key *key = aligned_alloc(WSE_KEY_ALIGNMENT, wse_key_size(crypto, 1));

    CHECK(key);
    CHECK(wse_algorithm_key_length(WSE_AES_128_GCM) == 20 && wse_algorithm_key_length(WSE_AES_256_GCM) == 36);
    CHECK(wse_algorithm_key_length(WSE_CHACHA20_POLY1305) == 36 && !wse_algorithm_key_length((enum wse_algorithm)0));
    for (size_t length = 0; length < sizeof material; length++)
        for (size_t i = 0; i < sizeof ALGORITHMS / sizeof *ALGORITHMS; i++)
            if (length != wse_algorithm_key_length(ALGORITHMS[i]))
                CHECK(wse_key_set(key, crypto, 1, ALGORITHMS[i], WSE_OUTBOUND, material, length) == -EINVAL);
    CHECK(wse_key_set(key, crypto, 1, (enum wse_algorithm)0, WSE_OUTBOUND, material, 36) == -EINVAL);
    CHECK(wse_key_set(key, crypto, 1, (enum wse_algorithm)4, WSE_OUTBOUND, material, 36) == -EINVAL);
    CHECK(wse_key_set(key, crypto, 1, (enum wse_algorithm)4, WSE_OUTBOUND, material, 0) == -EINVAL);
    CHECK(wse_key_set(key, crypto, 1, WSE_AES_256_GCM, (enum wse_direction)0, material, 36) == -EINVAL);
    CHECK(wse_key_set(key, crypto, 1, WSE_AES_256_GCM, (enum wse_direction)3, material, 36) == -EINVAL);
    CHECK(wse_key_set(key, crypto, 0, WSE_AES_256_GCM, WSE_OUTBOUND, material, 36) == -EINVAL);
    CHECK(wse_key_set(key, crypto, 257, WSE_AES_256_GCM, WSE_OUTBOUND, material, 36) == -EINVAL);
    free(key);
}

/* Each thread's part of a key gives the same, and one implementation opens what another sealed. */
static void test_threads_and_others(const struct wse_crypto *crypto, const struct wse_crypto *other,
                                    enum wse_algorithm algorithm)
{
    enum { THREADS = 3, LENGTH = 333 };
    uint8_t material[36];
    uint8_t sealed[THREADS][LENGTH];
    uint8_t tags[THREADS][WSE_TAG_SIZE];
    const uint8_t aad[12] = {1, 2, 3};
    const uint8_t iv[WSE_IV_SIZE] = {9};
    struct wse_key *seals;
    struct wse_key *opens;

    for (size_t i = 0; i < sizeof material; i++)
        material[i] = (uint8_t)(i * i);
    seals = key_of(crypto, THREADS, algorithm, WSE_OUTBOUND, material);
    opens = key_of(other, THREADS, algorithm, WSE_INBOUND, material);
    for (unsigned i = 0; i < THREADS; i++) {
        memset(sealed[i], 7, LENGTH);
        CHECK(!wse_seal(seals, i, iv, aad, sizeof aad, sealed[i], LENGTH, tags[i]));
        CHECK(!memcmp(sealed[i], sealed[0], LENGTH) && !memcmp(tags[i], tags[0], WSE_TAG_SIZE));
    }
    for (unsigned i = 0; i < THREADS; i++) {
        uint8_t forged[LENGTH];

        memcpy(forged, sealed[i], LENGTH);
        forged[LENGTH - 1] ^= 1;
        CHECK(wse_open(opens, i, iv, aad, sizeof aad, forged, LENGTH, tags[i]) == -EBADMSG);
        for (size_t j = 0; j < LENGTH; j++)
            CHECK(!forged[j]);
        CHECK(!wse_open(opens, i, iv, aad, sizeof aad, sealed[i], LENGTH, tags[i]));
        for (size_t j = 0; j < LENGTH; j++)
            CHECK(sealed[i][j] == 7);
    }
    drop_key(crypto, THREADS, seals);
    drop_key(other, THREADS, opens);
}

/* The known answers find an implementation that is wrong in one way. */
static int (*right_set)(struct wse_key *, const uint8_t *);
static wse_seal_function *right_seal;
static wse_open_function *right_open;
static int wrong_length;

static int seal_wrongly(const struct wse_key *key, unsigned thread, const uint8_t *nonce, const uint8_t *aad,
                        size_t aad_length, uint8_t *text, size_t length, uint8_t *tag)
{
    const int error = right_seal(key, thread, nonce, aad, aad_length, text, length, tag);

    if (length == (size_t)wrong_length)
        tag[0] ^= 0x80;
    return error;
}

static int open_wrongly(const struct wse_key *key, unsigned thread, const uint8_t *nonce, const uint8_t *aad,
                        size_t aad_length, uint8_t *text, size_t length, const uint8_t *tag)
{
    const int error = right_open(key, thread, nonce, aad, aad_length, text, length, tag);

    return error == -EBADMSG ? 0 : error;
}

static int set_wrongly(struct wse_key *key, const uint8_t *material)
{
    const int error = right_set(key, material);

    if (key->seal && wrong_length >= 0) {
        right_seal = key->seal;
        key->seal = seal_wrongly;
    }
    if (key->open && wrong_length < 0) {
        right_open = key->open;
        key->open = open_wrongly;
    }
    return error;
}

static int never_set(struct wse_key *key, const uint8_t *material)
{
    (void)key;
    (void)material;
    return -EIO;
}

static void test_wrong_answers(const struct wse_crypto *crypto)
{
    struct wse_crypto wrong = *crypto;

    right_set = crypto->set;
    wrong.set = set_wrongly;
    for (wrong_length = -1; wrong_length < 100; wrong_length++)
        CHECK(wse_crypto_test(&wrong) == -EKEYREJECTED);
    wrong_length = 65000;
    CHECK(wse_crypto_test(&wrong) == -EKEYREJECTED);
    wrong_length = 70000; /* which is not asked for */
    CHECK(!wse_crypto_test(&wrong));
    wrong.set = never_set;
    CHECK(wse_crypto_test(&wrong) == -EKEYREJECTED);
}

int main(void)
{
    const struct wse_crypto *crypto;
    const struct wse_crypto *other;

    CHECK(!wse_crypto_lock_with(note_locked));
    for (size_t i = 0; (crypto = wse_crypto_at(i)); i++)
        test_locked(crypto);
    CHECK(wse_crypto_lock_with(lock_nothing) == -EALREADY);
    test_choice();
    for (size_t i = 0; (crypto = wse_crypto_at(i)); i++) {
        test_arguments(crypto);
        test_wrong_answers(crypto);
        for (size_t j = 0; (other = wse_crypto_at(j)); j++)
            for (size_t k = 0; k < sizeof ALGORITHMS / sizeof *ALGORITHMS; k++)
                test_threads_and_others(crypto, other, ALGORITHMS[k]);
    }
    return 0;
}
