/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which keys were used already: a key that comes back would have nonces come back, too (RFC 4106 section 9, RFC 8221
 * section 4). Only salted hashes are kept, of the last half million keys at least.
 */
#ifndef WSASEC_ENGINE_SEEN_H
#define WSASEC_ENGINE_SEEN_H

#include <stddef.h>
#include <stdint.h>

struct wse_seen;

/* NULL: no memory, or no random numbers. */
struct wse_seen *wse_seen_make(void);

/* Notes a key. 0; -EKEYREJECTED: it was noted before; -EIO: the hash failed. */
int wse_seen_add(struct wse_seen *seen, const uint8_t *key, size_t length);

#endif
