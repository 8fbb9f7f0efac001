/* SPDX-License-Identifier: Apache-2.0 */
#include "replay.h"

#include <errno.h>

enum { NUMBERS = 32 }; /* that a word stands for */

/* A ring holds the window and one word more: a window that does not begin with a word reaches into one more of them. */
static uint32_t words_of(uint32_t window)
{
    const uint32_t needed = (window + NUMBERS - 1) / NUMBERS + 1;
    uint32_t words = 1;

    while (words < needed)
        words *= 2;
    return words;
}

size_t wse_replay_size(uint32_t window)
{
    size_t size;

    if (window < WSE_REPLAY_MIN || window > WSE_REPLAY_MAX)
        return 0;
    size = sizeof(struct wse_replay) + words_of(window) * sizeof(uint64_t);
    return (size + 63) / 64 * 64;
}

int wse_replay_init(struct wse_replay *replay, uint32_t window)
{
    if (!wse_replay_size(window))
        return -EINVAL;
    atomic_init(&replay->top, 0);
    replay->window = window;
    replay->mask = words_of(window) - 1;
    replay->shift = (uint32_t)__builtin_ctz(replay->mask + 1);
    for (uint32_t i = 0; i <= replay->mask; i++)
        atomic_init(&replay->words[i], 0);
    return 0;
}

/* Whether it is in the window below top, or right of it. */
static bool is_in(const struct wse_replay *replay, uint64_t sequence, uint64_t top)
{
    return sequence && (sequence > top || top - sequence < replay->window);
}

struct place {
    uint32_t index; /* of the word */
    uint32_t lap;   /* of the ring, modulo 2**32 */
    uint32_t bit;
};

static struct place place_of(const struct wse_replay *replay, uint64_t sequence)
{
    const uint64_t word = sequence / NUMBERS;

    return (struct place){.index = (uint32_t)word & replay->mask,
                          .lap = (uint32_t)(word >> replay->shift),
                          .bit = UINT32_C(1) << (sequence % NUMBERS)};
}

bool wse_replay_check(const struct wse_replay *replay, uint64_t sequence)
{
    const struct place place = place_of(replay, sequence);
    const uint64_t word = atomic_load_explicit(&replay->words[place.index], memory_order_relaxed);

    if (!is_in(replay, sequence, atomic_load_explicit(&replay->top, memory_order_relaxed)))
        return false;
    return word >> 32 != place.lap || !(word & place.bit);
}

bool wse_replay_update(struct wse_replay *replay, uint64_t sequence)
{
    const struct place place = place_of(replay, sequence);
    _Atomic uint64_t *at = &replay->words[place.index];
    uint64_t top = atomic_load_explicit(&replay->top, memory_order_acquire);
    uint64_t word;
    uint64_t noted;

    if (!is_in(replay, sequence, top))
        return false;
    while (sequence > top) {
        if (atomic_compare_exchange_weak_explicit(&replay->top, &top, sequence, memory_order_acq_rel,
                                                  memory_order_acquire))
            break;
        if (!is_in(replay, sequence, top))
            return false;
    }
    word = atomic_load_explicit(at, memory_order_acquire);
    do {
        if (word >> 32 == place.lap) {
            if (word & place.bit)
                return false;
            noted = word | place.bit;
        } else {
            /* Who wrote a later lap had raised the top before, and out of the window of this number. */
            if (!is_in(replay, sequence, atomic_load_explicit(&replay->top, memory_order_acquire)))
                return false;
            noted = (uint64_t)place.lap << 32 | place.bit;
        }
    } while (!atomic_compare_exchange_weak_explicit(at, &word, noted, memory_order_acq_rel, memory_order_acquire));
    return true;
}

uint64_t wse_replay_infer(const struct wse_replay *replay, uint32_t low)
{
    const uint64_t top = atomic_load_explicit(&replay->top, memory_order_acquire);
    const uint32_t top_low = (uint32_t)top;
    const uint32_t bottom_low = top_low - replay->window + 1; /* as RFC 4303 does, modulo 2**32 */
    uint64_t high = top >> 32;

    if (top_low >= replay->window - 1) { /* case A: the window is within one half-space of 2**32 */
        if (low < bottom_low)
            high++;
    } else if (low >= bottom_low && high > 0) { /* case B: it spans two, and this is in the lower, if there is one */
        high--;
    }
    return high << 32 | low;
}
