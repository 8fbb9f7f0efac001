/* SPDX-License-Identifier: Apache-2.0 */
/* A key that came before is known again, for long. */
/* Compiled with: seen.c memory.c log.c crypto*.c */
#include <errno.h>
#include <string.h>

#include "check.h"
#include "seen.h"

static void key_of(uint8_t key[32], uint32_t number)
{
    memset(key, 0, 32);
    memcpy(key + 7, &number, sizeof number);
}

int main(void)
{
    enum { KEYS = 700000, REMEMBERED = 500000 };
    struct wse_seen *seen = wse_seen_make();
    uint8_t key[32];

    CHECK(seen);
    for (uint32_t i = 0; i < KEYS; i++) {
        key_of(key, i);
        CHECK(!wse_seen_add(seen, key, sizeof key));
    }
    for (uint32_t i = KEYS - REMEMBERED; i < KEYS; i += 97) {
        key_of(key, i);
        CHECK(wse_seen_add(seen, key, sizeof key) == -EKEYREJECTED);
    }
    /* A part of it is another key. */
    CHECK(!wse_seen_add(seen, key, 16));
    CHECK(wse_seen_add(seen, key, 16) == -EKEYREJECTED);
    return 0;
}
