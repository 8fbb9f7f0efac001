/* SPDX-License-Identifier: Apache-2.0 */
/* Waiting for sockets: an epoll for each thread, and an eventfd for all of them that ends it. */
#define _GNU_SOURCE /* epoll_pwait2 */
#include <errno.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/prctl.h>
#include <time.h>
#include <unistd.h>

#include "../../load/system.h"

_Static_assert(WSASEC_POLL_IN == EPOLLIN && WSASEC_POLL_OUT == EPOLLOUT && WSASEC_POLL_FAILED == EPOLLERR &&
                   WSASEC_POLL_GONE == EPOLLHUP && WSASEC_POLL_ENDED == EPOLLRDHUP,
               "what epoll tells");
_Static_assert((uint32_t)WSASEC_POLL_ONCE == (uint32_t)EPOLLONESHOT &&
                   (uint32_t)WSASEC_POLL_EDGE == (uint32_t)EPOLLET &&
                   (uint32_t)WSASEC_POLL_EXCLUSIVE == (uint32_t)EPOLLEXCLUSIVE,
               "how epoll tells it");

enum { EVENTS = 256, MILLISECOND = 1000000 };

struct wsasec_poll {
    int epoll;
};

struct wsasec_polls {
    unsigned count;
    int wake; /* eventfd, or -1 */
    struct wsasec_poll all[];
};

static int control(struct wsasec_poll *poll, int how, int32_t socket, uint64_t key, uint32_t events)
{
    struct epoll_event event = {.events = events, .data.u64 = key};

    return epoll_ctl(poll->epoll, how, socket, &event) ? errno : 0;
}

struct wsasec_polls *wsasec_polls_open(unsigned count, int wakes, int *error)
{
    struct wsasec_polls *polls = malloc(sizeof *polls + count * sizeof *polls->all);

    *error = ENOMEM;
    if (!polls)
        return NULL;
    polls->count = 0;
    polls->wake = wakes ? eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK) : -1;
    *error = wakes && polls->wake < 0 ? errno : 0;
    while (!*error && polls->count < count) {
        struct wsasec_poll *poll = &polls->all[polls->count];

        poll->epoll = epoll_create1(EPOLL_CLOEXEC);
        if (poll->epoll < 0) {
            *error = errno;
            break;
        }
        polls->count++;
        if (wakes)
            *error = control(poll, EPOLL_CTL_ADD, polls->wake, WSASEC_POLL_WAKE, EPOLLIN);
    }
    if (!*error)
        return polls;
    wsasec_polls_close(polls);
    return NULL;
}

void wsasec_polls_close(struct wsasec_polls *polls)
{
    if (!polls)
        return;
    for (unsigned i = 0; i < polls->count; i++)
        close(polls->all[i].epoll);
    if (polls->wake >= 0)
        close(polls->wake);
    free(polls);
}

struct wsasec_poll *wsasec_polls_at(struct wsasec_polls *polls, unsigned number)
{
    return &polls->all[number];
}

void wsasec_polls_wake(struct wsasec_polls *polls)
{
    const uint64_t one = 1;

    /* A counter that is full wakes as well. */
    while (write(polls->wake, &one, sizeof one) < 0 && errno == EINTR)
        continue;
}

int wsasec_poll_add(struct wsasec_poll *poll, int32_t socket, uint64_t key, uint32_t events)
{
    return control(poll, EPOLL_CTL_ADD, socket, key, events);
}

int wsasec_poll_change(struct wsasec_poll *poll, int32_t socket, uint64_t key, uint32_t events)
{
    return control(poll, EPOLL_CTL_MOD, socket, key, events);
}

void wsasec_poll_remove(struct wsasec_poll *poll, int32_t socket)
{
    (void)epoll_ctl(poll->epoll, EPOLL_CTL_DEL, socket, NULL);
}

/* It sees by itself that something comes, or goes. */
void wsasec_poll_again(struct wsasec_poll *poll, int32_t socket, uint32_t events)
{
    (void)poll;
    (void)socket;
    (void)events;
}

void wsasec_poll_is_punctual(struct wsasec_poll *poll)
{
    (void)poll;
    prctl(PR_SET_TIMERSLACK, 1000ul, 0ul, 0ul, 0ul); /* nanoseconds, of this thread */
}

int wsasec_poll_wait(struct wsasec_poll *poll, struct wsasec_event *events, int room, uint64_t nanoseconds)
{
    const uint64_t second = UINT64_C(1000000000);
    struct epoll_event found[EVENTS];
    int count;

    if (room > EVENTS)
        room = EVENTS;
    if (nanoseconds == UINT64_MAX) {
        count = epoll_wait(poll->epoll, found, room, -1);
    } else if (nanoseconds % MILLISECOND == 0 && nanoseconds <= second) { /* on kernels before 5.11, too */
        count = epoll_wait(poll->epoll, found, room, (int)(nanoseconds / MILLISECOND));
    } else {
        const struct timespec time = {.tv_sec = (time_t)(nanoseconds / second), .tv_nsec = (long)(nanoseconds % second)};

        count = epoll_pwait2(poll->epoll, found, room, &time, NULL);
    }
    for (int i = 0; i < count; i++)
        events[i] = (struct wsasec_event){.key = found[i].data.u64, .events = found[i].events};
    return count;
}
