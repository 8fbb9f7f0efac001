/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Loaded before the engine's libraries (LD_PRELOAD), for test_crypto_chosen.py: what ipsec-mb encrypts by AES-128-GCM has a
 * wrong first byte, and with BROKEN_OPENSSL what OpenSSL encrypts, too.
 */
#include <dlfcn.h>
#include <intel-ipsec-mb.h>
#include <openssl/evp.h>
#include <stdlib.h>
#include <string.h>

static aes_gcm_enc_dec_t right;

static void wrong(const struct gcm_key_data *key, struct gcm_context_data *context, uint8_t *to, const uint8_t *from,
                  uint64_t length, const uint8_t *iv, const uint8_t *aad, uint64_t aad_length, uint8_t *tag,
                  uint64_t tag_length)
{
    right(key, context, to, from, length, iv, aad, aad_length, tag, tag_length);
    if (length)
        to[0] ^= 1;
}

/* A pointer to a function of the library that comes next. */
static void next(void *function, const char *name)
{
    void *found = dlsym(RTLD_NEXT, name);

    if (!found)
        abort();
    memcpy(function, &found, sizeof found);
}

void init_mb_mgr_auto(IMB_MGR *manager, IMB_ARCH *architecture)
{
    void (*init)(IMB_MGR *, IMB_ARCH *);

    next(&init, "init_mb_mgr_auto");
    init(manager, architecture);
    right = manager->gcm128_enc;
    manager->gcm128_enc = wrong;
}

int EVP_EncryptUpdate(EVP_CIPHER_CTX *context, unsigned char *to, int *size, const unsigned char *from, int length)
{
    int (*update)(EVP_CIPHER_CTX *, unsigned char *, int *, const unsigned char *, int);
    int done;

    next(&update, "EVP_EncryptUpdate");
    done = update(context, to, size, from, length);
    if (done && to && length && getenv("BROKEN_OPENSSL"))
        to[0] ^= 1;
    return done;
}
