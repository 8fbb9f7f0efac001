/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Loading fwpuclnt.dll. Only from the system's folder: one of that name beside the program, or in the current folder,
 * would otherwise be taken, and would see every secret. Before any of its functions is called it is known that all are
 * there, and are no stubs: those of Wine end the process.
 */
#include "library.h"

#include <string.h>

#include "../core/errors.h"

static struct wsasec_library functions;
static HMODULE module;
static INIT_ONCE once = INIT_ONCE_STATIC_INIT;
static wsasec_status failed; /* with the code 0: all is there */

static INIT_ONCE winsock_once = INIT_ONCE_STATIC_INIT;
static int winsock_error;

/* Wine's own modules say so behind their DOS header. */
static int is_wines(HMODULE loaded)
{
    static const char signature[] = "Wine builtin DLL";

    return memcmp((const char *)(const void *)loaded + 0x40, signature, sizeof signature - 1) == 0;
}

/* A pointer to a function has no common type to convert by. */
int wsasec_function_find(HMODULE from, const char *name, void *place, size_t size)
{
    FARPROC found = GetProcAddress(from, name);

    if (!found || size != sizeof found)
        return 0;
    memcpy(place, &found, sizeof found);
    return 1;
}

#define FIND(member, name) wsasec_function_find(module, name, &functions.member, sizeof functions.member)

static BOOL CALLBACK start_winsock(PINIT_ONCE unused, PVOID parameter, PVOID *context)
{
    WSADATA data;

    (void)unused;
    (void)parameter;
    (void)context;
    winsock_error = WSAStartup(MAKEWORD(2, 2), &data);
    return TRUE;
}

int32_t wsasec_winsock_start(wsasec_status *status)
{
    InitOnceExecuteOnce(&winsock_once, start_winsock, NULL, NULL);
    return winsock_error ? wsasec_fail(status, WSASEC_STEP_LIBRARY, WSASEC_REASON_NO_WINSOCK, winsock_error) : 0;
}

static BOOL CALLBACK load(PINIT_ONCE unused, PVOID parameter, PVOID *context)
{
    HMODULE loaded;

    (void)unused;
    (void)parameter;
    (void)context;
    if (wsasec_winsock_start(&failed))
        return TRUE;
    loaded = LoadLibraryExW(L"fwpuclnt.dll", NULL, LOAD_LIBRARY_SEARCH_SYSTEM32);
    if (!loaded) {
        wsasec_fail(&failed, WSASEC_STEP_LIBRARY, WSASEC_REASON_NO_LIBRARY, (int32_t)GetLastError());
        return TRUE;
    }
    if (is_wines(loaded)) {
        wsasec_fail(&failed, WSASEC_STEP_LIBRARY, WSASEC_REASON_WINE, 0);
        return TRUE;
    }
    module = loaded;
    if (!FIND(set_socket_security, "WSASetSocketSecurity") || !FIND(query_socket_security, "WSAQuerySocketSecurity") ||
        !FIND(set_peer_target_name, "WSASetSocketPeerTargetName") ||
        !FIND(delete_peer_target_name, "WSADeleteSocketPeerTargetName") ||
        !FIND(impersonate_peer, "WSAImpersonateSocketPeer") || !FIND(revert_impersonation, "WSARevertImpersonation"))
        wsasec_fail(&failed, WSASEC_STEP_LIBRARY, WSASEC_REASON_NO_FUNCTION, (int32_t)GetLastError());
    return TRUE;
}

int32_t wsasec_library_get(const struct wsasec_library **library, wsasec_status *status)
{
    InitOnceExecuteOnce(&once, load, NULL, NULL);
    *library = &functions;
    if (failed.code && status)
        *status = failed;
    return failed.code;
}

HMODULE wsasec_library_module(wsasec_status *status)
{
    const struct wsasec_library *library;

    return wsasec_library_get(&library, status) ? NULL : module;
}
