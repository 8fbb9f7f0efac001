/* SPDX-License-Identifier: Apache-2.0 */
/* Datagrams, many with one system call. */
#define _GNU_SOURCE /* sendmmsg */
#include "../../load/packets.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/socket.h>

struct messages {
    struct wsasec_packets packets; /* first */
    struct iovec out_part[WSASEC_PACKETS][2];
    struct iovec in_part[WSASEC_PACKETS];
    struct mmsghdr out[WSASEC_PACKETS];
    struct mmsghdr in[WSASEC_PACKETS];
};

struct wsasec_packets *wsasec_packets_new(const void *message, size_t length)
{
    const size_t numbered = length >= WSASEC_PACKET_HEADER ? WSASEC_PACKET_HEADER : 0;
    struct messages *messages = calloc(1, sizeof *messages);

    if (!messages)
        return NULL;
    for (unsigned i = 0; i < WSASEC_PACKETS; i++) {
        messages->out_part[i][0] = (struct iovec){&messages->packets.out[i], numbered};
        messages->out_part[i][1] = (struct iovec){(void *)(uintptr_t)message, length - numbered};
        messages->out[i].msg_hdr.msg_iov = messages->out_part[i];
        messages->out[i].msg_hdr.msg_iovlen = 2;
        messages->in_part[i] = (struct iovec){&messages->packets.in[i], WSASEC_PACKET_HEADER};
        messages->in[i].msg_hdr.msg_iov = &messages->in_part[i];
        messages->in[i].msg_hdr.msg_iovlen = 1;
    }
    return &messages->packets;
}

void wsasec_packets_free(struct wsasec_packets *packets)
{
    free(packets);
}

int wsasec_packets_send(struct wsasec_packets *packets, int32_t socket, unsigned count)
{
    struct messages *messages = (struct messages *)(void *)packets;
    const int done = sendmmsg(socket, messages->out, count, MSG_DONTWAIT | MSG_NOSIGNAL);

    return done < 0 ? -errno : done;
}

int wsasec_packets_receive(struct wsasec_packets *packets, int32_t socket)
{
    struct messages *messages = (struct messages *)(void *)packets;
    const int done = recvmmsg(socket, messages->in, WSASEC_PACKETS, MSG_DONTWAIT | MSG_TRUNC, NULL);

    for (int i = 0; i < done; i++)
        packets->length[i] = messages->in[i].msg_len;
    return done < 0 ? -errno : done;
}
