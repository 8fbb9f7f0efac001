/* SPDX-License-Identifier: Apache-2.0 */
/* One overlapped call, of whoever waits for it: an event loop has a completion port of its own. */
#include <winsock2.h>

#include "wsasec.h"

int32_t wsasec_overlapped_error(wsasec_socket socket, void *overlapped)
{
    DWORD bytes;
    DWORD flags;

    return WSAGetOverlappedResult((SOCKET)socket, overlapped, &bytes, FALSE, &flags) ? 0 : WSAGetLastError();
}

void wsasec_overlapped_cancel(wsasec_socket socket, void *overlapped)
{
    (void)CancelIoEx((HANDLE)socket, overlapped); /* not found: it is completed */
}
