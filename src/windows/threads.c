/* SPDX-License-Identifier: Apache-2.0 */
/* Processors, threads and the clock. */
#include <winsock2.h>
#include <windows.h>

#include <process.h>

#include "../backend.h"

unsigned wsasec_backend_processors(void)
{
    DWORD_PTR own = 0;
    DWORD_PTR all = 0;
    unsigned count = 0;

    if (!GetProcessAffinityMask(GetCurrentProcess(), &own, &all) || !own) /* in several groups of processors */
        return WSASEC_THREADS_MAX;
    for (; own; own &= own - 1)
        count++;
    return count;
}

uint64_t wsasec_backend_clock(void)
{
    const uint64_t second = UINT64_C(1000000000);
    LARGE_INTEGER frequency; /* the same while the system runs */
    LARGE_INTEGER now;
    uint64_t ticks;
    uint64_t rate;

    QueryPerformanceFrequency(&frequency);
    QueryPerformanceCounter(&now);
    ticks = (uint64_t)now.QuadPart;
    rate = (uint64_t)frequency.QuadPart;
    return ticks / rate * second + ticks % rate * second / rate;
}

struct worker {
    HANDLE thread;
    void (*work)(void *, unsigned);
    void *context;
    unsigned number;
};

static unsigned __stdcall worker_main(void *argument)
{
    struct worker *worker = argument;

    worker->work(worker->context, worker->number);
    return 0;
}

void wsasec_backend_parallel(unsigned count, void (*work)(void *, unsigned), void *context)
{
    struct worker workers[WSASEC_THREADS_MAX];
    unsigned started = 1;

    for (unsigned i = 1; i < count && i < WSASEC_THREADS_MAX; i++) {
        struct worker *worker = &workers[started];

        worker->work = work;
        worker->context = context;
        worker->number = i;
        worker->thread = (HANDLE)_beginthreadex(NULL, 0, worker_main, worker, 0, NULL);
        if (!worker->thread)
            break;
        started++;
    }
    work(context, 0);
    for (unsigned i = 1; i < started; i++) {
        WaitForSingleObject(workers[i].thread, INFINITE);
        CloseHandle(workers[i].thread);
    }
}
