/* SPDX-License-Identifier: Apache-2.0 */
/* What an implementation of crypto.h gives, and what a key consists of. For crypto*.c only. */
#ifndef WSASEC_ENGINE_CRYPTO_IMPLEMENTATION_H
#define WSASEC_ENGINE_CRYPTO_IMPLEMENTATION_H

#include "crypto.h"

enum { WSE_NONCE_SIZE = WSE_SALT_SIZE + WSE_IV_SIZE };

/* As wse_seal() with a nonce, but that the caller wipes text on failure. */
typedef int wse_seal_function(const struct wse_key *key, unsigned thread, const uint8_t nonce[WSE_NONCE_SIZE],
                              const uint8_t *aad, size_t aad_length, uint8_t *text, size_t length,
                              uint8_t tag[WSE_TAG_SIZE]);
typedef int wse_open_function(const struct wse_key *key, unsigned thread, const uint8_t nonce[WSE_NONCE_SIZE],
                              const uint8_t *aad, size_t aad_length, uint8_t *text, size_t length,
                              const uint8_t tag[WSE_TAG_SIZE]);

struct wse_crypto {
    const char *name;
    const char *(*version)(void);           /* "ipsec-mb 1.3.0"; NULL: it can't be used here */
    size_t (*state_size)(unsigned threads); /* of a key */
    /* Fills state and sets seal or open. key is without the salt. On error it leaves nothing to release. */
    int (*set)(struct wse_key *key, const uint8_t *material);
    /* Releases what the state holds elsewhere; the caller wipes the state. NULL: it holds nothing. */
    void (*release)(struct wse_key *key);
};

struct wse_key {
    const struct wse_crypto *crypto;
    wse_seal_function *seal; /* one of the two is NULL */
    wse_open_function *open;
    size_t size;             /* of all of it */
    unsigned threads;
    enum wse_algorithm algorithm;
    enum wse_direction direction;
    uint8_t salt[WSE_SALT_SIZE];
    _Alignas(WSE_KEY_ALIGNMENT) uint8_t state[];
};

extern const struct wse_crypto wse_crypto_ipsec_mb;
extern const struct wse_crypto wse_crypto_openssl;

#endif
