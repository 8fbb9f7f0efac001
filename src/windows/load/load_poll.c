/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Waiting for sockets: a completion port for each thread, to which the requests come that ask of one socket each. A
 * request is answered once; those that are still of interest are made again before the thread waits. There are two for a
 * socket, as an interest in one direction should not have to take back what was asked of the other.
 */
#include <stdatomic.h>
#include <stdlib.h>

#include "afd.h"

#include <mswsock.h> /* SIO_BASE_HANDLE */

#include "../../load/system.h"

#ifndef CREATE_WAITABLE_TIMER_HIGH_RESOLUTION
#define CREATE_WAITABLE_TIMER_HIGH_RESOLUTION 0x2 /* Windows 10 1803 */
#endif

enum { CHUNK = 64, PACKETS = 128, HANDLE_STEP = 4, PORT_WAKE = 0, PORT_REQUEST = 1, PATIENCE_MS = 1000 };

enum { READING, WRITING, REQUESTS };

static const ULONG asked[REQUESTS] = {
    AFD_RECEIVE | AFD_ACCEPT | AFD_DISCONNECT | AFD_ABORT | AFD_LOCAL_CLOSE,
    AFD_SEND | AFD_CONNECT_FAIL | AFD_ABORT | AFD_LOCAL_CLOSE,
};

struct watch;

struct request {
    OVERLAPPED overlapped; /* first */
    struct afd_poll poll;
    struct watch *watch;
    uint8_t number;
    uint8_t pending;
    uint8_t stale; /* made for a socket that is no longer watched */
};

struct watch {
    struct request requests[REQUESTS];
    struct watch *next; /* of those that are to be looked at before the thread waits */
    uint64_t key;
    uint64_t round; /* of waiting, in which it has the event of this index */
    int index;
    int32_t socket;
    HANDLE base;     /* the driver's handle of the socket */
    uint32_t wanted; /* events, and how */
    uint32_t told;   /* of WSASEC_POLL_EDGE: not told again until asked for again */
    uint8_t active;
    uint8_t listed;
};

struct wsasec_poll {
    struct wsasec_polls *polls;
    SRWLOCK lock; /* of all below, but the handles */
    struct watch **chunks; /* by handle */
    size_t chunk_count;
    struct watch *first; /* of those that are to be looked at */
    uint64_t round;
    uint32_t pending; /* requests */
    SOCKET helper; /* whose handle the requests go to, and come back from to the port */
    HANDLE port;
    HANDLE timer; /* NULL: the clock's ticks are good enough */
};

struct wsasec_polls {
    unsigned count;
    atomic_int woken;
    struct wsasec_poll all[];
};

/* --- which sockets there are --- */

static int make_room(struct wsasec_poll *poll, size_t chunk)
{
    size_t count = poll->chunk_count ? poll->chunk_count : 16;
    struct watch **chunks;

    while (count <= chunk)
        count *= 2;
    if (count == poll->chunk_count)
        return 1;
    chunks = realloc(poll->chunks, count * sizeof(struct watch *));
    if (!chunks)
        return 0;
    for (size_t i = poll->chunk_count; i < count; i++)
        chunks[i] = NULL;
    poll->chunks = chunks;
    poll->chunk_count = count;
    return 1;
}

static struct watch *place_of(struct wsasec_poll *poll, int32_t socket, int make)
{
    const size_t place = (size_t)socket / HANDLE_STEP;
    const size_t chunk = place / CHUNK;

    if (socket < 0 || (chunk >= poll->chunk_count && !make) || (make && !make_room(poll, chunk)))
        return NULL;
    if (!poll->chunks[chunk] && make)
        poll->chunks[chunk] = calloc(CHUNK, sizeof(struct watch));
    return poll->chunks[chunk] ? &poll->chunks[chunk][place % CHUNK] : NULL;
}

static struct watch *watch_of(struct wsasec_poll *poll, int32_t socket)
{
    struct watch *watch = place_of(poll, socket, 0);

    return watch && watch->active && watch->socket == socket ? watch : NULL;
}

/* --- requests --- */

static int is_of_interest(const struct watch *watch, int number)
{
    if (!watch->active)
        return 0;
    if (number == READING)
        return watch->wanted & (WSASEC_POLL_IN | WSASEC_POLL_ENDED) && !(watch->told & WSASEC_POLL_IN);
    return watch->wanted & WSASEC_POLL_OUT && !(watch->told & WSASEC_POLL_OUT);
}

static int make_request(struct wsasec_poll *poll, struct watch *watch, int number)
{
    static const OVERLAPPED fresh;
    struct request *request = &watch->requests[number];

    request->overlapped = fresh;
    request->poll.timeout.QuadPart = INT64_MAX;
    request->poll.count = 1;
    request->poll.exclusive = 0;
    request->poll.socket = watch->base;
    request->poll.events = asked[number];
    request->poll.status = 0;
    request->watch = watch;
    request->number = (uint8_t)number;
    request->stale = 0;
    /* Answered at once, it comes to the port as well. */
    if (!DeviceIoControl((HANDLE)poll->helper, AFD_POLL_REQUEST, &request->poll, sizeof request->poll, &request->poll,
                         sizeof request->poll, NULL, &request->overlapped) &&
        GetLastError() != ERROR_IO_PENDING)
        return GetLastError() == ERROR_INVALID_HANDLE ? WSAENOTSOCK : WSAENOBUFS;
    request->pending = 1;
    poll->pending++;
    return 0;
}

static int make_requests(struct wsasec_poll *poll, struct watch *watch)
{
    int error = 0;

    for (int number = READING; number < REQUESTS && !error; number++)
        if (!watch->requests[number].pending && is_of_interest(watch, number))
            error = make_request(poll, watch, number);
    return error;
}

static void list(struct wsasec_poll *poll, struct watch *watch)
{
    if (watch->listed)
        return;
    watch->listed = 1;
    watch->next = poll->first;
    poll->first = watch;
}

static void take_back(struct wsasec_poll *poll, struct watch *watch)
{
    for (int number = READING; number < REQUESTS; number++) {
        struct request *request = &watch->requests[number];

        if (!request->pending || request->stale)
            continue;
        request->stale = 1;
        (void)CancelIoEx((HANDLE)poll->helper, &request->overlapped);
    }
}

/* --- what is asked of a poll --- */

int wsasec_poll_add(struct wsasec_poll *poll, int32_t socket, uint64_t key, uint32_t events)
{
    struct watch *watch;
    DWORD size;
    int error = WSAENOBUFS;

    AcquireSRWLockExclusive(&poll->lock);
    watch = place_of(poll, socket, 1);
    if (watch && watch->active) {
        error = wsasec_own_errors.added_before;
    } else if (watch) {
        watch->socket = socket;
        /* Another where somebody has put a layer in between. */
        if (WSAIoctl((SOCKET)socket, SIO_BASE_HANDLE, NULL, 0, &watch->base, sizeof watch->base, &size, NULL, NULL))
            watch->base = (HANDLE)(uintptr_t)socket;
        watch->key = key;
        watch->wanted = events;
        watch->told = 0;
        watch->active = 1;
        error = make_requests(poll, watch);
        if (error) {
            watch->active = 0;
            take_back(poll, watch);
        }
    }
    ReleaseSRWLockExclusive(&poll->lock);
    return error;
}

int wsasec_poll_change(struct wsasec_poll *poll, int32_t socket, uint64_t key, uint32_t events)
{
    struct watch *watch;

    AcquireSRWLockExclusive(&poll->lock);
    watch = watch_of(poll, socket);
    if (watch) {
        watch->key = key;
        watch->wanted = events;
        watch->told = 0;
        list(poll, watch);
    }
    ReleaseSRWLockExclusive(&poll->lock);
    return watch ? 0 : WSAENOTSOCK;
}

void wsasec_poll_again(struct wsasec_poll *poll, int32_t socket, uint32_t events)
{
    struct watch *watch;

    AcquireSRWLockExclusive(&poll->lock);
    watch = watch_of(poll, socket);
    if (watch && watch->told & events) {
        watch->told &= ~events;
        list(poll, watch);
    }
    ReleaseSRWLockExclusive(&poll->lock);
}

void wsasec_poll_remove(struct wsasec_poll *poll, int32_t socket)
{
    struct watch *watch;

    AcquireSRWLockExclusive(&poll->lock);
    watch = watch_of(poll, socket);
    if (watch) {
        watch->active = 0;
        take_back(poll, watch);
    }
    ReleaseSRWLockExclusive(&poll->lock);
}

/* --- answers --- */

static uint32_t events_of(ULONG answer)
{
    uint32_t events = 0;

    if (answer & (AFD_RECEIVE | AFD_ACCEPT))
        events |= WSASEC_POLL_IN;
    if (answer & AFD_SEND)
        events |= WSASEC_POLL_OUT;
    if (answer & AFD_DISCONNECT)
        events |= WSASEC_POLL_IN | WSASEC_POLL_ENDED;
    if (answer & (AFD_ABORT | AFD_CONNECT_FAIL))
        events |= WSASEC_POLL_IN | WSASEC_POLL_OUT | WSASEC_POLL_ENDED | WSASEC_POLL_FAILED | WSASEC_POLL_GONE;
    return events;
}

/* Adds an event, or to the event that the socket has already. Returns how many there are then. */
static int tell(struct wsasec_poll *poll, struct watch *watch, uint32_t told, struct wsasec_event *events, int count)
{
    told &= watch->wanted | WSASEC_POLL_FAILED | WSASEC_POLL_GONE;
    if (!told)
        return count;
    if (watch->round != poll->round) {
        watch->round = poll->round;
        watch->index = count++;
        events[watch->index] = (struct wsasec_event){.key = watch->key};
    }
    events[watch->index].events |= told;
    if (watch->wanted & WSASEC_POLL_EDGE)
        watch->told |= told;
    if (watch->wanted & WSASEC_POLL_ONCE)
        watch->wanted = 0;
    return count;
}

static int answered(struct wsasec_poll *poll, struct request *request, struct wsasec_event *events, int count)
{
    struct watch *watch = request->watch;
    const int is_stale = request->stale;

    request->pending = 0;
    request->stale = 0;
    poll->pending--;
    if (!watch->active)
        return count;
    list(poll, watch);
    if (is_stale || !watch->wanted)
        return count;
    if (request->overlapped.Internal) { /* the driver's status */
        const uint32_t failed = WSASEC_POLL_FAILED | WSASEC_POLL_GONE;

        watch->told |= WSASEC_POLL_IN | WSASEC_POLL_OUT; /* not asked again and again */
        return tell(poll, watch, failed, events, count);
    }
    if (!request->poll.count)
        return count;
    if (request->poll.events & AFD_LOCAL_CLOSE) { /* by somebody else, who may have the number again */
        watch->active = 0;
        take_back(poll, watch);
        return count;
    }
    return tell(poll, watch, events_of(request->poll.events), events, count);
}

/* --- waiting --- */

/* Before the thread waits: makes the requests that are of interest. Returns how many events that had. */
static int look_at_listed(struct wsasec_poll *poll, struct wsasec_event *events, int room)
{
    int count = 0;

    while (poll->first && count < room) {
        struct watch *watch = poll->first;

        poll->first = watch->next;
        watch->listed = 0;
        if (watch->active && make_requests(poll, watch)) {
            watch->told |= WSASEC_POLL_IN | WSASEC_POLL_OUT;
            count = tell(poll, watch, WSASEC_POLL_FAILED | WSASEC_POLL_GONE, events, count);
        }
    }
    return count;
}

static VOID CALLBACK time_has_come(LPVOID argument, DWORD low, DWORD high)
{
    (void)argument;
    (void)low;
    (void)high;
}

static ULONG take_packets(struct wsasec_poll *poll, OVERLAPPED_ENTRY *packets, ULONG room, uint64_t nanoseconds)
{
    const uint64_t millisecond = 1000000;
    DWORD timeout = INFINITE;
    BOOL is_timed = FALSE;
    ULONG count = 0;

    if (nanoseconds < millisecond * (INFINITE - 1)) {
        if (poll->timer && nanoseconds) {
            LARGE_INTEGER due = {.QuadPart = -(LONGLONG)(nanoseconds / 100 + 1)};

            is_timed = SetWaitableTimer(poll->timer, &due, 0, time_has_come, NULL, FALSE);
        }
        if (!is_timed)
            timeout = (DWORD)((nanoseconds + millisecond - 1) / millisecond);
    }
    return GetQueuedCompletionStatusEx(poll->port, packets, room, &count, timeout, is_timed) ? count : 0;
}

int wsasec_poll_wait(struct wsasec_poll *poll, struct wsasec_event *events, int room, uint64_t nanoseconds)
{
    OVERLAPPED_ENTRY packets[PACKETS];
    ULONG found;
    int count;

    if (atomic_load_explicit(&poll->polls->woken, memory_order_acquire)) {
        events[0] = (struct wsasec_event){.key = WSASEC_POLL_WAKE};
        return 1;
    }
    AcquireSRWLockExclusive(&poll->lock);
    poll->round++;
    count = look_at_listed(poll, events, room);
    ReleaseSRWLockExclusive(&poll->lock);
    if (count == room)
        return count;
    found = take_packets(poll, packets, (ULONG)(room - count < PACKETS ? room - count : PACKETS),
                         count ? 0 : nanoseconds);
    AcquireSRWLockExclusive(&poll->lock);
    for (ULONG i = 0; i < found; i++)
        if (packets[i].lpCompletionKey == PORT_REQUEST)
            count = answered(poll, (struct request *)(void *)packets[i].lpOverlapped, events, count);
    ReleaseSRWLockExclusive(&poll->lock);
    return count;
}

/* --- life --- */

void wsasec_poll_is_punctual(struct wsasec_poll *poll)
{
    if (!poll->timer)
        poll->timer = CreateWaitableTimerExW(NULL, NULL, CREATE_WAITABLE_TIMER_HIGH_RESOLUTION, TIMER_ALL_ACCESS);
}

static int open_one(struct wsasec_poll *poll)
{
    InitializeSRWLock(&poll->lock);
    poll->port = CreateIoCompletionPort(INVALID_HANDLE_VALUE, NULL, 0, 1);
    if (!poll->port)
        return WSAENOBUFS;
    poll->helper = WSASocketW(AF_INET, SOCK_DGRAM, IPPROTO_UDP, NULL, 0,
                              WSA_FLAG_OVERLAPPED | WSA_FLAG_NO_HANDLE_INHERIT);
    if (poll->helper == INVALID_SOCKET)
        return WSAGetLastError();
    return CreateIoCompletionPort((HANDLE)poll->helper, poll->port, PORT_REQUEST, 0) ? 0 : WSAENOBUFS;
}

struct wsasec_polls *wsasec_polls_open(unsigned count, int wakes, int *error)
{
    struct wsasec_polls *polls = calloc(1, sizeof *polls + count * sizeof *polls->all);

    (void)wakes;
    *error = polls ? 0 : WSAENOBUFS;
    for (; polls && polls->count < count && !*error; polls->count++) {
        struct wsasec_poll *poll = &polls->all[polls->count];

        poll->polls = polls;
        poll->helper = INVALID_SOCKET;
        *error = open_one(poll);
    }
    if (!*error)
        return polls;
    wsasec_polls_close(polls);
    return NULL;
}

/* The requests' memory is the driver's until they have come back. Returns whether they all have. */
static int drain(struct wsasec_poll *poll)
{
    OVERLAPPED_ENTRY packets[PACKETS];
    ULONG found;

    if (poll->pending)
        (void)CancelIoEx((HANDLE)poll->helper, NULL);
    while (poll->pending && GetQueuedCompletionStatusEx(poll->port, packets, PACKETS, &found, PATIENCE_MS, FALSE))
        for (ULONG i = 0; i < found; i++)
            if (packets[i].lpCompletionKey == PORT_REQUEST)
                poll->pending--;
    return !poll->pending;
}

void wsasec_polls_close(struct wsasec_polls *polls)
{
    if (!polls)
        return;
    for (unsigned i = 0; i < polls->count; i++) {
        struct wsasec_poll *poll = &polls->all[i];
        const int is_drained = drain(poll);

        if (poll->timer)
            CloseHandle(poll->timer);
        if (poll->helper != INVALID_SOCKET)
            closesocket(poll->helper);
        if (poll->port)
            CloseHandle(poll->port);
        for (size_t j = 0; is_drained && j < poll->chunk_count; j++)
            free(poll->chunks[j]);
        free(poll->chunks);
    }
    free(polls);
}

struct wsasec_poll *wsasec_polls_at(struct wsasec_polls *polls, unsigned number)
{
    return &polls->all[number];
}

void wsasec_polls_wake(struct wsasec_polls *polls)
{
    atomic_store_explicit(&polls->woken, 1, memory_order_release);
    for (unsigned i = 0; i < polls->count; i++)
        (void)PostQueuedCompletionStatus(polls->all[i].port, 0, PORT_WAKE, NULL);
}
