/* SPDX-License-Identifier: Apache-2.0 */
#include "seen.h"

#include <errno.h>
#include <openssl/evp.h>
#include <string.h>
#include <sys/random.h>

#include "crypto.h"
#include "memory.h"

enum { SLOTS = 1 << 20, KEYS = SLOTS / 2, SALT = 32, LONGEST = 64 };

/* Of two tables the younger is filled; when it is full the older is emptied, and becomes the younger. */
struct wse_seen {
    uint8_t salt[SALT];
    uint64_t *younger, *older;
    uint32_t count; /* in the younger */
};

struct wse_seen *wse_seen_make(void)
{
    struct wse_seen *seen = wse_pages(sizeof *seen);

    if (!seen || getrandom(seen->salt, sizeof seen->salt, 0) != sizeof seen->salt)
        return NULL;
    seen->younger = wse_pages(SLOTS * sizeof *seen->younger);
    seen->older = wse_pages(SLOTS * sizeof *seen->older);
    return seen->younger && seen->older ? seen : NULL;
}

/* Where the hash is, or would be. */
static uint64_t *slot_of(uint64_t *table, uint64_t hash)
{
    uint64_t i = hash % SLOTS;

    while (table[i] && table[i] != hash)
        i = (i + 1) % SLOTS;
    return &table[i];
}

int wse_seen_add(struct wse_seen *seen, const uint8_t *key, size_t length)
{
    uint8_t text[SALT + LONGEST], digest[EVP_MAX_MD_SIZE];
    uint64_t hash, *slot, *table;
    int done;

    if (length > LONGEST)
        return -EIO;
    memcpy(text, seen->salt, SALT);
    memcpy(text + SALT, key, length);
    done = EVP_Digest(text, SALT + length, digest, NULL, EVP_sha256(), NULL);
    wse_wipe(text, sizeof text);
    if (!done)
        return -EIO;
    memcpy(&hash, digest, sizeof hash);
    hash |= !hash; /* 0 is an empty slot */
    slot = slot_of(seen->younger, hash);
    if (*slot || *slot_of(seen->older, hash))
        return -EKEYREJECTED;
    if (seen->count == KEYS) {
        table = seen->older;
        seen->older = seen->younger;
        seen->younger = table;
        memset(table, 0, SLOTS * sizeof *table);
        seen->count = 0;
        slot = slot_of(table, hash);
    }
    *slot = hash;
    seen->count++;
    return 0;
}
