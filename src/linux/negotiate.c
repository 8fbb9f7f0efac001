/* SPDX-License-Identifier: Apache-2.0 */
/* Keys for a peer, made now. */
#include <sys/socket.h>

#include "../core/errors.h"
#include "daemon_client.h"
#include "secured.h"

int32_t wsasec_backend_negotiate(wsasec_socket socket, const wsasec_sockaddr_storage *peer, uint64_t nanoseconds,
                                 wsasec_status *status)
{
    struct wsasec_secured secured;
    int32_t code = wsasec_secured_find(socket, &secured, status);

    if (code)
        return code;
    if (!secured.profile)
        return wsasec_fail(status, WSASEC_STEP_NEGOTIATE, WSASEC_REASON_NOT_SECURED, 0);
    if (peer && peer->family != (secured.facts.family == WSASEC_FAMILY_INET6 ? AF_INET6 : AF_INET))
        return wsasec_fail(status, WSASEC_STEP_SETTINGS, WSASEC_REASON_PEER_ADDRESS, 0);
    if (!peer && (code = wsasec_secured_connected(socket, WSASEC_STEP_NEGOTIATE, status)))
        return code;
    return wsasec_daemon_tell(WSASEC_STEP_NEGOTIATE, WSASEC_DAEMON_NEGOTIATE, (int32_t)socket, peer, nanoseconds,
                              status);
}
