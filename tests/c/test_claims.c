/* SPDX-License-Identifier: Apache-2.0 */
/* Many threads claim the same sockets: each has one owner, whatever the scheduler does. */
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>

#include "../../src/core/sockets.h"

enum { THREADS = 8, SOCKETS = 3000, FIRST = 4000 /* across the edge of a chunk */ };

static atomic_int owners[SOCKETS];
static atomic_int wrong;

static void *claim_all(void *argument)
{
    (void)argument;
    for (int i = 0; i < SOCKETS; i++) {
        uint64_t identity = (uint64_t)i + 1;

        switch (wsasec_socket_claim(FIRST + i, identity)) {
        case WSASEC_CLAIM_NEW:
            atomic_fetch_add(&owners[i], 1);
            wsasec_socket_settle(FIRST + i, identity, 0,
                                 i % 3 == 0 ? WSASEC_OUTCOME_FAILED : WSASEC_OUTCOME_REQUIRED);
            break;
        case WSASEC_CLAIM_FAILED:
            if (i % 3 != 0)
                atomic_fetch_add(&wrong, 1);
            break;
        case WSASEC_CLAIM_TAKEN:
            break;
        case WSASEC_CLAIM_NO_ROOM:
            atomic_fetch_add(&wrong, 1);
            break;
        }
    }
    return NULL;
}

int main(void)
{
    pthread_t threads[THREADS];
    int bad;

    for (int i = 0; i < THREADS; i++)
        if (pthread_create(&threads[i], NULL, claim_all, NULL))
            return 2;
    for (int i = 0; i < THREADS; i++)
        pthread_join(threads[i], NULL);
    bad = atomic_load(&wrong);
    for (int i = 0; i < SOCKETS; i++) {
        uint64_t identity = (uint64_t)i + 1;

        bad += atomic_load(&owners[i]) != 1;
        bad += wsasec_socket_profile(FIRST + i, identity) != (i % 3 == 0 ? -1 : 0);
        bad += wsasec_socket_profile(FIRST + i, identity + 1) != -1;
        /* The descriptor is another socket now, and then given back. */
        bad += wsasec_socket_claim(FIRST + i, identity + SOCKETS) != WSASEC_CLAIM_NEW;
        wsasec_socket_release(FIRST + i, identity); /* too late: not this socket's any more */
        bad += wsasec_socket_claim(FIRST + i, identity + SOCKETS) != WSASEC_CLAIM_TAKEN;
        wsasec_socket_release(FIRST + i, identity + SOCKETS);
        bad += wsasec_socket_claim(FIRST + i, identity + SOCKETS) != WSASEC_CLAIM_NEW;
        /* An identity that comes again after that is another socket's. */
        wsasec_socket_release(FIRST + i, identity + SOCKETS);
        bad += wsasec_socket_claim(FIRST + i, identity) != WSASEC_CLAIM_NEW;
        bad += wsasec_socket_profile(FIRST + i, identity) != -1;
        bad += wsasec_socket_claim(FIRST + i, identity) != WSASEC_CLAIM_TAKEN;
    }
    bad += wsasec_socket_claim(-1, 1) != WSASEC_CLAIM_NO_ROOM;
    bad += wsasec_socket_claim((wsasec_socket)1 << 40, 1) != WSASEC_CLAIM_NO_ROOM;
    if (bad)
        fprintf(stderr, "%d wrong\n", bad);
    return bad != 0;
}
