/* SPDX-License-Identifier: Apache-2.0 */
#include <winsock2.h>

#include "../../load/system.h"

const struct wsasec_own_errors wsasec_own_errors = {
    .no_socket = WSAENOTSOCK,
    .wrong_type = WSAEPROTOTYPE,
    .ended = WSAEDISCON,
    .no_memory = WSAENOBUFS,
    .no_association = WSAEWOULDBLOCK,
    .no_answer = WSAETIMEDOUT,
    .under_way = WSAEALREADY,
    .added_before = WSAEALREADY,
};

enum wsasec_trouble wsasec_trouble_of(int error)
{
    switch (error) {
    case WSAEWOULDBLOCK:
        return WSASEC_TROUBLE_WOULD_BLOCK;
    case WSAENOBUFS:
    case WSA_NOT_ENOUGH_MEMORY:
        return WSASEC_TROUBLE_NO_MEMORY;
    case WSAEINTR:
        return WSASEC_TROUBLE_SIGNAL;
    default:
        return WSASEC_TROUBLE_OTHER;
    }
}

int wsasec_is_no_socket(int error)
{
    return error == WSAENOTSOCK;
}
