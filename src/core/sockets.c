/* SPDX-License-Identifier: Apache-2.0 */
/* Without locks: two threads may ask about the same socket, and a fork may happen in between. */
#include "sockets.h"

#include <stdatomic.h>
#include <stdlib.h>

enum { CHUNK = 4096, CHUNKS = 16384 }; /* 64 Mi descriptors */

enum state { NONE, SECURED, FAILED };

struct entry {
    _Atomic uint64_t identity;
    /* The low half of the identity, the profile, the state: so that it is never read for another socket. */
    _Atomic uint64_t outcome;
};
_Static_assert(sizeof(struct entry) == 16, "16 bytes a descriptor");

static _Atomic(struct entry *) chunks[CHUNKS];

static struct entry *entry_of(wsasec_socket socket, int make)
{
    size_t index = (size_t)socket / CHUNK;
    struct entry *chunk;
    struct entry *fresh;

    if (socket < 0 || index >= CHUNKS)
        return NULL;
    chunk = atomic_load_explicit(&chunks[index], memory_order_acquire);
    if (!chunk && make) {
        fresh = calloc(CHUNK, sizeof *fresh);
        if (!fresh)
            return NULL;
        if (atomic_compare_exchange_strong(&chunks[index], &chunk, fresh))
            chunk = fresh;
        else
            free(fresh);
    }
    return chunk ? chunk + (size_t)socket % CHUNK : NULL;
}

static uint64_t outcome_of(uint64_t identity, uint16_t profile, enum state state)
{
    return identity << 32 | (uint32_t)profile << 8 | (uint32_t)state;
}

static enum state state_of(uint64_t outcome, uint64_t identity)
{
    return outcome >> 32 == (uint32_t)identity ? (enum state)(outcome & 0xff) : NONE;
}

enum wsasec_claim wsasec_socket_claim(wsasec_socket socket, uint64_t identity)
{
    struct entry *entry = entry_of(socket, 1);
    uint64_t before;

    if (!entry)
        return WSASEC_CLAIM_NO_ROOM;
    before = atomic_load(&entry->identity);
    if (before != identity && atomic_compare_exchange_strong(&entry->identity, &before, identity))
        return WSASEC_CLAIM_NEW;
    return state_of(atomic_load(&entry->outcome), identity) == FAILED ? WSASEC_CLAIM_FAILED : WSASEC_CLAIM_TAKEN;
}

void wsasec_socket_settle(wsasec_socket socket, uint64_t identity, uint16_t profile, int failed)
{
    struct entry *entry = entry_of(socket, 0);

    if (entry)
        atomic_store(&entry->outcome, outcome_of(identity, profile, failed ? FAILED : SECURED));
}

void wsasec_socket_release(wsasec_socket socket, uint64_t identity)
{
    struct entry *entry = entry_of(socket, 0);

    /* Only if it is still this socket's: the descriptor may have been closed and handed out again meanwhile. */
    if (entry)
        atomic_compare_exchange_strong(&entry->identity, &identity, 0);
}

int32_t wsasec_socket_profile(wsasec_socket socket, uint64_t identity)
{
    struct entry *entry = entry_of(socket, 0);
    uint64_t outcome;

    if (!entry || atomic_load(&entry->identity) != identity)
        return -1;
    outcome = atomic_load(&entry->outcome);
    return state_of(outcome, identity) == SECURED ? (int32_t)(outcome >> 8 & 0xffff) : -1;
}
