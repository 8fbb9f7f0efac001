/* SPDX-License-Identifier: Apache-2.0 */
/* The functions of fwpuclnt.dll: found once, then called by pointer. */
#ifndef WSASEC_WINDOWS_LIBRARY_H
#define WSASEC_WINDOWS_LIBRARY_H

#include <string.h>
#include <winsock2.h>

#include "wsasec.h"

/* ws2tcpip.h, with this library's names for the structures: what lies in them is the same. */
struct wsasec_library {
    INT(WSAAPI *set_socket_security)(SOCKET, const void *, ULONG, LPWSAOVERLAPPED, LPWSAOVERLAPPED_COMPLETION_ROUTINE);
    INT(WSAAPI *query_socket_security)(SOCKET, const void *, ULONG, void *, ULONG *, LPWSAOVERLAPPED,
                                       LPWSAOVERLAPPED_COMPLETION_ROUTINE);
    INT(WSAAPI *set_peer_target_name)(SOCKET, const void *, ULONG, LPWSAOVERLAPPED,
                                      LPWSAOVERLAPPED_COMPLETION_ROUTINE);
    INT(WSAAPI *delete_peer_target_name)(SOCKET, const struct sockaddr *, ULONG, LPWSAOVERLAPPED,
                                         LPWSAOVERLAPPED_COMPLETION_ROUTINE);
    INT(WSAAPI *impersonate_peer)(SOCKET, const struct sockaddr *, ULONG);
    INT(WSAAPI *revert_impersonation)(void);
};

/* The C interface passes it as a pointer like the others, which ISO C does not convert. */
static inline LPWSAOVERLAPPED_COMPLETION_ROUTINE wsasec_routine(void *pointer)
{
    LPWSAOVERLAPPED_COMPLETION_ROUTINE routine;

    memcpy(&routine, &pointer, sizeof routine);
    return routine;
}

/*
 * Returns 0, or a code with the status (which may be NULL) filled in: there is no such library, or it is Wine's, which
 * would end the process.
 */
int32_t wsasec_library_get(const struct wsasec_library **library, wsasec_status *status);

/* Puts the address of a module's function into a pointer to functions, of so many bytes. Returns whether there is one. */
int wsasec_function_find(HMODULE from, const char *name, void *place, size_t size);

/* The library's module, for its other functions; NULL after such an error. */
HMODULE wsasec_library_module(wsasec_status *status);

/* Sees to it that Winsock is started, for the life of the process. Returns 0, or a code as above. */
int32_t wsasec_winsock_start(wsasec_status *status);

#endif
