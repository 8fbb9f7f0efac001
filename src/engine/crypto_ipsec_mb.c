/* SPDX-License-Identifier: Apache-2.0 */
/*
 * By Intel's ipsec-mb (1.3 and later), where it is compiled in. Its functions that do one packet at once only read the
 * key, so that one manager, which says which functions fit the processor, serves all threads. They tell of arguments
 * that they do not take by a number that all threads share, and do nothing then: what is given to them here is never
 * of that kind, a pointer to nothing or no tag.
 */
#include "crypto_implementation.h"

#if WSE_HAVE_IPSEC_MB
#include <errno.h>
#include <intel-ipsec-mb.h>
#include <stdio.h>
#include <string.h>

static const IMB_MGR *manager;

/* Without AES and carry-less multiplication in the processor its tables would tell of the key by the time they take. */
static const uint64_t NEEDED = IMB_FEATURE_AESNI | IMB_FEATURE_PCLMULQDQ;

static const char *version(void)
{
    static char text[32];
    IMB_MGR *made;
    IMB_ARCH architecture = IMB_ARCH_NONE;

    if (manager)
        return text;
    if (imb_get_version() < IMB_VERSION(1, 3, 0))
        return NULL;
    made = alloc_mb_mgr(0);
    if (!made)
        return NULL;
    init_mb_mgr_auto(made, &architecture);
    if (imb_get_errno(made) || architecture == IMB_ARCH_NONE || (made->features & NEEDED) != NEEDED) {
        free_mb_mgr(made);
        return NULL;
    }
    snprintf(text, sizeof text, "ipsec-mb %s", imb_get_version_str());
    manager = made;
    return text;
}

struct state {
    union {
        struct gcm_key_data gcm;
        uint8_t chacha20[32];
    };
};

static size_t state_size(unsigned threads)
{
    (void)threads; /* who seals or opens reads only */
    return sizeof(struct state);
}

static const struct state *state_of(const struct wse_key *key)
{
    return (const void *)key->state;
}

/* Whether they are equal, in a time that does not tell where they are not. */
static int compared(const uint8_t made[WSE_TAG_SIZE], const uint8_t tag[WSE_TAG_SIZE])
{
    uint64_t one[2];
    uint64_t other[2];
    volatile uint64_t differ;

    memcpy(one, made, sizeof one);
    memcpy(other, tag, sizeof other);
    differ = (one[0] ^ other[0]) | (one[1] ^ other[1]);
    return differ ? -EBADMSG : 0;
}

#define ONE_GCM(bits)                                                                                                 \
    static int seal_gcm_##bits(const struct wse_key *key, unsigned thread, const uint8_t nonce[WSE_NONCE_SIZE],       \
                               const uint8_t *aad, size_t aad_length, uint8_t *text, size_t length,                   \
                               uint8_t tag[WSE_TAG_SIZE])                                                             \
    {                                                                                                                 \
        struct gcm_context_data context;                                                                              \
                                                                                                                      \
        (void)thread;                                                                                                 \
        IMB_AES##bits##_GCM_ENC(manager, &state_of(key)->gcm, &context, text, text, length, nonce, aad, aad_length,   \
                                tag, WSE_TAG_SIZE);                                                                   \
        return 0;                                                                                                     \
    }                                                                                                                 \
                                                                                                                      \
    static int open_gcm_##bits(const struct wse_key *key, unsigned thread, const uint8_t nonce[WSE_NONCE_SIZE],       \
                               const uint8_t *aad, size_t aad_length, uint8_t *text, size_t length,                   \
                               const uint8_t tag[WSE_TAG_SIZE])                                                       \
    {                                                                                                                 \
        struct gcm_context_data context;                                                                              \
        uint8_t made[WSE_TAG_SIZE];                                                                                   \
                                                                                                                      \
        (void)thread;                                                                                                 \
        IMB_AES##bits##_GCM_DEC(manager, &state_of(key)->gcm, &context, text, text, length, nonce, aad, aad_length,   \
                                made, WSE_TAG_SIZE);                                                                  \
        return compared(made, tag);                                                                                   \
    }

ONE_GCM(128)
ONE_GCM(256)
#undef ONE_GCM

static int seal_chacha20(const struct wse_key *key, unsigned thread, const uint8_t nonce[WSE_NONCE_SIZE],
                         const uint8_t *aad, size_t aad_length, uint8_t *text, size_t length,
                         uint8_t tag[WSE_TAG_SIZE])
{
    struct chacha20_poly1305_context_data context;

    (void)thread;
    IMB_CHACHA20_POLY1305_INIT(manager, state_of(key)->chacha20, &context, nonce, aad, aad_length);
    IMB_CHACHA20_POLY1305_ENC_UPDATE(manager, state_of(key)->chacha20, &context, text, text, length);
    IMB_CHACHA20_POLY1305_ENC_FINALIZE(manager, &context, tag, WSE_TAG_SIZE);
    wse_wipe(&context, sizeof context); /* it has the key of the tag */
    return 0;
}

static int open_chacha20(const struct wse_key *key, unsigned thread, const uint8_t nonce[WSE_NONCE_SIZE],
                         const uint8_t *aad, size_t aad_length, uint8_t *text, size_t length,
                         const uint8_t tag[WSE_TAG_SIZE])
{
    struct chacha20_poly1305_context_data context;
    uint8_t made[WSE_TAG_SIZE];

    (void)thread;
    IMB_CHACHA20_POLY1305_INIT(manager, state_of(key)->chacha20, &context, nonce, aad, aad_length);
    IMB_CHACHA20_POLY1305_DEC_UPDATE(manager, state_of(key)->chacha20, &context, text, text, length);
    IMB_CHACHA20_POLY1305_DEC_FINALIZE(manager, &context, made, WSE_TAG_SIZE);
    wse_wipe(&context, sizeof context);
    return compared(made, tag);
}

static int set(struct wse_key *key, const uint8_t *material)
{
    const int encrypts = key->direction == WSE_OUTBOUND;
    struct state *state = (void *)key->state;
    wse_seal_function *seal = NULL;
    wse_open_function *open = NULL;

    switch (key->algorithm) {
    case WSE_AES_128_GCM:
        IMB_AES128_GCM_PRE(manager, material, &state->gcm);
        seal = seal_gcm_128;
        open = open_gcm_128;
        break;
    case WSE_AES_256_GCM:
        IMB_AES256_GCM_PRE(manager, material, &state->gcm);
        seal = seal_gcm_256;
        open = open_gcm_256;
        break;
    case WSE_CHACHA20_POLY1305:
        memcpy(state->chacha20, material, sizeof state->chacha20);
        seal = seal_chacha20;
        open = open_chacha20;
        break;
    }
    key->seal = encrypts ? seal : NULL;
    key->open = encrypts ? NULL : open;
    return 0;
}

const struct wse_crypto wse_crypto_ipsec_mb = {
    .name = "ipsec-mb", .version = version, .state_size = state_size, .set = set, .release = NULL};

#else

static const char *version(void)
{
    return NULL;
}

const struct wse_crypto wse_crypto_ipsec_mb = {.name = "ipsec-mb", .version = version};

#endif
