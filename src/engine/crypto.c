/* SPDX-License-Identifier: Apache-2.0 */
#include "crypto.h"

#include <errno.h>
#include <string.h>

#include "crypto_implementation.h"
#include "log.h"

static const struct wse_crypto *const ALL[] = {&wse_crypto_ipsec_mb, &wse_crypto_openssl}; /* fastest first */

const struct wse_crypto *wse_crypto_at(size_t number)
{
    for (size_t i = 0; i < sizeof ALL / sizeof *ALL; i++)
        if (ALL[i]->version() && !number--)
            return ALL[i];
    return NULL;
}

const struct wse_crypto *wse_crypto_choose(const char *name)
{
    const struct wse_crypto *crypto;

    for (size_t i = 0; (crypto = wse_crypto_at(i)); i++) {
        if (name && strcmp(name, crypto->name))
            continue;
        if (!wse_crypto_test(crypto))
            return crypto;
        wse_log("%s does not give the known answers, and is not used", crypto->version());
    }
    return NULL;
}

const char *wse_crypto_name(const struct wse_crypto *crypto)
{
    return crypto->version();
}

size_t wse_algorithm_key_length(enum wse_algorithm algorithm)
{
    switch (algorithm) {
    case WSE_AES_128_GCM:
        return 16 + WSE_SALT_SIZE;
    case WSE_AES_256_GCM:
    case WSE_CHACHA20_POLY1305:
        return 32 + WSE_SALT_SIZE;
    }
    return 0;
}

size_t wse_key_size(const struct wse_crypto *crypto, unsigned threads)
{
    const size_t size = sizeof(struct wse_key) + crypto->state_size(threads);

    return (size + WSE_KEY_ALIGNMENT - 1) / WSE_KEY_ALIGNMENT * WSE_KEY_ALIGNMENT;
}

int wse_key_set(struct wse_key *key, const struct wse_crypto *crypto, unsigned threads, enum wse_algorithm algorithm,
                enum wse_direction direction, const uint8_t *material, size_t length)
{
    int error;

    if (!threads || threads > WSE_KEY_THREADS_MAX || !length || length != wse_algorithm_key_length(algorithm) ||
        (direction != WSE_OUTBOUND && direction != WSE_INBOUND))
        return -EINVAL;
    *key = (struct wse_key){.crypto = crypto,
                            .size = wse_key_size(crypto, threads),
                            .threads = threads,
                            .algorithm = algorithm,
                            .direction = direction};
    memcpy(key->salt, material + length - WSE_SALT_SIZE, WSE_SALT_SIZE);
    error = crypto->set(key, material);
    if (error)
        wse_wipe(key, wse_key_size(crypto, threads));
    return error;
}

void wse_key_wipe(struct wse_key *key)
{
    if (key->crypto->release)
        key->crypto->release(key);
    wse_wipe(key, key->size);
}

static void make_nonce(uint8_t nonce[WSE_NONCE_SIZE], const struct wse_key *key, const uint8_t iv[WSE_IV_SIZE])
{
    memcpy(nonce, key->salt, WSE_SALT_SIZE);
    memcpy(nonce + WSE_SALT_SIZE, iv, WSE_IV_SIZE);
}

int wse_seal(const struct wse_key *key, unsigned thread, const uint8_t iv[WSE_IV_SIZE], const uint8_t *aad,
             size_t aad_length, uint8_t *text, size_t length, uint8_t tag[WSE_TAG_SIZE])
{
    uint8_t nonce[WSE_NONCE_SIZE];
    int error;

    make_nonce(nonce, key, iv);
    error = key->seal(key, thread, nonce, aad, aad_length, text, length, tag);
    if (error)
        wse_wipe(text, length);
    return error;
}

int wse_open(const struct wse_key *key, unsigned thread, const uint8_t iv[WSE_IV_SIZE], const uint8_t *aad,
             size_t aad_length, uint8_t *text, size_t length, const uint8_t tag[WSE_TAG_SIZE])
{
    uint8_t nonce[WSE_NONCE_SIZE];
    int error;

    make_nonce(nonce, key, iv);
    error = key->open(key, thread, nonce, aad, aad_length, text, length, tag);
    if (error)
        wse_wipe(text, length);
    return error;
}

void wse_wipe(void *memory, size_t length)
{
    explicit_bzero(memory, length);
}
