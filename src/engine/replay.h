/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The window against replay (RFC 4303 section 3.4.3), as a ring of words without shifts (RFC 6479), for sequence
 * numbers of 32 or 64 bits.
 *
 * Any number of threads may use one window, without locks. RFC 6479 clears the words that the window slides over; here
 * a word says itself which numbers it stands for: its upper half is the lap of the ring, its lower half 32 numbers. A
 * word of an older lap counts as empty. So to note a number is one compare-and-swap on one word, which only one thread
 * can win for one number, and a jump forward costs no more than a step. The top is raised before the word is written:
 * who finds a word of another lap looks at the top again, and knows then whether that lap is past, or its own number
 * is.
 *
 * A lap is kept modulo 2**32. A word that nothing was written to for exactly so many laps (2**39 numbers and more)
 * would be taken for one of now, and new numbers for repeated ones, never the reverse; no stream of packets leaves a
 * word out for so long.
 */
#ifndef WSASEC_ENGINE_REPLAY_H
#define WSASEC_ENGINE_REPLAY_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { WSE_REPLAY_MIN = 64, WSE_REPLAY_DEFAULT = 1024, WSE_REPLAY_MAX = 65536 };

struct wse_replay {
    _Alignas(64) _Atomic uint64_t top; /* the highest number that was authenticated */
    uint32_t window;                   /* packets */
    uint32_t mask;                     /* words of the ring, less one */
    uint32_t shift;                    /* log2 of the words */
    _Alignas(64) _Atomic uint64_t words[];
};

/* Bytes of a window of so many packets; a multiple of 64. 0: it is not WSE_REPLAY_MIN to WSE_REPLAY_MAX. */
size_t wse_replay_size(uint32_t window);

/* Makes an empty one in wse_replay_size() bytes aligned to 64. -EINVAL: no such window. */
int wse_replay_init(struct wse_replay *replay, uint32_t window);

/* The highest number that was authenticated; 0: none. */
static inline uint64_t wse_replay_top(const struct wse_replay *replay)
{
    return atomic_load_explicit(&replay->top, memory_order_acquire);
}

/* Whether the number is new, as far as is known before its packet is authenticated. Changes nothing. */
bool wse_replay_check(const struct wse_replay *replay, uint64_t sequence);

/*
 * Notes the number of a packet that was authenticated. False: it is 0, left of the window, or was noted before,
 * perhaps by another thread since the check: the packet is dropped. Exactly one call for a number returns true.
 */
bool wse_replay_update(struct wse_replay *replay, uint64_t sequence);

/*
 * The sequence number of 64 bits whose lower half was received, next to the window (RFC 4303 appendix A2.1). It may be
 * below the window: then the check, or the tag, refuses it.
 */
uint64_t wse_replay_infer(const struct wse_replay *replay, uint32_t low);

#endif
