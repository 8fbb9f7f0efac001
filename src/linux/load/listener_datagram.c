/* SPDX-License-Identifier: Apache-2.0 */
/* Datagrams, many in one call: sink and echo. */
#define _GNU_SOURCE /* recvmmsg */
#include <errno.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <sys/socket.h>

#include "../../load/listener.h"

enum {
    MANY = 64,           /* in one call */
    CALLS = 8,           /* before the thread looks whether it is to end */
    LARGEST = 65536,
    APART = LARGEST + 17 * 64, /* no power of two: the beginnings would all share a few lines of the cache */
    PATIENCE_MS = 10     /* for room in the send buffer, for all of a call */
};

struct wsasec_datagrams {
    struct mmsghdr messages[MANY];
    struct iovec vectors[MANY];
    struct sockaddr_in6 peers[MANY];
    char data[(size_t)MANY * APART];
};

struct wsasec_datagrams *wsasec_datagrams_new(void)
{
    struct wsasec_datagrams *datagrams = calloc(1, sizeof *datagrams);

    for (int i = 0; datagrams && i < MANY; i++) {
        datagrams->vectors[i].iov_base = datagrams->data + (size_t)i * APART;
        datagrams->messages[i].msg_hdr.msg_iov = &datagrams->vectors[i];
        datagrams->messages[i].msg_hdr.msg_iovlen = 1;
    }
    return datagrams;
}

static int receive(struct wsasec_worker *worker)
{
    struct wsasec_datagrams *datagrams = worker->datagrams;
    const int echo = worker->listener->spec.mode == WSASEC_LISTENER_ECHO;
    uint64_t bytes = 0;
    int count;

    for (int i = 0; i < MANY; i++) {
        datagrams->vectors[i].iov_len = LARGEST;
        datagrams->messages[i].msg_hdr.msg_name = echo ? &datagrams->peers[i] : NULL;
        datagrams->messages[i].msg_hdr.msg_namelen = echo ? sizeof datagrams->peers[i] : 0;
    }
    count = recvmmsg(worker->listener->fd, datagrams->messages, MANY, MSG_DONTWAIT, NULL);
    if (count < 0) {
        if (errno != EAGAIN && errno != EINTR)
            wsasec_count(&worker->tally.receive_errors, 1);
        return 0;
    }
    for (int i = 0; i < count; i++)
        bytes += datagrams->messages[i].msg_len;
    wsasec_count(&worker->tally.received_bytes, bytes);
    wsasec_count(&worker->tally.received_datagrams, (uint64_t)count);
    return count;
}

static void give_back(struct wsasec_worker *worker, int count)
{
    struct wsasec_datagrams *datagrams = worker->datagrams;
    uint64_t bytes = 0;
    int patience = PATIENCE_MS;
    int sent = 0;
    int lost = 0;

    for (int i = 0; i < count; i++)
        datagrams->vectors[i].iov_len = datagrams->messages[i].msg_len;
    while (sent + lost < count) {
        const int fd = worker->listener->fd;
        const int from = sent + lost;
        const int done = sendmmsg(fd, datagrams->messages + from, (unsigned)(count - from),
                                  MSG_DONTWAIT | MSG_NOSIGNAL);

        if (done > 0) {
            for (int i = from; i < from + done; i++)
                bytes += datagrams->messages[i].msg_len;
            sent += done;
        } else if (errno == EAGAIN && !wsasec_has_room(fd, 0) && wsasec_has_room(fd, patience)) {
            patience = 0;
        } else if (errno != EINTR) {
            patience = errno == EAGAIN ? 0 : patience;
            lost++; /* this one; the next may have another peer */
        }
    }
    wsasec_count(&worker->tally.sent_bytes, bytes);
    wsasec_count(&worker->tally.sent_datagrams, (uint64_t)sent);
    wsasec_count(&worker->tally.unsent_datagrams, (uint64_t)lost);
}

void wsasec_datagrams_serve(struct wsasec_worker *worker)
{
    for (int i = 0; i < CALLS; i++) {
        const int count = receive(worker);

        if (count && worker->listener->spec.mode == WSASEC_LISTENER_ECHO)
            give_back(worker, count);
        if (count < MANY)
            return;
    }
}
