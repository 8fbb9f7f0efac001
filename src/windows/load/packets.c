/* SPDX-License-Identifier: Apache-2.0 */
/* Datagrams, a system call for each. */
#include "../../load/packets.h"

#include <stdlib.h>
#include <string.h>

#include <winsock2.h>

#include "../../load/system.h"

enum { LARGEST = 65536 };

struct messages {
    struct wsasec_packets packets; /* first */
    WSABUF parts[2];
    DWORD count;     /* of the parts */
    int is_numbered; /* the first is a header */
    char room[LARGEST];
};

struct wsasec_packets *wsasec_packets_new(const void *message, size_t length)
{
    struct messages *messages = calloc(1, sizeof *messages);
    WSABUF *part;

    if (!messages)
        return NULL;
    part = messages->parts;
    if (length >= WSASEC_PACKET_HEADER) {
        messages->is_numbered = 1;
        part++->len = WSASEC_PACKET_HEADER;
        length -= WSASEC_PACKET_HEADER;
    }
    if (length) {
        part->len = (ULONG)length;
        part->buf = (char *)(uintptr_t)message;
        part++;
    }
    messages->count = (DWORD)(part - messages->parts);
    return &messages->packets;
}

void wsasec_packets_free(struct wsasec_packets *packets)
{
    free(packets);
}

int wsasec_packets_send(struct wsasec_packets *packets, int32_t socket, unsigned count)
{
    struct messages *messages = (struct messages *)(void *)packets;

    for (unsigned i = 0; i < count; i++) {
        DWORD sent;

        if (messages->is_numbered)
            messages->parts[0].buf = (char *)&packets->out[i];
        if (WSASend((SOCKET)socket, messages->parts, messages->count, &sent, 0, NULL, NULL))
            return i ? (int)i : -WSAGetLastError();
    }
    return (int)count;
}

int wsasec_packets_receive(struct wsasec_packets *packets, int32_t socket)
{
    struct messages *messages = (struct messages *)(void *)packets;

    for (int i = 0; i < WSASEC_PACKETS; i++) {
        const ptrdiff_t size = wsasec_receive(socket, messages->room, sizeof messages->room);

        if (size < 0)
            return i ? i : (int)size;
        memcpy(&packets->in[i], messages->room, sizeof packets->in[i]);
        packets->length[i] = (size_t)size;
    }
    return WSASEC_PACKETS;
}
