/* SPDX-License-Identifier: Apache-2.0 */
/* Awake or asleep, a wait ends with what came, and with nothing only when its time is over. */
/* Compiled with threads: wait.c */
#include <pthread.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "check.h"
#include "wait.h"

enum { TIMES = 2000 };

static int there, back;

/* Answers each event with one, at once. */
static void *answer(void *unused)
{
    uint64_t times;

    (void)unused;
    for (int i = 0; i < TIMES; i++) {
        CHECK(read(there, &times, sizeof times) == sizeof times);
        CHECK(times == 1);
        CHECK(write(back, &times, sizeof times) == sizeof times);
    }
    return NULL;
}

static void ask(unsigned microseconds, int awake)
{
    struct epoll_event event = {.events = EPOLLIN, .data.u32 = 7}, events[2];
    struct wse_wait wait;
    pthread_t thread;
    uint64_t times = 1;
    const int epoll = epoll_create1(0);

    there = eventfd(0, 0);
    back = eventfd(0, 0);
    CHECK(epoll >= 0 && there >= 0 && back >= 0);
    CHECK(!epoll_ctl(epoll, EPOLL_CTL_ADD, back, &event));
    wse_wait_start(&wait, epoll, microseconds);
    CHECK(wse_wait(&wait, events, 2, 0, awake) == 0);
    CHECK(!pthread_create(&thread, NULL, answer, NULL));
    for (int i = 0; i < TIMES; i++) {
        CHECK(write(there, &times, sizeof times) == sizeof times);
        CHECK(wse_wait(&wait, events, 2, -1, awake) == 1);
        CHECK(events[0].data.u32 == 7);
        CHECK(read(back, &times, sizeof times) == sizeof times);
        CHECK(times == 1);
    }
    CHECK(!pthread_join(thread, NULL));
    CHECK(wse_wait(&wait, events, 2, 1, awake) == 0);
    /* What is there already is told without a wait, however long that could be. */
    CHECK(write(back, &times, sizeof times) == sizeof times);
    CHECK(wse_wait(&wait, events, 2, -1, awake) == 1);
    CHECK(!close(there) && !close(back) && !close(epoll));
}

int main(void)
{
    ask(0, 1);
    ask(WSE_SPIN, 0);
    ask(WSE_SPIN, 1);
    ask(WSE_SPIN_MAX, 1);
    return 0;
}
