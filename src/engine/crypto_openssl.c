/* SPDX-License-Identifier: Apache-2.0 */
/*
 * By OpenSSL. Each thread has a context of its own for each key, with the key set once: per packet only the nonce is.
 * The contexts are OpenSSL's, and lie in its heap; it wipes them when they are freed.
 */
#include <errno.h>
#include <openssl/core_names.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/params.h>
#include <stdio.h>

#include "crypto_implementation.h"

static EVP_CIPHER_CTX *context_of(const struct wse_key *key, unsigned thread)
{
    return ((EVP_CIPHER_CTX *const *)(const void *)key->state)[thread];
}

static const char *version(void)
{
    static char text[32];

    if (!text[0])
        snprintf(text, sizeof text, "OpenSSL %s", OpenSSL_version(OPENSSL_VERSION_STRING));
    return text;
}

static size_t state_size(unsigned threads)
{
    return threads * sizeof(EVP_CIPHER_CTX *);
}

/* The tag as a parameter: EVP_CIPHER_CTX_ctrl() would look up by its number what this says, for 30 ns a packet. */
#define TAG_PARAMETER(tag) {{OSSL_CIPHER_PARAM_AEAD_TAG, OSSL_PARAM_OCTET_STRING, tag, WSE_TAG_SIZE, 0}, OSSL_PARAM_END}

static int seal(const struct wse_key *key, unsigned thread, const uint8_t nonce[WSE_NONCE_SIZE], const uint8_t *aad,
                size_t aad_length, uint8_t *text, size_t length, uint8_t tag[WSE_TAG_SIZE])
{
    EVP_CIPHER_CTX *context = context_of(key, thread);
    OSSL_PARAM parameters[] = TAG_PARAMETER(tag);
    int size;

    if (EVP_EncryptInit_ex2(context, NULL, NULL, nonce, NULL) &&
        EVP_EncryptUpdate(context, NULL, &size, aad, (int)aad_length) &&
        EVP_EncryptUpdate(context, text, &size, text, (int)length) && EVP_EncryptFinal_ex(context, tag, &size) &&
        EVP_CIPHER_CTX_get_params(context, parameters))
        return 0;
    return -EIO;
}

static int open(const struct wse_key *key, unsigned thread, const uint8_t nonce[WSE_NONCE_SIZE], const uint8_t *aad,
                size_t aad_length, uint8_t *text, size_t length, const uint8_t tag[WSE_TAG_SIZE])
{
    EVP_CIPHER_CTX *context = context_of(key, thread);
    const OSSL_PARAM parameters[] = TAG_PARAMETER((void *)(uintptr_t)tag); /* is only read */
    uint8_t none[EVP_MAX_BLOCK_LENGTH];
    int size;

    if (!EVP_DecryptInit_ex2(context, NULL, NULL, nonce, NULL) || !EVP_CIPHER_CTX_set_params(context, parameters) ||
        !EVP_DecryptUpdate(context, NULL, &size, aad, (int)aad_length) ||
        !EVP_DecryptUpdate(context, text, &size, text, (int)length))
        return -EIO;
    return EVP_DecryptFinal_ex(context, none, &size) ? 0 : -EBADMSG; /* compared in constant time */
}

static const EVP_CIPHER *cipher_of(enum wse_algorithm algorithm)
{
    switch (algorithm) {
    case WSE_AES_128_GCM:
        return EVP_aes_128_gcm();
    case WSE_AES_256_GCM:
        return EVP_aes_256_gcm();
    case WSE_CHACHA20_POLY1305:
        return EVP_chacha20_poly1305();
    }
    return NULL;
}

static void release(struct wse_key *key)
{
    EVP_CIPHER_CTX **contexts = (void *)key->state;

    for (unsigned i = 0; i < key->threads; i++) {
        EVP_CIPHER_CTX_free(contexts[i]); /* NULL is no context */
        contexts[i] = NULL;
    }
}

static int set(struct wse_key *key, const uint8_t *material)
{
    const int encrypts = key->direction == WSE_OUTBOUND;
    EVP_CIPHER_CTX **contexts = (void *)key->state;

    for (unsigned i = 0; i < key->threads; i++)
        contexts[i] = NULL;
    for (unsigned i = 0; i < key->threads; i++) {
        contexts[i] = EVP_CIPHER_CTX_new();
        if (!contexts[i] ||
            !EVP_CipherInit_ex2(contexts[i], cipher_of(key->algorithm), material, NULL, encrypts, NULL) ||
            EVP_CIPHER_CTX_get_iv_length(contexts[i]) != WSE_NONCE_SIZE) {
            const int error = contexts[i] ? -EIO : -ENOMEM;

            release(key);
            return error;
        }
    }
    key->seal = encrypts ? seal : NULL;
    key->open = encrypts ? NULL : open;
    return 0;
}

const struct wse_crypto wse_crypto_openssl = {
    .name = "OpenSSL", .version = version, .state_size = state_size, .set = set, .release = release};
