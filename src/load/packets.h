/* SPDX-License-Identifier: Apache-2.0 */
/* The part of the seam (system.h) that sends and receives many datagrams on a connected socket. */
#ifndef WSASEC_LOAD_PACKETS_H
#define WSASEC_LOAD_PACKETS_H

#include <stddef.h>
#include <stdint.h>

enum { WSASEC_PACKETS = 64, WSASEC_PACKET_HEADER = 16 };

/* How a datagram of at least WSASEC_PACKET_HEADER bytes begins; the highest byte of a number first. */
struct wsasec_packet_header {
    uint8_t number[8];
    uint8_t made[8];
};

/* A thread's; the system has more behind it. */
struct wsasec_packets {
    struct wsasec_packet_header out[WSASEC_PACKETS];
    struct wsasec_packet_header in[WSASEC_PACKETS];
    size_t length[WSASEC_PACKETS]; /* of those that came in */
};

/* For datagrams of so many bytes: the header, if they have room for one, and then bytes of the message. NULL: no memory. */
struct wsasec_packets *wsasec_packets_new(const void *message, size_t length);
void wsasec_packets_free(struct wsasec_packets *packets); /* NULL is none */

/* Sends so many, in one call where there is such a call. Returns how many were sent, or the error made negative. */
int wsasec_packets_send(struct wsasec_packets *packets, int32_t socket, unsigned count);

/* Receives as many as there are, up to WSASEC_PACKETS. Returns how many, or the error made negative. */
int wsasec_packets_receive(struct wsasec_packets *packets, int32_t socket);

#endif
