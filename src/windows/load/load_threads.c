/* SPDX-License-Identifier: Apache-2.0 */
/* Threads of the loops, their locks, and memory for them. */
#include "../../backend.h"

#include <winsock2.h>
#include <windows.h>

#include <malloc.h>
#include <process.h>
#include <stdlib.h>

#include "../../load/system.h"

struct wsasec_gate {
    SRWLOCK lock;
    CONDITION_VARIABLE called;
};

struct wsasec_gate *wsasec_gate_new(void)
{
    struct wsasec_gate *gate = malloc(sizeof *gate);

    if (!gate)
        return NULL;
    InitializeSRWLock(&gate->lock);
    InitializeConditionVariable(&gate->called);
    return gate;
}

void wsasec_gate_free(struct wsasec_gate *gate)
{
    free(gate);
}

void wsasec_gate_lock(struct wsasec_gate *gate)
{
    AcquireSRWLockExclusive(&gate->lock);
}

void wsasec_gate_unlock(struct wsasec_gate *gate)
{
    ReleaseSRWLockExclusive(&gate->lock);
}

void wsasec_gate_call(struct wsasec_gate *gate)
{
    WakeAllConditionVariable(&gate->called);
}

int wsasec_gate_wait(struct wsasec_gate *gate, uint64_t until)
{
    const uint64_t millisecond = 1000000;
    const uint64_t hour = 3600000;

    for (;;) {
        const uint64_t now = wsasec_backend_clock();
        uint64_t left;

        if (now >= until)
            return 1;
        left = (until - now - 1) / millisecond + 1;
        if (SleepConditionVariableSRW(&gate->called, &gate->lock, (DWORD)(left < hour ? left : hour), 0))
            return 0;
    }
}

static unsigned __stdcall thread_main(void *argument)
{
    struct wsasec_thread *thread = argument;

    thread->work(thread->argument);
    return 0;
}

int wsasec_thread_run(struct wsasec_thread *thread, void *(*work)(void *), void *argument)
{
    thread->work = work;
    thread->argument = argument;
    thread->id = _beginthreadex(NULL, 0, thread_main, thread, 0, NULL);
    return thread->id ? 0 : WSAENOBUFS;
}

void wsasec_thread_join(struct wsasec_thread *thread)
{
    WaitForSingleObject((HANDLE)thread->id, INFINITE);
    CloseHandle((HANDLE)thread->id);
}

uint64_t wsasec_process(void)
{
    return GetCurrentProcessId();
}

void *wsasec_aligned_new(size_t alignment, size_t size)
{
    return _aligned_malloc(size, alignment);
}

void wsasec_aligned_free(void *memory)
{
    _aligned_free(memory);
}
