/* SPDX-License-Identifier: Apache-2.0 */
#include "memory.h"

#include <errno.h>
#include <stdint.h>
#include <string.h>
#include <sys/mman.h>

#include "log.h"

/*
 * Secrets come from chunks that are locked whole, cut to pieces of one size each: an SA's are all alike. A piece that
 * was given back is in the list of its size.
 */
enum { CHUNK = 256 * 1024, SIZES = 8, ALIGNMENT = 64 };

struct piece {
    struct piece *next;
};

static struct {
    size_t bytes;
    struct piece *free;
    unsigned char *fresh, *end; /* of the newest chunk */
} sizes[SIZES];
static int unlocked;

void *wse_pages(size_t bytes)
{
    void *pages = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

    return pages == MAP_FAILED ? NULL : pages;
}

static size_t rounded(size_t bytes)
{
    return (bytes + ALIGNMENT - 1) & ~(size_t)(ALIGNMENT - 1);
}

static int index_of(size_t bytes)
{
    for (int i = 0; i < SIZES; i++) {
        if (!sizes[i].bytes)
            sizes[i].bytes = bytes;
        if (sizes[i].bytes == bytes)
            return i;
    }
    return -1;
}

int wse_secret_lock(void *memory, size_t bytes)
{
    const int error = mlock(memory, bytes) ? errno : 0;

    if (error && !unlocked) {
        unlocked = 1;
        wse_log("keys are in memory that may be swapped out (%s): raise RLIMIT_MEMLOCK", strerror(error));
    }
    return -error;
}

static unsigned char *chunk_of(size_t bytes)
{
    unsigned char *chunk = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

    if (chunk == MAP_FAILED)
        return NULL;
    /* Each is a precaution of its own: keys are kept without it too, but not silently. */
    wse_secret_lock(chunk, bytes);
    madvise(chunk, bytes, MADV_DONTDUMP);
    madvise(chunk, bytes, MADV_WIPEONFORK);
    return chunk;
}

void *wse_secret_take(size_t bytes)
{
    size_t size = rounded(bytes);
    int i = index_of(size);
    unsigned char *secret;

    if (i < 0 || size > CHUNK)
        return NULL;
    if (sizes[i].free) {
        secret = (unsigned char *)sizes[i].free;
        sizes[i].free = sizes[i].free->next;
        memset(secret, 0, sizeof(struct piece));
        return secret;
    }
    if (!sizes[i].fresh || (size_t)(sizes[i].end - sizes[i].fresh) < size) {
        sizes[i].fresh = chunk_of(CHUNK);
        if (!sizes[i].fresh)
            return NULL;
        sizes[i].end = sizes[i].fresh + CHUNK;
    }
    secret = sizes[i].fresh;
    sizes[i].fresh += size;
    return secret;
}

void wse_secret_give(void *secret, size_t bytes)
{
    size_t size = rounded(bytes);
    int i = index_of(size);
    struct piece *piece = secret;

    if (!secret || i < 0)
        return;
    explicit_bzero(secret, size);
    piece->next = sizes[i].free;
    sizes[i].free = piece;
}

int wse_secrets_locked(void)
{
    return !unlocked;
}
