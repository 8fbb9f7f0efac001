/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Overlapped calls of WSASetSocketSecurity, many at a time, through a completion port.
 *
 * Windows may read the settings, and write an OVERLAPPED, until a call is completed. Both are in one block, which is
 * freed when all calls are, however the flight ends: one that Windows does not complete in time is set aside.
 */
#include "../backend.h"

#include <stdlib.h>
#include <string.h>
#include <winsock2.h>
#include <winternl.h>

#include "explain.h"
#include "failure.h"
#include "library.h"

struct call {
    OVERLAPPED overlapped; /* the first member: its address is the call's */
    SOCKET socket;
    int busy;
    int attached; /* the socket, to the port */
};

typedef NTSTATUS NTAPI set_information(HANDLE, PIO_STATUS_BLOCK, PVOID, ULONG, ULONG);

struct wsasec_flight {
    struct wsasec_flight *next; /* of those set aside */
    const struct wsasec_library *library;
    set_information *set_information; /* or NULL */
    HANDLE port;
    unsigned char *settings;
    uint32_t settings_len;
    unsigned busy;
    struct call calls[];
};

static SRWLOCK lock = SRWLOCK_INIT;
static struct wsasec_flight *set_aside;

static uint64_t milliseconds(uint64_t nanoseconds)
{
    const uint64_t rounded = nanoseconds / 1000000 + (nanoseconds % 1000000 != 0);

    return rounded < INFINITE ? rounded : INFINITE - 1;
}

/* Lets the socket have another port: it can belong to one only. Windows 8.1 and later; else it stays with this one. */
static void detach(const struct wsasec_flight *flight, struct call *call)
{
    enum { REPLACE_COMPLETION = 61 }; /* FileReplaceCompletionInformation, ntifs.h */
    struct {
        HANDLE port;
        PVOID key;
    } none = {NULL, NULL};
    IO_STATUS_BLOCK block;

    if (call->attached && flight->set_information)
        (void)flight->set_information((HANDLE)call->socket, &block, &none, sizeof none, REPLACE_COMPLETION);
    call->attached = 0;
}

/* The library that is in every process has it; import libraries need not. */
static set_information *find_set_information(void)
{
    const HMODULE ntdll = GetModuleHandleW(L"ntdll.dll");
    set_information *function = NULL;

    if (ntdll)
        (void)wsasec_function_find(ntdll, "NtSetInformationFile", &function, sizeof function);
    return function;
}

static void destroy(struct wsasec_flight *flight)
{
    if (flight->port)
        CloseHandle(flight->port);
    if (flight->settings) {
        wsasec_wipe(flight->settings, flight->settings_len);
        free(flight->settings);
    }
    free(flight);
}

/* Takes what was completed meanwhile. Returns whether all is. */
static int is_over(struct wsasec_flight *flight)
{
    unsigned slot;
    int32_t error;

    while (flight->busy && wsasec_backend_flight_land(flight, 0, &slot, &error))
        continue;
    return !flight->busy;
}

static void look_after_those_set_aside(void)
{
    struct wsasec_flight **place = &set_aside;

    AcquireSRWLockExclusive(&lock);
    while (*place) {
        struct wsasec_flight *flight = *place;

        if (is_over(flight)) {
            *place = flight->next;
            destroy(flight);
        } else {
            place = &flight->next;
        }
    }
    ReleaseSRWLockExclusive(&lock);
}

struct wsasec_flight *wsasec_backend_flight_open(const struct wsasec_request *request, unsigned window,
                                                 wsasec_status *status)
{
    const int has_settings = request->settings && request->settings_len;
    const struct wsasec_library *library;
    struct wsasec_flight *flight;

    if (wsasec_library_get(&library, status))
        return NULL;
    look_after_those_set_aside();
    flight = calloc(1, sizeof *flight + window * sizeof flight->calls[0]);
    if (!flight) {
        wsasec_fail(status, WSASEC_STEP_SECURE, WSASEC_REASON_NO_MEMORY, 0);
        return NULL;
    }
    flight->library = library;
    flight->set_information = find_set_information();
    flight->settings_len = request->settings_len;
    flight->settings = has_settings ? malloc(request->settings_len) : NULL;
    flight->port = CreateIoCompletionPort(INVALID_HANDLE_VALUE, NULL, 0, 1);
    if (!flight->port || (has_settings && !flight->settings)) {
        wsasec_fail(status, WSASEC_STEP_SECURE, WSASEC_REASON_NO_MEMORY, flight->port ? 0 : (int32_t)GetLastError());
        destroy(flight);
        return NULL;
    }
    if (has_settings)
        memcpy(flight->settings, request->settings, request->settings_len);
    return flight;
}

int32_t wsasec_backend_flight_start(struct wsasec_flight *flight, unsigned slot, wsasec_socket socket,
                                    wsasec_status *status)
{
    struct call *call = &flight->calls[slot];
    int32_t error;

    memset(call, 0, sizeof *call);
    call->socket = (SOCKET)socket;
    /* One that is not overlapped, or is on the port of an event loop, is secured here and now. */
    call->attached = CreateIoCompletionPort((HANDLE)call->socket, flight->port, 0, 0) != NULL;
    call->overlapped.Internal = 0x103; /* STATUS_PENDING: a packet of a call before is told from one of this */
    call->busy = call->attached;
    flight->busy += (unsigned)call->busy;
    error = flight->library->set_socket_security(call->socket, flight->settings, flight->settings_len,
                                                 call->attached ? &call->overlapped : NULL, NULL)
                ? WSAGetLastError()
                : 0;
    if (error == WSA_IO_PENDING && call->busy)
        return wsasec_fail_winsock(status, WSASEC_STEP_SECURE, error);
    flight->busy -= (unsigned)call->busy;
    call->busy = 0;
    detach(flight, call);
    return error ? wsasec_explain(socket, error, status) : 0;
}

int wsasec_backend_flight_land(struct wsasec_flight *flight, uint64_t nanoseconds, unsigned *slot, int32_t *error)
{
    const uint64_t until = wsasec_after(wsasec_backend_clock(), nanoseconds);
    uint64_t now;

    do {
        OVERLAPPED *overlapped = NULL;
        ULONG_PTR key;
        DWORD bytes;
        DWORD flags;
        struct call *call;

        now = wsasec_backend_clock();
        (void)GetQueuedCompletionStatus(flight->port, &bytes, &key, &overlapped,
                                        (DWORD)milliseconds(now < until ? until - now : 0));
        if (!overlapped)
            return 0;
        call = (struct call *)(void *)overlapped;
        if (!call->busy || !HasOverlappedIoCompleted(overlapped))
            continue; /* of a call that was done at once, and whose place has another by now */
        *error = WSAGetOverlappedResult(call->socket, overlapped, &bytes, FALSE, &flags) ? 0 : WSAGetLastError();
        *slot = (unsigned)(call - flight->calls);
        call->busy = 0;
        flight->busy--;
        /* One that failed may be closed, and its number another's, whose own port would be taken away. */
        if (!*error)
            detach(flight, call);
        return 1;
    } while (now < until);
    return 0;
}

void wsasec_backend_flight_cancel(struct wsasec_flight *flight, unsigned slot)
{
    struct call *call = &flight->calls[slot];

    if (call->busy)
        (void)CancelIoEx((HANDLE)call->socket, &call->overlapped); /* not found: it is completed */
}

void wsasec_backend_flight_close(struct wsasec_flight *flight)
{
    if (is_over(flight)) {
        destroy(flight);
        return;
    }
    AcquireSRWLockExclusive(&lock);
    flight->next = set_aside;
    set_aside = flight;
    ReleaseSRWLockExclusive(&lock);
}
