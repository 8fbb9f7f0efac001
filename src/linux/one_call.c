/* SPDX-License-Identifier: Apache-2.0 */
#include "one_call.h"

#include <errno.h>
#include <limits.h>
#include <stdatomic.h>
#include <sys/socket.h>
#include <unistd.h>

/* How long nobody is asked in a realm where nobody answered. */
static const uint64_t PAUSE = UINT64_C(1000000000);

static _Atomic uint64_t silent_realm;
static _Atomic uint64_t silent_until;

int wsasec_one_call_may_be(uint64_t realm)
{
    return atomic_load_explicit(&silent_realm, memory_order_relaxed) != realm ||
           wsasec_backend_clock() >= atomic_load_explicit(&silent_until, memory_order_relaxed);
}

static void note_silence(uint64_t realm)
{
    atomic_store_explicit(&silent_until, wsasec_after(wsasec_backend_clock(), PAUSE), memory_order_relaxed);
    atomic_store_explicit(&silent_realm, realm, memory_order_relaxed);
}

int wsasec_backend_one_call_begin(uint64_t realm, wsasec_socket socket, uint64_t *identity)
{
    socklen_t length = sizeof *identity;

    return wsasec_one_call_may_be(realm) && socket >= 0 && socket <= INT_MAX &&
           getsockopt((int)socket, SOL_SOCKET, SO_COOKIE, identity, &length) == 0;
}

int wsasec_backend_one_call(const struct wsasec_facts *others, wsasec_socket socket)
{
    const struct wsasec_one_call asked = {
        .realm = others->realm,
        .device = others->device,
        .family = others->family == WSASEC_FAMILY_INET6 ? AF_INET6 : AF_INET,
    };
    int error = 0;

    if (setsockopt((int)socket, WSASEC_ONE_CALL_LEVEL, WSASEC_ONE_CALL_SECURE, &asked, sizeof asked))
        error = errno;
    if (error == WSASEC_ONE_CALL_DONE)
        return 1;
    /* It refuses this socket; or all of a user who is not root. */
    if (error != EPERM || getuid() != 0)
        note_silence(others->realm);
    return 0;
}
