/* SPDX-License-Identifier: Apache-2.0 */
/* Without locks: two threads may ask about the same socket, and a fork may happen in between. */
#include "sockets.h"
#include "table.h"

struct wsasec_entry {
    _Atomic uint64_t identity;
    /* The low half of the identity, the profile, notes, the outcome: so that it is never read for another socket. */
    _Atomic uint64_t outcome;
};
_Static_assert(sizeof(struct wsasec_entry) == 16, "16 bytes a descriptor");

static struct wsasec_table table;

static struct wsasec_entry *entry_of(wsasec_socket socket, int make)
{
    return wsasec_table_place(&table, sizeof(struct wsasec_entry), socket, make);
}

static uint64_t pack(uint64_t identity, uint16_t profile, unsigned outcome)
{
    return identity << 32 | (uint32_t)profile << 8 | outcome;
}

static enum wsasec_outcome outcome_of(uint64_t packed, uint64_t identity)
{
    return packed >> 32 == (uint32_t)identity ? (enum wsasec_outcome)(packed & 0xf) : WSASEC_OUTCOME_UNKNOWN;
}

enum wsasec_claim wsasec_socket_claim(wsasec_socket socket, uint64_t identity)
{
    struct wsasec_entry *entry = entry_of(socket, 1);
    uint64_t before;

    if (!entry)
        return WSASEC_CLAIM_NO_ROOM;
    before = atomic_load(&entry->identity);
    if (before != identity && atomic_compare_exchange_strong(&entry->identity, &before, identity))
        return WSASEC_CLAIM_NEW;
    return outcome_of(atomic_load(&entry->outcome), identity) == WSASEC_OUTCOME_FAILED ? WSASEC_CLAIM_FAILED
                                                                                       : WSASEC_CLAIM_TAKEN;
}

uint64_t wsasec_socket_identity(wsasec_socket socket)
{
    const struct wsasec_entry *entry = entry_of(socket, 0);

    return entry ? atomic_load(&entry->identity) : 0;
}

uint64_t wsasec_socket_next_identity(wsasec_socket socket)
{
    return wsasec_socket_identity(socket) + 1;
}

void wsasec_socket_settle(wsasec_socket socket, uint64_t identity, uint16_t profile, unsigned outcome)
{
    struct wsasec_entry *entry = entry_of(socket, 0);

    /* It says itself of whom it is: nothing that another thread reads beside it must be older or newer. */
    if (entry)
        atomic_store_explicit(&entry->outcome, pack(identity, profile, outcome), memory_order_release);
}

struct wsasec_entry *wsasec_socket_entry(wsasec_socket socket)
{
    return entry_of(socket, 1);
}

void wsasec_entry_settle(struct wsasec_entry *entry, uint16_t profile, unsigned outcome)
{
    const uint64_t identity = atomic_load_explicit(&entry->identity, memory_order_relaxed) + 1;

    atomic_store_explicit(&entry->identity, identity, memory_order_release);
    atomic_store_explicit(&entry->outcome, pack(identity, profile, outcome), memory_order_release);
}

void wsasec_socket_release(wsasec_socket socket, uint64_t identity)
{
    struct wsasec_entry *entry = entry_of(socket, 0);
    uint64_t outcome;

    if (!entry)
        return;
    outcome = atomic_load(&entry->outcome);
    /* Only if it is still this socket's: the descriptor may have been closed and handed out again meanwhile. */
    if (!atomic_compare_exchange_strong(&entry->identity, &identity, 0))
        return;
    /* Where identities are counted by place they begin again, and would meet what became of an earlier socket. */
    atomic_compare_exchange_strong(&entry->outcome, &outcome, 0);
}

enum wsasec_outcome wsasec_socket_outcome(wsasec_socket socket, uint64_t identity, uint16_t *profile)
{
    struct wsasec_entry *entry = entry_of(socket, 0);
    uint64_t packed;

    if (!entry || atomic_load(&entry->identity) != identity)
        return WSASEC_OUTCOME_UNKNOWN;
    packed = atomic_load(&entry->outcome);
    *profile = (uint16_t)(packed >> 8 & 0xffff);
    return outcome_of(packed, identity);
}

unsigned wsasec_socket_notes(wsasec_socket socket, uint64_t identity)
{
    struct wsasec_entry *entry = entry_of(socket, 0);
    uint64_t packed;

    if (!entry || atomic_load(&entry->identity) != identity)
        return 0;
    packed = atomic_load(&entry->outcome);
    return packed >> 32 == (uint32_t)identity ? (unsigned)(packed & 0xf0) : 0;
}

enum wsasec_outcome wsasec_socket_last_outcome(wsasec_socket socket)
{
    const struct wsasec_entry *entry = entry_of(socket, 0);

    return entry ? (enum wsasec_outcome)(atomic_load_explicit(&entry->outcome, memory_order_relaxed) & 0xf)
                 : WSASEC_OUTCOME_UNKNOWN;
}

int32_t wsasec_socket_profile(wsasec_socket socket, uint64_t identity)
{
    uint16_t profile = 0;

    switch (wsasec_socket_outcome(socket, identity, &profile)) {
    case WSASEC_OUTCOME_REQUIRED:
    case WSASEC_OUTCOME_OPTIONAL:
    case WSASEC_OUTCOME_SKIPPED:
        return profile;
    default:
        return -1;
    }
}
