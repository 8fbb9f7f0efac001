/* SPDX-License-Identifier: Apache-2.0 */
#include "turns.h"

void wse_turns_begin(struct wse_turns *turns, uint64_t now)
{
    const uint64_t from = turns->until > now ? turns->until : now;
    const uint64_t more = now + WSE_TURN_BEGIN - from;
    const uint64_t paid = (turns->paid > now ? turns->paid : now) + more * WSE_TURN_SHARE;

    if (paid - now > WSE_TURN_MOST * WSE_TURN_SHARE)
        return;
    turns->until = now + WSE_TURN_BEGIN;
    turns->paid = paid;
}

enum wse_turn wse_turns_next(const struct wse_turns *turns, int brisk, uint64_t now)
{
    return turns->both && (!brisk || now < turns->until) ? WSE_REAL_TIME : WSE_ORDINARY;
}
