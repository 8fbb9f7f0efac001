/* SPDX-License-Identifier: Apache-2.0 */
#include "secured.h"

#include <errno.h>
#include <linux/tcp.h>
#include <netinet/in.h>
#include <stddef.h>
#include <string.h>
#include <sys/socket.h>

#include "../core/profiles.h"
#include "../core/sockets.h"
#include "failure.h"

enum { STATE_CLOSED = 7 }; /* TCP_CLOSE, which linux/tcp.h does not have */

int32_t wsasec_secured_find(wsasec_socket socket, struct wsasec_secured *secured, wsasec_status *status)
{
    uint16_t number = 0;
    int32_t code;

    memset(secured, 0, sizeof *secured);
    code = wsasec_backend_inspect(socket, &secured->facts, status);
    if (code)
        return code;
    switch (wsasec_socket_outcome(socket, secured->facts.identity, &number)) {
    case WSASEC_OUTCOME_REQUIRED:
        secured->required = 1;
        /* fall through */
    case WSASEC_OUTCOME_OPTIONAL:
        secured->profile = wsasec_profile_at(number);
        secured->notes = (uint8_t)wsasec_socket_notes(socket, secured->facts.identity);
        return 0;
    default:
        break;
    }
    /* The mark is an accepted socket's by inheritance, and tells of what another process did. */
    secured->profile = wsasec_profile_of_mark(secured->facts.mark, &number);
    secured->required = secured->profile != NULL;
    return 0;
}

int32_t wsasec_secured_connected(wsasec_socket socket, unsigned step, wsasec_status *status)
{
    struct sockaddr_storage peer;
    struct tcp_info info = {0};
    socklen_t length = sizeof peer;

    if (getpeername((int)socket, (struct sockaddr *)&peer, &length) == 0)
        return 0;
    if (errno != ENOTCONN)
        return wsasec_fail_errno(status, WSASEC_STEP_DESCRIPTOR, errno);
    /* A socket that has had segments and is closed was connected. */
    length = sizeof info;
    if (getsockopt((int)socket, IPPROTO_TCP, TCP_INFO, &info, &length) == 0 && info.tcpi_state == STATE_CLOSED &&
        info.tcpi_segs_in)
        return wsasec_fail(status, step, WSASEC_REASON_CONNECTION_GONE, ENOTCONN);
    return wsasec_fail(status, step, WSASEC_REASON_NOT_CONNECTED, ENOTCONN);
}

int32_t wsasec_secured_peer(const struct wsasec_secured *secured, unsigned step, const void *address, size_t length,
                            wsasec_sockaddr_storage *room, const wsasec_sockaddr_storage **asked,
                            wsasec_status *status)
{
    const int inet6 = secured->facts.family == WSASEC_FAMILY_INET6;
    /* Without the scope of an IPv6 address, which RFC 2133 did not have, it is as long as the kernel asks for. */
    const size_t least = inet6 ? offsetof(struct sockaddr_in6, sin6_scope_id) : sizeof(struct sockaddr_in);

    *asked = NULL;
    if (secured->facts.type == WSASEC_TYPE_STREAM || !address)
        return 0;
    if (length < least)
        return wsasec_fail(status, WSASEC_STEP_BUFFER, WSASEC_REASON_BUFFER_TOO_SHORT, 0);
    memset(room, 0, sizeof *room);
    memcpy(room, address, length < sizeof *room ? length : sizeof *room);
    if (room->family != (inet6 ? AF_INET6 : AF_INET))
        return wsasec_fail(status, step, WSASEC_REASON_PEER_ADDRESS, 0);
    *asked = room;
    return 0;
}
