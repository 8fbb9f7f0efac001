/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The five functions about peers: the contract's checks of their arguments. What they do is the backend's.
 */
#include <string.h>

#include "errors.h"
#include "secure.h"

static int32_t inspect_kind(wsasec_socket socket, struct wsasec_facts *facts, wsasec_status *status)
{
    int32_t code = wsasec_backend_inspect(socket, facts, status);

    return code ? code : wsasec_check_kind(facts, status);
}

/* An address of family 0, or with nothing but zeros behind it, names no peer. */
static int names_a_peer(const wsasec_sockaddr_storage *address)
{
    static const wsasec_sockaddr_storage zero;

    return address->family && memcmp(address->data, zero.data, sizeof zero.data) != 0;
}

int32_t wsasec_query_socket_security(wsasec_socket socket, const void *template_, uint32_t template_len,
                                     void *info, uint32_t *info_len, void *overlapped,
                                     void *completion_routine, wsasec_status *status)
{
    struct wsasec_facts facts;
    wsasec_socket_security_query_template in;
    uint32_t needed = sizeof(wsasec_socket_security_query_info);
    int32_t code = inspect_kind(socket, &facts, status);

    if (code)
        return code;
    if (!info_len || (!template_ && (template_len || facts.type == WSASEC_TYPE_DGRAM)))
        return wsasec_fail(status, WSASEC_STEP_BUFFER, WSASEC_REASON_NULL_POINTER, 0);
    if (template_) {
        if (template_len < sizeof in)
            return wsasec_fail(status, WSASEC_STEP_BUFFER, WSASEC_REASON_BUFFER_TOO_SHORT, 0);
        memcpy(&in, template_, sizeof in);
        if (in.SecurityProtocol == WSASEC_SOCKET_SECURITY_PROTOCOL_IPSEC2) {
            if (template_len < sizeof(wsasec_socket_security_query_template_ipsec2))
                return wsasec_fail(status, WSASEC_STEP_BUFFER, WSASEC_REASON_BUFFER_TOO_SHORT, 0);
            needed = sizeof(wsasec_socket_security_query_info_ipsec2);
        } else if (in.SecurityProtocol > WSASEC_SOCKET_SECURITY_PROTOCOL_IPSEC2) {
            return wsasec_fail(status, WSASEC_STEP_SETTINGS, WSASEC_REASON_PROTOCOL, 0);
        }
        if (facts.type == WSASEC_TYPE_DGRAM && !names_a_peer(&in.PeerAddress))
            return wsasec_fail(status, WSASEC_STEP_SETTINGS, WSASEC_REASON_PEER_ADDRESS, 0);
    }
    if (!info || *info_len < needed) {
        *info_len = needed;
        return wsasec_fail(status, WSASEC_STEP_BUFFER, WSASEC_REASON_BUFFER_TOO_SHORT, 0);
    }
    return wsasec_backend_query(socket, template_, template_len, info, info_len, overlapped, completion_routine,
                                status);
}

int32_t wsasec_set_socket_peer_target_name(wsasec_socket socket, const void *name, uint32_t name_len,
                                           void *overlapped, void *completion_routine, wsasec_status *status)
{
    struct wsasec_facts facts;
    wsasec_socket_peer_target_name in;
    const size_t fixed = offsetof(wsasec_socket_peer_target_name, AllStrings);
    int32_t code = inspect_kind(socket, &facts, status);

    if (code)
        return code;
    if (!name)
        return wsasec_fail(status, WSASEC_STEP_BUFFER, WSASEC_REASON_NULL_POINTER, 0);
    if (name_len < sizeof in)
        return wsasec_fail(status, WSASEC_STEP_BUFFER, WSASEC_REASON_BUFFER_TOO_SHORT, 0);
    memcpy(&in, name, sizeof in);
    if (in.PeerTargetNameStringLen > name_len - fixed)
        return wsasec_fail(status, WSASEC_STEP_BUFFER, WSASEC_REASON_STRINGS_TOO_LONG, 0);
    if (facts.bound && wsasec_backend_bound_reason(socket) == WSASEC_REASON_CONNECTED)
        return wsasec_fail(status, WSASEC_STEP_STATE, WSASEC_REASON_CONNECTED, 0);
    if (in.SecurityProtocol != WSASEC_SOCKET_SECURITY_PROTOCOL_DEFAULT &&
        in.SecurityProtocol != WSASEC_SOCKET_SECURITY_PROTOCOL_IPSEC)
        return wsasec_fail(status, WSASEC_STEP_SETTINGS, WSASEC_REASON_PROTOCOL, 0);
    if (in.PeerTargetNameStringLen & 1)
        return wsasec_fail(status, WSASEC_STEP_SETTINGS, WSASEC_REASON_STRING_LENGTH, 0);
    if (facts.type == WSASEC_TYPE_DGRAM && !names_a_peer(&in.PeerAddress))
        return wsasec_fail(status, WSASEC_STEP_SETTINGS, WSASEC_REASON_PEER_ADDRESS, 0);
    return wsasec_backend_set_peer_name(socket, name, name_len, overlapped, completion_routine, status);
}

int32_t wsasec_delete_socket_peer_target_name(wsasec_socket socket, const void *peer, uint32_t peer_len,
                                              void *overlapped, void *completion_routine,
                                              wsasec_status *status)
{
    struct wsasec_facts facts;
    int32_t code = inspect_kind(socket, &facts, status);

    if (code)
        return code;
    if (!peer)
        return wsasec_fail(status, WSASEC_STEP_BUFFER, WSASEC_REASON_NULL_POINTER, 0);
    return wsasec_backend_delete_peer_name(socket, peer, peer_len, overlapped, completion_routine, status);
}

int32_t wsasec_impersonate_socket_peer(wsasec_socket socket, const void *peer, uint32_t peer_len,
                                       wsasec_status *status)
{
    struct wsasec_facts facts;
    int32_t code = inspect_kind(socket, &facts, status);

    if (code)
        return code;
    if (!peer && facts.type == WSASEC_TYPE_DGRAM)
        return wsasec_fail(status, WSASEC_STEP_BUFFER, WSASEC_REASON_NULL_POINTER, 0);
    return wsasec_backend_impersonate(socket, peer, peer_len, status);
}

/* Reads the peer of a call: *read is NULL for that which the socket is connected to. */
static int32_t read_peer(wsasec_socket socket, const void *peer, uint32_t peer_len, struct wsasec_facts *facts,
                         wsasec_sockaddr_storage *address, const wsasec_sockaddr_storage **read,
                         wsasec_status *status)
{
    const int32_t code = inspect_kind(socket, facts, status);

    *read = NULL;
    if (code)
        return code;
    if (!peer) {
        if (peer_len || facts->type == WSASEC_TYPE_DGRAM)
            return wsasec_fail(status, WSASEC_STEP_BUFFER, WSASEC_REASON_NULL_POINTER, 0);
        return 0;
    }
    if (peer_len < 16 || peer_len > sizeof *address)
        return wsasec_fail(status, WSASEC_STEP_BUFFER, WSASEC_REASON_BUFFER_TOO_SHORT, 0);
    memset(address, 0, sizeof *address);
    memcpy(address, peer, peer_len);
    if (names_a_peer(address))
        *read = address;
    else if (facts->type == WSASEC_TYPE_DGRAM)
        return wsasec_fail(status, WSASEC_STEP_SETTINGS, WSASEC_REASON_PEER_ADDRESS, 0);
    return 0;
}

int32_t wsasec_negotiate(wsasec_socket socket, const void *peer, uint32_t peer_len, uint64_t nanoseconds,
                         wsasec_status *status)
{
    struct wsasec_facts facts;
    wsasec_sockaddr_storage address;
    const wsasec_sockaddr_storage *read;
    const int32_t code = read_peer(socket, peer, peer_len, &facts, &address, &read, status);

    return code ? code : wsasec_backend_negotiate(socket, read, nanoseconds, status);
}

int32_t wsasec_association_of(wsasec_socket socket, const void *peer, uint32_t peer_len,
                              wsasec_socket_association *association, wsasec_status *status)
{
    struct wsasec_facts facts;
    wsasec_sockaddr_storage address;
    const wsasec_sockaddr_storage *read;
    const int32_t code = read_peer(socket, peer, peer_len, &facts, &address, &read, status);

    if (code)
        return code;
    if (!association)
        return wsasec_fail(status, WSASEC_STEP_BUFFER, WSASEC_REASON_NULL_POINTER, 0);
    return wsasec_backend_association(socket, read, association, status);
}

int32_t wsasec_revert_impersonation(wsasec_status *status)
{
    return wsasec_backend_revert(status);
}

int32_t wsasec_close_token(uint64_t handle)
{
    return handle ? wsasec_backend_close_token(handle) : 0;
}
