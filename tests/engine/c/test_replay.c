/* SPDX-License-Identifier: Apache-2.0 */
/* Compiled with threads: replay.c */
#include "replay.h"

#include <errno.h>
#include <pthread.h>
#include <string.h>

#include "check.h"

static struct wse_replay *window_of(uint32_t window)
{
    const size_t size = wse_replay_size(window);
    struct wse_replay *replay;

    CHECK(size && size % 64 == 0);
    replay = aligned_alloc(64, size);
    CHECK(replay);
    memset(replay, 0xa5, size); /* its memory may have any content */
    CHECK(wse_replay_init(replay, window) == 0);
    CHECK(wse_replay_top(replay) == 0);
    return replay;
}

static bool noted(struct wse_replay *replay, uint64_t sequence)
{
    const bool before = wse_replay_check(replay, sequence);
    const bool updated = wse_replay_update(replay, sequence);

    CHECK(before == updated);
    CHECK(!wse_replay_check(replay, sequence));
    return updated;
}

static void test_sizes(void)
{
    struct wse_replay none;

    CHECK(!wse_replay_size(0) && !wse_replay_size(63) && !wse_replay_size(65537) && !wse_replay_size(UINT32_MAX));
    CHECK(wse_replay_init(&none, 63) == -EINVAL && wse_replay_init(&none, 65537) == -EINVAL);
    CHECK(wse_replay_size(64) == 64 + 64);             /* 3 words, so 4 of them */
    CHECK(wse_replay_size(65536) == 64 + 4096 * 8);    /* 2,049 words */
    CHECK(wse_replay_size(65536 - 32) == 64 + 2048 * 8); /* 2,048 words */
}

static void test_edges(uint32_t window)
{
    struct wse_replay *replay = window_of(window);
    const uint64_t far = UINT64_C(10) << 32;

    CHECK(!noted(replay, 0));
    CHECK(noted(replay, 1) && !noted(replay, 1));
    CHECK(noted(replay, window) && wse_replay_top(replay) == window);
    CHECK(!noted(replay, 1) && noted(replay, 2));    /* 1 is at the left edge, and was seen */
    CHECK(noted(replay, (uint64_t)window + 3));
    CHECK(!noted(replay, 3) && noted(replay, 4));    /* 3 is just left of it */
    CHECK(wse_replay_top(replay) == (uint64_t)window + 3);

    /* A jump empties it, however far. */
    CHECK(noted(replay, far));
    for (uint64_t sequence = far - window + 1; sequence < far; sequence++)
        CHECK(noted(replay, sequence));
    for (uint64_t sequence = far - window - 70; sequence <= far; sequence++)
        CHECK(!noted(replay, sequence));

    /* Half of them, each second; then the others. */
    for (uint64_t sequence = far + 2; sequence <= far + 2 * window; sequence += 2)
        CHECK(noted(replay, sequence));
    for (uint64_t sequence = (far + window + 1) | 1; sequence < far + 2 * window; sequence += 2)
        CHECK(noted(replay, sequence));
    for (uint64_t sequence = far; sequence <= far + 2 * window; sequence++)
        CHECK(!noted(replay, sequence));

    CHECK(noted(replay, UINT64_MAX) && noted(replay, UINT64_MAX - window + 1) && !noted(replay, UINT64_MAX - window));
    CHECK(!noted(replay, UINT64_MAX) && !noted(replay, 1) && !noted(replay, 0));
    free(replay);
}

/* RFC 4303 appendix A2: figures 1 and 2 of it, with numbers. */
static void test_infer(void)
{
    const uint64_t half = UINT64_C(1) << 32;
    struct wse_replay *replay = window_of(64);

    /* Nothing yet: all is of the first half-space, though the window reaches below it. */
    CHECK(wse_replay_infer(replay, 1) == 1);
    CHECK(wse_replay_infer(replay, UINT32_MAX) == UINT32_MAX);

    /* Case A: the window is within a half-space. */
    CHECK(wse_replay_update(replay, 5 * half + 1000));
    CHECK(wse_replay_infer(replay, 1000) == 5 * half + 1000);
    CHECK(wse_replay_infer(replay, 1001) == 5 * half + 1001);
    CHECK(wse_replay_infer(replay, 1000 - 63) == 5 * half + 1000 - 63); /* the left edge */
    CHECK(wse_replay_infer(replay, 1000 - 64) == 6 * half + 1000 - 64); /* not in it, so to come */
    CHECK(wse_replay_infer(replay, UINT32_MAX) == 6 * half - 1);
    CHECK(wse_replay_infer(replay, 0) == 6 * half);

    /* The narrowest case A: it begins with the half-space. */
    CHECK(wse_replay_update(replay, 6 * half + 63));
    CHECK(wse_replay_infer(replay, 0) == 6 * half);
    CHECK(wse_replay_infer(replay, UINT32_MAX) == 7 * half - 1);

    /* Case B: it begins in the half-space before. */
    CHECK(wse_replay_update(replay, 7 * half + 62));
    CHECK(wse_replay_infer(replay, 0) == 7 * half);
    CHECK(wse_replay_infer(replay, UINT32_MAX) == 7 * half - 1); /* the left edge */
    CHECK(wse_replay_infer(replay, UINT32_MAX - 1) == 8 * half - 2);

    /* Behind the last half-space there is none. What is inferred there is refused. */
    CHECK(wse_replay_update(replay, UINT64_MAX - 10));
    CHECK(wse_replay_infer(replay, UINT32_MAX) == UINT64_MAX);
    CHECK(!wse_replay_check(replay, wse_replay_infer(replay, 5)));
    free(replay);
}

enum { THREADS = 4, NUMBERS = 40000 };

struct shared {
    struct wse_replay *replay;
    _Atomic uint32_t accepted[NUMBERS + 1];
    pthread_barrier_t barrier;
};

/* Each thread tells of all numbers, in an order that is near that of the others, but not the same. */
static void *tell(void *argument)
{
    static _Atomic uint64_t seed = 1;
    struct shared *shared = argument;
    uint64_t state = 0x9e3779b97f4a7c15 * atomic_fetch_add(&seed, 1);

    pthread_barrier_wait(&shared->barrier);
    for (uint32_t base = 0; base < NUMBERS; base += 16)
        for (uint32_t i = 0; i < 48; i++) {
            const uint64_t sequence = base + drawn(&state) % 32;

            if (sequence <= NUMBERS && wse_replay_check(shared->replay, sequence) &&
                wse_replay_update(shared->replay, sequence))
                atomic_fetch_add(&shared->accepted[sequence], 1);
        }
    return NULL;
}

/* No number is accepted twice, whatever the threads do; and with a window that holds all of them none is lost. */
static void test_many_threads(uint32_t window)
{
    struct shared *shared = calloc(1, sizeof *shared);
    pthread_t threads[THREADS];
    uint32_t sum = 0;

    CHECK(shared);
    shared->replay = window_of(window);
    CHECK(pthread_barrier_init(&shared->barrier, NULL, THREADS) == 0);
    for (int i = 0; i < THREADS; i++)
        CHECK(pthread_create(&threads[i], NULL, tell, shared) == 0);
    for (int i = 0; i < THREADS; i++)
        CHECK(pthread_join(threads[i], NULL) == 0);
    CHECK(atomic_load(&shared->accepted[0]) == 0);
    for (uint32_t sequence = 1; sequence <= NUMBERS; sequence++) {
        const uint32_t accepted = atomic_load(&shared->accepted[sequence]);

        CHECK(accepted <= 1);
        sum += accepted;
        /* In a window that nothing left, an accepted number is one that was noted. */
        if (window > NUMBERS)
            CHECK(wse_replay_check(shared->replay, sequence) == !accepted);
    }
    CHECK(sum > NUMBERS / 4);
    CHECK(pthread_barrier_destroy(&shared->barrier) == 0);
    free(shared->replay);
    free(shared);
}

int main(void)
{
    test_sizes();
    for (uint32_t window = WSE_REPLAY_MIN; window <= 200; window++)
        test_edges(window);
    test_edges(1024);
    test_edges(WSE_REPLAY_MAX - 1);
    test_edges(WSE_REPLAY_MAX);
    test_infer();
    test_many_threads(WSE_REPLAY_MAX);
    test_many_threads(WSE_REPLAY_MIN);
    test_many_threads(100);
    return 0;
}
