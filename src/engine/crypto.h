/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Authenticated encryption of ESP: AES-GCM with an ICV of 16 bytes (RFC 4106) and ChaCha20-Poly1305 (RFC 7634), by one
 * of several implementations. Which one is chosen once at start, by known answers; all functions are free of locks,
 * and seal and open of allocations too.
 */
#ifndef WSASEC_ENGINE_CRYPTO_H
#define WSASEC_ENGINE_CRYPTO_H

#include <stddef.h>
#include <stdint.h>

#include "control_protocol.h"

enum {
    WSE_KEY_ALIGNMENT = 64,
    WSE_KEY_THREADS_MAX = 256,
    WSE_SALT_SIZE = 4,
    WSE_IV_SIZE = 8,
    WSE_TAG_SIZE = 16,
};

/* An implementation; static, never freed. */
struct wse_crypto;

/* The key of one SA in the form its implementation works with. It lies in memory of the caller's. */
struct wse_key;

/*
 * Has the memory that OpenSSL keeps keys in passed to `lock` (which may fail: then it says so itself), as that is in
 * OpenSSL's own heap, not in a struct wse_key. Pages are left locked when they are freed. -EALREADY: OpenSSL allocated
 * before, or it was called before: call it first of all, and once.
 */
int wse_crypto_lock_with(int (*lock)(void *memory, size_t length));

/*
 * The implementation with this name ("ipsec-mb", "OpenSSL"), or with NULL the fastest that is compiled in, fits the
 * processor and gives all known answers (NIST and RFC 7539 vectors, and refusal of what is forged) for each algorithm.
 * NULL: none does; the engine must not start. Call it before other threads are, and before a filter of system calls.
 */
const struct wse_crypto *wse_crypto_choose(const char *name);

/* The number-th that is compiled in and fits the processor, fastest first, tested or not; NULL: no more. For tests. */
const struct wse_crypto *wse_crypto_at(size_t number);

/* 0; -EKEYREJECTED: a known answer is missed; or -ENOMEM. */
int wse_crypto_test(const struct wse_crypto *crypto);

/* "ipsec-mb 1.3.0", "OpenSSL 3.0.19": with the version of what is loaded; less than 32 bytes. */
const char *wse_crypto_name(const struct wse_crypto *crypto);

/* Bytes of key material with the salt: 20 or 36; 0: no such algorithm. */
size_t wse_algorithm_key_length(enum wse_algorithm algorithm);

/*
 * Bytes of a struct wse_key that so many threads may use at once (1..WSE_KEY_THREADS_MAX); a multiple of
 * WSE_KEY_ALIGNMENT.
 */
size_t wse_key_size(const struct wse_crypto *crypto, unsigned threads);

/*
 * Makes a key at `key`: wse_key_size() bytes aligned to WSE_KEY_ALIGNMENT, of any content. Material is the key with
 * the salt behind it; the caller wipes its copy. An outbound key only seals, an inbound one only opens. 0, -EINVAL
 * (algorithm, length, direction or number of threads), or -EIO: the library failed. On error the memory is
 * wiped. Allocates (OpenSSL), so it is called by the control thread only.
 */
int wse_key_set(struct wse_key *key, const struct wse_crypto *crypto, unsigned threads, enum wse_algorithm algorithm,
                enum wse_direction direction, const uint8_t *material, size_t length);

/* Wipes it and gives back what it holds elsewhere. No thread may use it any more. */
void wse_key_wipe(struct wse_key *key);

/*
 * Encrypts length bytes in place and writes the tag. The nonce is the key's salt and iv: an iv may never come twice
 * under a key. `thread` is below the number that the key was made for, and of this thread only. aad_length: 8 or 12
 * bytes. 0, or -EIO: the library failed, and text is wiped.
 */
int wse_seal(const struct wse_key *key, unsigned thread, const uint8_t iv[WSE_IV_SIZE], const uint8_t *aad,
             size_t aad_length, uint8_t *text, size_t length, uint8_t tag[WSE_TAG_SIZE]);

/* Decrypts in place. 0; -EBADMSG: the tag is wrong, and text is wiped; or -EIO: the library failed, text is wiped. */
int wse_open(const struct wse_key *key, unsigned thread, const uint8_t iv[WSE_IV_SIZE], const uint8_t *aad,
             size_t aad_length, uint8_t *text, size_t length, const uint8_t tag[WSE_TAG_SIZE]);

/* Overwrites memory in a way that no compiler takes out. */
void wse_wipe(void *memory, size_t length);

#endif
