/* SPDX-License-Identifier: Apache-2.0 */
/*
 * By OpenSSL. Each thread has a context of its own for each key, with the key set once: per packet only the nonce is.
 * The contexts are OpenSSL's, and lie in its heap, locked as the caller wants; it wipes them when they are freed.
 */
#include <errno.h>
#include <openssl/core_names.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/params.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>

#include "crypto_implementation.h"

static int (*lock)(void *memory, size_t length);
static _Thread_local bool setting; /* a key: what is allocated now may hold it */

static void *locked(void *memory, size_t length)
{
    if (memory && setting)
        lock(memory, length);
    return memory;
}

static void *take(size_t length, const char *file, int line)
{
    (void)file;
    (void)line;
    return locked(malloc(length), length);
}

static void *take_more(void *memory, size_t length, const char *file, int line)
{
    (void)file;
    (void)line;
    return locked(realloc(memory, length), length);
}

static void give(void *memory, const char *file, int line)
{
    (void)file;
    (void)line;
    free(memory);
}

int wse_crypto_lock_with(int (*function)(void *memory, size_t length))
{
    if (lock || !CRYPTO_set_mem_functions(take, take_more, give))
        return -EALREADY;
    lock = function;
    return 0;
}

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

/* Looked up once. NULL: this OpenSSL has it not, or may not use it. */
static const EVP_CIPHER *cipher_of(enum wse_algorithm algorithm)
{
    static const char *const NAMES[] = {[WSE_AES_128_GCM] = "AES-128-GCM",
                                        [WSE_AES_256_GCM] = "AES-256-GCM",
                                        [WSE_CHACHA20_POLY1305] = "ChaCha20-Poly1305"};
    static EVP_CIPHER *ciphers[sizeof NAMES / sizeof *NAMES];

    if (!ciphers[algorithm])
        ciphers[algorithm] = EVP_CIPHER_fetch(NULL, NAMES[algorithm], NULL);
    return ciphers[algorithm];
}

static void release(struct wse_key *key)
{
    EVP_CIPHER_CTX **contexts = (void *)key->state;

    for (unsigned i = 0; i < key->threads; i++) {
        EVP_CIPHER_CTX_free(contexts[i]); /* NULL is no context */
        contexts[i] = NULL;
    }
}

static EVP_CIPHER_CTX *new_context(const EVP_CIPHER *cipher, const uint8_t *material, int encrypts)
{
    EVP_CIPHER_CTX *context = EVP_CIPHER_CTX_new();

    if (context && EVP_CipherInit_ex2(context, cipher, material, NULL, encrypts, NULL) &&
        EVP_CIPHER_CTX_get_iv_length(context) == WSE_NONCE_SIZE)
        return context;
    EVP_CIPHER_CTX_free(context);
    return NULL;
}

static int set(struct wse_key *key, const uint8_t *material)
{
    const bool encrypts = key->direction == WSE_OUTBOUND;
    const EVP_CIPHER *cipher = cipher_of(key->algorithm);
    EVP_CIPHER_CTX **contexts = (void *)key->state;
    int error = 0;

    if (!cipher)
        return -EIO;
    for (unsigned i = 0; i < key->threads; i++)
        contexts[i] = NULL;
    setting = lock != NULL;
    for (unsigned i = 0; i < key->threads && !error; i++) {
        contexts[i] = new_context(cipher, material, encrypts);
        if (!contexts[i])
            error = -EIO;
    }
    setting = false;
    if (error) {
        release(key);
        return error;
    }
    key->seal = encrypts ? seal : NULL;
    key->open = encrypts ? NULL : open;
    return 0;
}

const struct wse_crypto wse_crypto_openssl = {
    .name = "OpenSSL", .version = version, .state_size = state_size, .set = set, .release = release};
