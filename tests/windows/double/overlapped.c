/* SPDX-License-Identifier: Apache-2.0 */
/* Overlapped calls: completed at once, or by a thread. */
#include "double.h"

#include <mswsock.h>
#include <stdlib.h>
#include <string.h>
#include <winternl.h>

/* Wine's own request to complete a request of a socket: it finds the port and the key that the socket has. */
#define COMPLETE_BY_WINE 0x120348
#define CHANGE_OF_ADDRESSES 0x28000017 /* SIO_ADDRESS_LIST_CHANGE: pending until there is one */

#define CANCELLED 0xC0000120

NTSTATUS NTAPI NtSetIoCompletion(HANDLE port, ULONG_PTR key, ULONG_PTR value, NTSTATUS status, ULONG_PTR information);

struct pending {
    SOCKET socket;
    OVERLAPPED *overlapped;
    LPWSAOVERLAPPED_COMPLETION_ROUTINE routine;
    HANDLE thread; /* of the caller, for its routine */
    struct record *record;
    struct answer answer;
    int has_answer;
    uint32_t status;
    int on_release;
    uint64_t due;
    uint64_t number;
};

static CRITICAL_SECTION lock;
static HANDLE wake;
static int is_running;
static struct pending *waiting;
static size_t waiting_count;
static size_t waiting_room;
static uint64_t last_number;

static uint64_t now(void) /* in microseconds */
{
    LARGE_INTEGER frequency;
    LARGE_INTEGER ticks;

    QueryPerformanceFrequency(&frequency);
    QueryPerformanceCounter(&ticks);
    return (uint64_t)((double)ticks.QuadPart * 1e6 / (double)frequency.QuadPart);
}

static const struct port *port_of(SOCKET socket)
{
    for (uint32_t i = 0; i < shared->port_count && i < DOUBLE_PORTS; i++)
        if (!shared->ports[i].socket || shared->ports[i].socket == socket)
            return &shared->ports[i];
    return NULL;
}

/* What a completion routine is called with. */
struct routine {
    LPWSAOVERLAPPED_COMPLETION_ROUTINE function;
    OVERLAPPED *overlapped;
    DWORD error;
    DWORD length;
};

static void CALLBACK call_routine(ULONG_PTR parameter)
{
    struct routine *routine = (struct routine *)parameter;
    const struct routine copy = *routine;

    free(routine);
    copy.function(copy.error, copy.length, copy.overlapped, 0);
}

/* Once anybody can know that it is completed, its memory is the caller's again. */
static void complete(struct pending *one)
{
    OVERLAPPED *overlapped = one->overlapped;
    const uintptr_t event = (uintptr_t)overlapped->hEvent;
    const HANDLE handle = (HANDLE)(event & ~(uintptr_t)1); /* the lowest bit: no packet, please */
    const DWORD length = one->has_answer && !one->status ? one->answer.length : 0;
    const struct port *port = port_of(one->socket);
    NTSTATUS status = (NTSTATUS)one->status;

    if (length)
        answer_give(&one->answer);
    if (one->record) {
        one->record->status = one->status;
        InterlockedExchange(&one->record->completed, InterlockedIncrement(&shared->completed));
    } else {
        InterlockedIncrement(&shared->completed);
    }
    if (one->routine || port || handle) {
        overlapped->InternalHigh = length;
        InterlockedExchange64((volatile LONG64 *)&overlapped->Internal, (LONG64)one->status);
    }
    if (one->routine) {
        struct routine *routine = malloc(sizeof *routine);
        DWORD flags;
        DWORD unused;

        if (!routine)
            abort();
        routine->function = one->routine;
        routine->overlapped = overlapped;
        routine->length = length;
        routine->error = WSAGetOverlappedResult(one->socket, overlapped, &unused, FALSE, &flags)
                             ? 0
                             : (DWORD)WSAGetLastError();
        QueueUserAPC(call_routine, one->thread, (ULONG_PTR)routine);
        CloseHandle(one->thread);
        return;
    }
    if (port) {
        if (!(event & 1))
            NtSetIoCompletion((HANDLE)(uintptr_t)port->port, port->key, (uintptr_t)overlapped, status, length);
        if (handle)
            SetEvent(handle);
        return;
    }
    if (NtDeviceIoControlFile((HANDLE)one->socket, handle, NULL, event & 1 ? NULL : overlapped,
                              (IO_STATUS_BLOCK *)(void *)overlapped, COMPLETE_BY_WINE, &status, sizeof status, NULL,
                              0) == status)
        return;
    /* It is closed, or this is not Wine: only who looks at the structure itself is told. */
    if (!handle)
        InterlockedExchange64((volatile LONG64 *)&overlapped->Internal, (LONG64)one->status);
    else
        SetEvent(handle);
}

static int earlier(const void *left, const void *right)
{
    const struct pending *one = left;
    const struct pending *other = right;

    if (one->due != other->due)
        return one->due < other->due ? -1 : 1;
    return one->number < other->number ? -1 : one->number > other->number;
}

/* Takes those out that are due, or all; they are ordered, and the caller frees them. */
static struct pending *take(size_t *count, size_t *left, int all)
{
    struct pending *taken;
    size_t kept = 0;
    const uint64_t time = now();

    *count = 0;
    EnterCriticalSection(&lock);
    taken = malloc(sizeof *taken * (waiting_count + 1));
    if (!taken)
        abort();
    for (size_t i = 0; i < waiting_count; i++) {
        const struct pending *one = &waiting[i];

        if (all || (one->on_release ? !one->record || one->record->release : one->due <= time))
            taken[(*count)++] = *one;
        else
            waiting[kept++] = *one;
    }
    waiting_count = kept;
    *left = kept;
    LeaveCriticalSection(&lock);
    qsort(taken, *count, sizeof *taken, earlier);
    return taken;
}

static DWORD WINAPI work(void *unused)
{
    (void)unused;
    for (;;) {
        size_t count;
        size_t left;
        struct pending *due = take(&count, &left, 0);

        for (size_t i = 0; i < count; i++) {
            complete(&due[i]);
            InterlockedDecrement(&shared->pending);
        }
        free(due);
        WaitForSingleObject(wake, left ? 1 : INFINITE);
    }
    return 0;
}

static uint32_t random_number(void)
{
    uint32_t x = shared->seed ? shared->seed : 1;

    x ^= x << 13;
    x ^= x >> 17;
    x ^= x << 5;
    return shared->seed = x;
}

static void wait(const struct pending *one, enum mode mode, uint32_t delay)
{
    struct pending *place;

    EnterCriticalSection(&lock);
    if (waiting_count == waiting_room) {
        waiting_room = waiting_room ? 2 * waiting_room : 256;
        waiting = realloc(waiting, sizeof *waiting * waiting_room);
        if (!waiting)
            abort();
    }
    place = &waiting[waiting_count++];
    *place = *one;
    place->number = ++last_number;
    place->on_release = mode == ON_RELEASE;
    place->due = mode == ON_RELEASE ? 0 : now() + (mode == RANDOM ? random_number() % (delay + 1) : delay);
    InterlockedIncrement(&shared->pending);
    if (!is_running) {
        is_running = 1;
        CloseHandle(CreateThread(NULL, 0, work, NULL, 0, NULL));
    }
    LeaveCriticalSection(&lock);
    SetEvent(wake);
}

INT overlapped_end(struct call *call, SOCKET socket, OVERLAPPED *overlapped,
                   LPWSAOVERLAPPED_COMPLETION_ROUTINE routine, const struct answer *answer)
{
    const enum mode mode = (enum mode)shared->told[call->function].mode;
    const uint32_t delay = shared->told[call->function].delay;
    const HANDLE event = (HANDLE)((uintptr_t)overlapped->hEvent & ~(uintptr_t)1);
    struct pending one = {
        .socket = socket,
        .overlapped = overlapped,
        .routine = routine,
        .record = call->record,
        .status = call->status,
        .has_answer = answer != NULL,
    };
    INT result;

    if (mode == NEVER) {
        DWORD unused;
        uint32_t error = 0;

        if (WSAIoctl(socket, CHANGE_OF_ADDRESSES, NULL, 0, NULL, 0, &unused, overlapped, routine))
            error = (uint32_t)WSAGetLastError();
        return call_end(call, error);
    }
    if (answer)
        one.answer = *answer;
    if (routine)
        DuplicateHandle(GetCurrentProcess(), GetCurrentThread(), GetCurrentProcess(), &one.thread, 0, FALSE,
                        DUPLICATE_SAME_ACCESS);
    else if (event)
        ResetEvent(event);
    overlapped->Internal = STATUS_PENDING;
    overlapped->InternalHigh = 0;
    if (mode == AT_ONCE) {
        complete(&one);
        return call_end(call, 0);
    }
    result = call_end(call, WSA_IO_PENDING); /* before it is seen to be completed */
    wait(&one, mode, delay);
    WSASetLastError(WSA_IO_PENDING);
    return result;
}

void overlapped_start(void)
{
    InitializeCriticalSection(&lock);
    wake = CreateEventW(NULL, FALSE, FALSE, NULL);
}

void overlapped_reset(void)
{
    size_t count;
    size_t left;
    struct pending *all = take(&count, &left, 1);

    for (size_t i = 0; i < count; i++) {
        all[i].status = CANCELLED;
        complete(&all[i]);
        InterlockedDecrement(&shared->pending);
    }
    free(all);
    while (shared->pending > 0 && is_running) /* what the thread has taken just now */
        Sleep(0);
}
