/* SPDX-License-Identifier: Apache-2.0 */
/* The five functions about peers: Windows' answers, passed on as they are. */
#include "../backend.h"

#include <winsock2.h>

#include "failure.h"
#include "library.h"

static int32_t answer(INT result, unsigned step, wsasec_status *status)
{
    return result ? wsasec_fail_winsock(status, step, WSAGetLastError()) : 0;
}

int32_t wsasec_backend_query(wsasec_socket socket, const void *template_, uint32_t template_len, void *info,
                             uint32_t *info_len, void *overlapped, void *completion_routine, wsasec_status *status)
{
    const struct wsasec_library *library;
    const int32_t code = wsasec_library_get(&library, status);
    ULONG length = *info_len;
    INT result;

    if (code)
        return code;
    /* An overlapped call may write the length later: into the caller's own. ULONG has 32 bits. */
    result = library->query_socket_security((SOCKET)socket, template_, template_len, info,
                                            overlapped ? (ULONG *)(void *)info_len : &length, overlapped,
                                            wsasec_routine(completion_routine));
    if (!overlapped)
        *info_len = length;
    return answer(result, WSASEC_STEP_QUERY, status);
}

int32_t wsasec_backend_set_peer_name(wsasec_socket socket, const void *name, uint32_t name_len, void *overlapped,
                                     void *completion_routine, wsasec_status *status)
{
    const struct wsasec_library *library;
    const int32_t code = wsasec_library_get(&library, status);

    if (code)
        return code;
    return answer(library->set_peer_target_name((SOCKET)socket, name, name_len, overlapped,
                                                wsasec_routine(completion_routine)),
                  WSASEC_STEP_SET_NAME, status);
}

int32_t wsasec_backend_delete_peer_name(wsasec_socket socket, const void *peer, uint32_t peer_len, void *overlapped,
                                        void *completion_routine, wsasec_status *status)
{
    const struct wsasec_library *library;
    const int32_t code = wsasec_library_get(&library, status);

    if (code)
        return code;
    return answer(library->delete_peer_target_name((SOCKET)socket, peer, peer_len, overlapped,
                                                   wsasec_routine(completion_routine)),
                  WSASEC_STEP_DELETE_NAME, status);
}

int32_t wsasec_backend_impersonate(wsasec_socket socket, const void *peer, uint32_t peer_len, wsasec_status *status)
{
    const struct wsasec_library *library;
    const int32_t code = wsasec_library_get(&library, status);

    if (code)
        return code;
    return answer(library->impersonate_peer((SOCKET)socket, peer, peer_len), WSASEC_STEP_IMPERSONATE, status);
}

int32_t wsasec_backend_revert(wsasec_status *status)
{
    const struct wsasec_library *library;
    const int32_t code = wsasec_library_get(&library, status);

    if (code)
        return code;
    return answer(library->revert_impersonation(), WSASEC_STEP_REVERT, status);
}

/* Winsock has the system's own codes below 10000, as WSA_INVALID_HANDLE is ERROR_INVALID_HANDLE. */
int32_t wsasec_backend_close_token(uint64_t handle)
{
    return CloseHandle((HANDLE)(uintptr_t)handle) ? 0 : -(int32_t)GetLastError();
}

/* Windows negotiates by itself when the first packet needs it; and tells no more than a query does. */
int32_t wsasec_backend_negotiate(wsasec_socket socket, const wsasec_sockaddr_storage *peer, uint64_t nanoseconds,
                                 wsasec_status *status)
{
    (void)socket;
    (void)peer;
    (void)nanoseconds;
    return wsasec_fail(status, WSASEC_STEP_NONE, WSASEC_REASON_NOT_IMPLEMENTED, 0);
}

int32_t wsasec_backend_association(wsasec_socket socket, const wsasec_sockaddr_storage *peer,
                                   wsasec_socket_association *association, wsasec_status *status)
{
    (void)socket;
    (void)peer;
    (void)association;
    return wsasec_fail(status, WSASEC_STEP_NONE, WSASEC_REASON_NOT_IMPLEMENTED, 0);
}
