/* SPDX-License-Identifier: Apache-2.0 */
/* Keys for tests: of one implementation, on the heap, so that a sanitizer sees what goes over their end. */
#ifndef KEYS_H
#define KEYS_H

#include <stdlib.h>
#include <string.h>

#include "check.h"
#include "crypto.h"

static inline struct wse_key *key_of(const struct wse_crypto *crypto, unsigned threads, enum wse_algorithm algorithm,
                                     enum wse_direction direction, const uint8_t *material)
{
    const size_t size = wse_key_size(crypto, threads);
    struct wse_key *key = aligned_alloc(WSE_KEY_ALIGNMENT, size);

    CHECK(key && size % WSE_KEY_ALIGNMENT == 0);
    memset(key, 0xa5, size); /* its memory may have any content */
    CHECK(!wse_key_set(key, crypto, threads, algorithm, direction, material, wse_algorithm_key_length(algorithm)));
    return key;
}

static inline void drop_key(const struct wse_crypto *crypto, unsigned threads, struct wse_key *key)
{
    const uint8_t *byte = (const void *)key;

    wse_key_wipe(key);
    for (size_t i = 0; i < wse_key_size(crypto, threads); i++)
        CHECK(!byte[i]);
    free(key);
}

#endif
