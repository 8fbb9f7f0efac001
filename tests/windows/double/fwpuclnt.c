/* SPDX-License-Identifier: Apache-2.0 */
/* The six functions of ws2tcpip.h. That header is not included: it has them as imports. */
#include "double.h"

#include <stdio.h>
#include <string.h>
#include <winternl.h>

#define HELD 4096

struct shared *shared;

/* Another handle of each that was handed out: the object tells how many are open. */
static HANDLE held[HELD];
static volatile LONG held_count;

void call_begin(struct call *call, enum function function, uint64_t socket, const void *input, uint32_t length)
{
    struct told *told = &shared->told[function];
    const uint32_t seen = (uint32_t)InterlockedIncrement(&told->seen) - 1;
    const LONG number = InterlockedIncrement(&shared->count) - 1;
    const int fails = seen >= told->skip && (!told->times || seen - told->skip < told->times);

    call->function = function;
    call->error = fails ? told->error : 0;
    call->status = fails ? told->status : 0;
    call->record = number < DOUBLE_CALLS ? &shared->records[number] : NULL;
    if (!call->record)
        return;
    call->record->socket = socket;
    call->record->function = function;
    call->record->thread = GetCurrentThreadId();
    call->record->pointers = input ? HAS_INPUT : 0;
    call->record->length = length;
    call->record->exclusive = 2;
    if (input)
        memcpy(call->record->bytes, input, length < DOUBLE_BYTES ? length : DOUBLE_BYTES);
}

INT call_end(struct call *call, uint32_t error)
{
    if (call->record) {
        call->record->error = error;
        call->record->result = error ? (uint32_t)SOCKET_ERROR : 0;
        InterlockedExchange(&call->record->written, 1);
    }
    if (!error)
        return 0;
    WSASetLastError((int)error);
    return SOCKET_ERROR;
}

static void begin(struct call *call, enum function function, SOCKET socket, const void *input, ULONG length,
                  const void *overlapped, LPWSAOVERLAPPED_COMPLETION_ROUTINE routine)
{
    BOOL exclusive = FALSE;
    int size = sizeof exclusive;

    call_begin(call, function, socket, input, length);
    if (!call->record)
        return;
    call->record->overlapped = (uintptr_t)overlapped;
    memcpy(&call->record->routine, &routine, sizeof routine);
    call->record->pointers |= (overlapped ? HAS_OVERLAPPED : 0u) | (routine ? HAS_ROUTINE : 0u);
    if (shared->look && getsockopt(socket, SOL_SOCKET, SO_EXCLUSIVEADDRUSE, (char *)&exclusive, &size) == 0)
        call->record->exclusive = exclusive != FALSE;
}

static INT end(struct call *call, SOCKET socket, OVERLAPPED *overlapped, LPWSAOVERLAPPED_COMPLETION_ROUTINE routine)
{
    if (call->error || !overlapped)
        return call_end(call, call->error);
    return overlapped_end(call, socket, overlapped, routine, NULL);
}

EXPORT INT WSAAPI WSASetSocketSecurity(SOCKET socket, const void *settings, ULONG settings_len,
                                       LPWSAOVERLAPPED overlapped, LPWSAOVERLAPPED_COMPLETION_ROUTINE routine)
{
    const BOOL on = TRUE;
    struct call call;

    if (shared->bare) {
        shared->count++;
        if (settings)
            memcpy(shared->last, settings, settings_len < DOUBLE_BYTES ? settings_len : DOUBLE_BYTES);
        return 0;
    }
    begin(&call, SET_SECURITY, socket, settings, settings_len, overlapped, routine);
    if (shared->exclusive && setsockopt(socket, SOL_SOCKET, SO_EXCLUSIVEADDRUSE, (const char *)&on, sizeof on))
        return call_end(&call, (uint32_t)WSAGetLastError());
    return end(&call, socket, overlapped, routine);
}

/* A new object, and a second handle of it to know it by. */
static uint64_t token(void)
{
    HANDLE handle = NULL;
    HANDLE own = NULL;
    LONG number;

    if (shared->handles == TOKENS)
        OpenProcessToken(GetCurrentProcess(), TOKEN_QUERY | TOKEN_DUPLICATE | TOKEN_IMPERSONATE, &own);
    else
        own = CreateEventW(NULL, FALSE, FALSE, NULL);
    if (shared->handles == TOKENS && own) {
        DuplicateToken(own, SecurityImpersonation, &handle); /* one of its own */
        CloseHandle(own);
        own = handle;
    }
    number = InterlockedIncrement(&held_count) - 1;
    if (!own || number >= HELD ||
        !DuplicateHandle(GetCurrentProcess(), own, GetCurrentProcess(), &handle, 0, FALSE, DUPLICATE_SAME_ACCESS))
        return 0;
    held[number] = own;
    return (uintptr_t)handle;
}

void answer_give(const struct answer *answer)
{
    memcpy(answer->info, answer->bytes, answer->length);
    *answer->info_len = answer->length;
}

EXPORT INT WSAAPI WSAQuerySocketSecurity(SOCKET socket, const void *template_, ULONG template_len, void *info,
                                         ULONG *info_len, LPWSAOVERLAPPED overlapped,
                                         LPWSAOVERLAPPED_COMPLETION_ROUTINE routine)
{
    const uint8_t *given = template_;
    struct answer answer = {.info = info, .info_len = info_len};
    uint32_t protocol = 1;
    uint32_t mask = 0;
    struct call call;

    begin(&call, QUERY_SECURITY, socket, template_, template_len, overlapped, routine);
    if (call.record) {
        call.record->pointers |= (info ? HAS_OUTPUT : 0u) | (info_len ? HAS_LENGTH : 0u);
        call.record->output_length = info_len ? *info_len : 0;
    }
    if (call.error)
        return call_end(&call, call.error);
    if (!info_len)
        return call_end(&call, WSAEFAULT);
    if (given && template_len >= 4)
        memcpy(&protocol, given, sizeof protocol);
    if (given && template_len >= 140)
        memcpy(&mask, given + 136, sizeof mask);
    answer.length = shared->info_length ? shared->info_length : protocol == 2 ? 64 : 24;
    if (!info || *info_len < answer.length) {
        *info_len = answer.length;
        return call_end(&call, info ? WSAEMSGSIZE : shared->size_error);
    }
    memcpy(answer.bytes, shared->info, sizeof answer.bytes);
    memcpy(answer.bytes, &protocol, sizeof protocol);
    if (mask && shared->handles != NO_HANDLES && !call.status) {
        const uint64_t tokens[2] = {token(), token()};

        memcpy(answer.bytes + 8, tokens, sizeof tokens);
    }
    if (overlapped)
        return overlapped_end(&call, socket, overlapped, routine, &answer);
    answer_give(&answer);
    return call_end(&call, 0);
}

EXPORT INT WSAAPI WSASetSocketPeerTargetName(SOCKET socket, const void *name, ULONG name_len,
                                             LPWSAOVERLAPPED overlapped, LPWSAOVERLAPPED_COMPLETION_ROUTINE routine)
{
    struct call call;

    begin(&call, SET_PEER_NAME, socket, name, name_len, overlapped, routine);
    return end(&call, socket, overlapped, routine);
}

EXPORT INT WSAAPI WSADeleteSocketPeerTargetName(SOCKET socket, const struct sockaddr *peer, ULONG peer_len,
                                                LPWSAOVERLAPPED overlapped,
                                                LPWSAOVERLAPPED_COMPLETION_ROUTINE routine)
{
    struct call call;

    begin(&call, DELETE_PEER_NAME, socket, peer, peer_len, overlapped, routine);
    return end(&call, socket, overlapped, routine);
}

EXPORT INT WSAAPI WSAImpersonateSocketPeer(SOCKET socket, const struct sockaddr *peer, ULONG peer_len)
{
    struct call call;

    begin(&call, IMPERSONATE, socket, peer, peer_len, NULL, NULL);
    return call_end(&call, call.error);
}

EXPORT INT WSAAPI WSARevertImpersonation(void)
{
    struct call call;

    call_begin(&call, REVERT, 0, NULL, 0);
    return call_end(&call, call.error);
}

EXPORT uint32_t WsasecDoubleVersion(void)
{
    return DOUBLE_VERSION;
}

/* For measurements: whether the calls are to cost as little as can be, and how many there were. */
EXPORT void WsasecDoubleBare(uint32_t bare)
{
    shared->bare = bare;
    shared->count = 0;
}

EXPORT uint32_t WsasecDoubleCount(void)
{
    return (uint32_t)shared->count;
}

/* A loop in C that does nothing but call, by a pointer as who loads the library does. Returns how many calls failed. */
EXPORT uint32_t WsasecDoubleLoop(const int32_t *sockets, uint32_t count, const void *settings, uint32_t settings_len)
{
    INT(WSAAPI *volatile place)(SOCKET, const void *, ULONG, LPWSAOVERLAPPED, LPWSAOVERLAPPED_COMPLETION_ROUTINE) =
        WSASetSocketSecurity;
    uint32_t failed = 0;

    for (uint32_t i = 0; i < count; i++)
        failed += place((SOCKET)sockets[i], settings, settings_len, NULL, NULL) != 0;
    return failed;
}

/* How many of the handles that were handed out are open. */
EXPORT uint32_t WsasecDoubleOpenHandles(void)
{
    const LONG count = held_count < HELD ? held_count : HELD;
    uint32_t open = 0;

    for (LONG i = 0; i < count; i++) {
        PUBLIC_OBJECT_BASIC_INFORMATION basic = {.HandleCount = 0};

        if (held[i] && NtQueryObject(held[i], ObjectBasicInformation, &basic, sizeof basic, NULL) == 0)
            open += basic.HandleCount - 1;
    }
    return open;
}

static void begin_anew(void)
{
    const LONG count = shared->count < DOUBLE_CALLS ? shared->count : DOUBLE_CALLS;

    memset(shared->records, 0, sizeof shared->records[0] * (size_t)count);
    memset(shared, 0, offsetof(struct shared, records));
    shared->version = DOUBLE_VERSION;
    shared->size = sizeof *shared;
    shared->look = 1;
    shared->exclusive = 1;
    shared->seed = 1;
    shared->size_error = WSAEMSGSIZE;
}

/* As it was when it was loaded. No call may be under way; those that are pending are completed as cancelled. */
EXPORT void WsasecDoubleReset(void)
{
    const LONG count = held_count < HELD ? held_count : HELD;

    overlapped_reset();
    wfp_reset();
    for (LONG i = 0; i < count; i++) {
        if (held[i])
            CloseHandle(held[i]);
        held[i] = NULL;
    }
    held_count = 0;
    begin_anew();
}

static int share(void)
{
    char name[128];
    const DWORD length = GetEnvironmentVariableA("WSASEC_DOUBLE", name, sizeof name);
    HANDLE mapping;
    int is_new;

    if (!length || length >= sizeof name)
        snprintf(name, sizeof name, "wsasec-double-%lu", (unsigned long)GetCurrentProcessId());
    mapping = CreateFileMappingA(INVALID_HANDLE_VALUE, NULL, PAGE_READWRITE, 0, sizeof *shared, name);
    is_new = GetLastError() != ERROR_ALREADY_EXISTS;
    if (!mapping)
        return 0;
    shared = MapViewOfFile(mapping, FILE_MAP_ALL_ACCESS, 0, 0, sizeof *shared);
    if (shared && (is_new || !shared->version))
        begin_anew();
    return shared != NULL;
}

BOOL WINAPI DllMain(HINSTANCE instance, DWORD reason, void *reserved)
{
    (void)reserved;
    if (reason != DLL_PROCESS_ATTACH)
        return TRUE;
    DisableThreadLibraryCalls(instance);
    if (!share())
        return FALSE;
    overlapped_start();
    wfp_start();
    return TRUE;
}
