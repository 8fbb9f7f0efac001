/* SPDX-License-Identifier: Apache-2.0 */
/* Whose turn it is: real time sleeps and begins connections, but not for more than its share. */
/* Compiled with: turns.c */
#include "check.h"
#include "turns.h"

static void alone(void)
{
    struct wse_turns turns = {.both = 0};

    CHECK(wse_turns_next(&turns, 0, 5) == WSE_ORDINARY);
    wse_turns_begin(&turns, 5);
    CHECK(wse_turns_next(&turns, 1, 5) == WSE_ORDINARY);
    CHECK(wse_turns_next(&turns, 0, 5) == WSE_ORDINARY);
}

static void asleep_and_brisk(void)
{
    const struct wse_turns turns = {.both = 1};

    CHECK(wse_turns_next(&turns, 0, 0) == WSE_REAL_TIME);
    CHECK(wse_turns_next(&turns, 1, 0) == WSE_ORDINARY);
}

static void begins(uint64_t now)
{
    struct wse_turns turns = {.both = 1};

    wse_turns_begin(&turns, now);
    CHECK(wse_turns_next(&turns, 1, now) == WSE_REAL_TIME);
    CHECK(wse_turns_next(&turns, 1, now + WSE_TURN_BEGIN - 1) == WSE_REAL_TIME);
    CHECK(wse_turns_next(&turns, 1, now + WSE_TURN_BEGIN) == WSE_ORDINARY);
    /* The next one goes on from there. */
    wse_turns_begin(&turns, now + 7);
    CHECK(wse_turns_next(&turns, 1, now + WSE_TURN_BEGIN + 6) == WSE_REAL_TIME);
    CHECK(wse_turns_next(&turns, 1, now + WSE_TURN_BEGIN + 7) == WSE_ORDINARY);
}

/* So many of the next milliseconds are real time's, with a connection in every step-th of them. */
static unsigned shared(struct wse_turns *turns, uint64_t now, unsigned milliseconds, unsigned step)
{
    unsigned found = 0;

    for (unsigned i = 0; i < milliseconds; i++) {
        if (i % step == 0)
            wse_turns_begin(turns, now + i);
        found += wse_turns_next(turns, 1, now + i) == WSE_REAL_TIME;
    }
    return found;
}

static void a_burst_and_a_share(uint64_t now, unsigned step)
{
    enum { LONG = 100 * WSE_TURN_MOST };
    struct wse_turns turns = {.both = 1};
    unsigned found = shared(&turns, now, WSE_TURN_MOST / 2, step);

    /* A burst has all of it. */
    CHECK(found == WSE_TURN_MOST / 2);
    found += shared(&turns, now + WSE_TURN_MOST / 2, LONG, step);
    CHECK(found <= WSE_TURN_MOST + (LONG + WSE_TURN_MOST / 2) / WSE_TURN_SHARE + WSE_TURN_BEGIN);
    CHECK(found >= LONG / WSE_TURN_SHARE);
    /* Paid back, the next burst has all of it again. */
    now += LONG + WSE_TURN_MOST * (WSE_TURN_SHARE + 1);
    CHECK(shared(&turns, now, WSE_TURN_MOST / 2, step) == WSE_TURN_MOST / 2);
}

int main(void)
{
    alone();
    asleep_and_brisk();
    for (uint64_t now = 0; now < UINT64_C(1) << 50; now = now * 3 + 1) {
        begins(now);
        a_burst_and_a_share(now, 1);
        a_burst_and_a_share(now, 3);
        a_burst_and_a_share(now, WSE_TURN_BEGIN);
    }
    return 0;
}
