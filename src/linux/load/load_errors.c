/* SPDX-License-Identifier: Apache-2.0 */
#include "../../load/system.h"

#include <errno.h>

const struct wsasec_own_errors wsasec_own_errors = {
    .no_socket = EBADF,
    .wrong_type = EPROTOTYPE,
    .ended = EPIPE,
    .no_memory = ENOMEM,
    .no_association = EAGAIN,
    .no_answer = ETIMEDOUT,
    .under_way = EALREADY,
    .added_before = EEXIST,
};

enum wsasec_trouble wsasec_trouble_of(int error)
{
    switch (error) {
    case EAGAIN:
        return WSASEC_TROUBLE_WOULD_BLOCK;
    case ENOBUFS:
    case ENOMEM:
        return WSASEC_TROUBLE_NO_MEMORY;
    case EINTR:
        return WSASEC_TROUBLE_SIGNAL;
    default:
        return WSASEC_TROUBLE_OTHER;
    }
}

int wsasec_is_no_socket(int error)
{
    return error == EBADF || error == ENOTSOCK;
}
