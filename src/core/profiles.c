/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The profiles of the process. Readers take no lock: a profile, once seen, never changes nor goes away, and the
 * set in use is replaced as a whole.
 */
#include "profiles.h"

#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

enum { NUMBERS = 65000, PROTOCOL_ESP = 50, PROTOCOL_AH = 51 };

struct set {
    struct set *older; /* kept: a reader may still be in it, and it is small */
    size_t count;
    uint16_t default_number;
    uint16_t numbers[WSASEC_PROFILES_MAX];
};

static const wsasec_profile builtin = {
    .name = "default",
    .guid = {0x6c1b7a52, 0x3f0e, 0x4d8b, {0x9a, 0x55, 0x0d, 0x57, 0x01, 0xc7, 0xe1, 0xa4}},
    .reqid = 0x5701,
    .mark = 0x57000000,
    .mask = 0xff000000,
    .encrypting = 1,
    .protocol = PROTOCOL_ESP,
};

static const struct set builtin_set = {.count = 1};

/*
 * Numbers are handed out in order, and each slot is written once, before `used` passes it. The first is built in
 * (see known_at()), so that all are zero and take no room in the file.
 */
static const wsasec_profile *known[NUMBERS];
static atomic_uint used = 1;
static _Atomic(const struct set *) in_use = &builtin_set;
static atomic_flag writing = ATOMIC_FLAG_INIT;

static const wsasec_profile *known_at(unsigned number)
{
    return number ? known[number] : &builtin;
}

static int valid(const wsasec_profile *p)
{
    static const wsasec_guid zero;

    return memchr(p->name, 0, sizeof p->name) && memcmp(&p->guid, &zero, sizeof zero) != 0 && p->reqid &&
           p->mark && !(p->mark & ~p->mask) &&
           (!p->protocol || p->protocol == PROTOCOL_ESP || (p->protocol == PROTOCOL_AH && !p->encrypting)) &&
           p->carrier <= WSASEC_CARRIER_AUTO && (p->carrier == WSASEC_CARRIER_POLICY || p->encrypting);
}

static int distinct(const wsasec_profile *a, const wsasec_profile *b)
{
    return strcmp(a->name, b->name) != 0 && memcmp(&a->guid, &b->guid, sizeof a->guid) != 0 &&
           a->reqid != b->reqid && ((a->mark ^ b->mark) & a->mask & b->mask) != 0;
}

static int same(const wsasec_profile *a, const wsasec_profile *b)
{
    return strcmp(a->name, b->name) == 0 && memcmp(&a->guid, &b->guid, sizeof a->guid) == 0 &&
           a->reqid == b->reqid && a->mark == b->mark && a->mask == b->mask && !a->encrypting == !b->encrypting &&
           (a->protocol == PROTOCOL_AH) == (b->protocol == PROTOCOL_AH) && a->carrier == b->carrier;
}

/* The number of a profile, which it gets if it has none yet; NUMBERS if there is no room. */
static unsigned number_of(const wsasec_profile *profile)
{
    unsigned n = atomic_load_explicit(&used, memory_order_relaxed);
    wsasec_profile *copy;

    for (unsigned i = 0; i < n; i++)
        if (same(known_at(i), profile))
            return i;
    if (n == NUMBERS)
        return NUMBERS;
    copy = malloc(sizeof *copy);
    if (!copy)
        return NUMBERS;
    *copy = *profile;
    copy->encrypting = profile->encrypting != 0;
    if (!copy->protocol)
        copy->protocol = PROTOCOL_ESP;
    known[n] = copy;
    atomic_store_explicit(&used, n + 1, memory_order_release);
    return n;
}

static int32_t replace(const wsasec_profile *profiles, size_t count, size_t default_index)
{
    struct set *set = calloc(1, sizeof *set);

    if (!set)
        return -WSASEC_WSAENOBUFS;
    for (size_t i = 0; i < count; i++) {
        unsigned number = number_of(&profiles[i]);

        if (number == NUMBERS) {
            free(set);
            return -WSASEC_WSAENOBUFS;
        }
        set->numbers[i] = (uint16_t)number;
    }
    set->count = count;
    set->default_number = set->numbers[default_index];
    set->older = (struct set *)(uintptr_t)atomic_load_explicit(&in_use, memory_order_relaxed);
    atomic_store_explicit(&in_use, set, memory_order_release);
    return 0;
}

int32_t wsasec_profiles_set(const wsasec_profile *profiles, size_t count, size_t default_index)
{
    int32_t code;

    if (!profiles || !count || count > WSASEC_PROFILES_MAX || default_index >= count)
        return -WSASEC_WSAEINVAL;
    for (size_t i = 0; i < count; i++) {
        if (!valid(&profiles[i]))
            return -WSASEC_WSAEINVAL;
        for (size_t j = 0; j < i; j++)
            if (!distinct(&profiles[i], &profiles[j]))
                return -WSASEC_WSAEINVAL;
    }
    while (atomic_flag_test_and_set_explicit(&writing, memory_order_acquire))
        ; /* another thread is in the same few microseconds */
    code = replace(profiles, count, default_index);
    atomic_flag_clear_explicit(&writing, memory_order_release);
    return code;
}

const wsasec_profile *wsasec_profile_at(uint16_t number)
{
    return number < atomic_load_explicit(&used, memory_order_acquire) ? known_at(number) : NULL;
}

const wsasec_profile *wsasec_profile_builtin(void)
{
    return &builtin;
}

const wsasec_profile *wsasec_profile_find(const wsasec_guid *guid, uint16_t *number)
{
    const struct set *set = atomic_load_explicit(&in_use, memory_order_acquire);

    if (!guid) {
        *number = set->default_number;
        return known_at(set->default_number);
    }
    for (size_t i = 0; i < set->count; i++) {
        const wsasec_profile *profile = known_at(set->numbers[i]);

        if (memcmp(&profile->guid, guid, sizeof *guid) == 0) {
            *number = set->numbers[i];
            return profile;
        }
    }
    return NULL;
}

const wsasec_profile *wsasec_profile_of_mark(uint32_t mark, uint16_t *number)
{
    const struct set *set = atomic_load_explicit(&in_use, memory_order_acquire);

    for (size_t i = 0; i < set->count; i++) {
        const wsasec_profile *profile = known_at(set->numbers[i]);

        if ((mark & profile->mask) == profile->mark) {
            *number = set->numbers[i];
            return profile;
        }
    }
    return NULL;
}

int wsasec_profile_marks(uint32_t mark)
{
    uint16_t number;

    return wsasec_profile_of_mark(mark, &number) != NULL;
}
