/* SPDX-License-Identifier: Apache-2.0 */
/* Datagrams, a system call for each: sink and echo. */
#include <stdlib.h>

#include <winsock2.h>
#include <ws2tcpip.h>

#include "../../load/listener.h"

enum {
    MANY = 512, /* before the thread looks whether it is to end */
    LARGEST = 65536,
    PATIENCE_MS = 10 /* for room in the send buffer, for all of them */
};

struct wsasec_datagrams {
    struct sockaddr_storage peer;
    int peer_len;
    int patience; /* what is left of it */
    char data[LARGEST];
};

struct wsasec_datagrams *wsasec_datagrams_new(void)
{
    return calloc(1, sizeof(struct wsasec_datagrams));
}

/* Returns how many bytes; -1: there is nothing more, or an error. */
static int receive(struct wsasec_worker *worker)
{
    struct wsasec_datagrams *datagrams = worker->datagrams;
    int size;

    datagrams->peer_len = sizeof datagrams->peer;
    size = recvfrom((SOCKET)worker->listener->fd, datagrams->data, LARGEST, 0, (struct sockaddr *)&datagrams->peer,
                    &datagrams->peer_len);
    if (size < 0) {
        if (WSAGetLastError() != WSAEWOULDBLOCK)
            wsasec_count(&worker->tally.receive_errors, 1);
        return -1;
    }
    wsasec_count(&worker->tally.received_bytes, (uint64_t)size);
    wsasec_count(&worker->tally.received_datagrams, 1);
    return size;
}

static int give_back(struct wsasec_worker *worker, int size)
{
    const struct wsasec_datagrams *datagrams = worker->datagrams;

    return sendto((SOCKET)worker->listener->fd, datagrams->data, size, 0, (const struct sockaddr *)&datagrams->peer,
                  datagrams->peer_len) < 0
               ? WSAGetLastError()
               : 0;
}

static void echo(struct wsasec_worker *worker, int size)
{
    int error = give_back(worker, size);

    if (error == WSAEWOULDBLOCK && wsasec_has_room(worker->listener->fd, worker->datagrams->patience)) {
        worker->datagrams->patience = 0;
        error = give_back(worker, size);
    }
    if (error) {
        wsasec_count(&worker->tally.unsent_datagrams, 1);
        return;
    }
    wsasec_count(&worker->tally.sent_bytes, (uint64_t)size);
    wsasec_count(&worker->tally.sent_datagrams, 1);
}

void wsasec_datagrams_serve(struct wsasec_worker *worker)
{
    worker->datagrams->patience = PATIENCE_MS;
    for (int i = 0; i < MANY; i++) {
        const int size = receive(worker);

        if (size < 0)
            return;
        if (worker->listener->spec.mode == WSASEC_LISTENER_ECHO)
            echo(worker, size);
    }
}
