/* SPDX-License-Identifier: Apache-2.0 */
#include "segment.h"

#include <netinet/in.h>
#include <sys/socket.h>

#include "checksum.h"
#include "octets.h"

enum {
    TCP_SEQUENCE = 4,
    TCP_FLAGS = 13,
    TCP_CHECKSUM = 16,
    UDP_LENGTH = 4,
    UDP_CHECKSUM = 6,
    FIN = 0x01,
    PSH = 0x08,
    CWR = 0x80
};

uint32_t wse_segment_start(struct wse_segments *cut, const struct wse_packet *packet)
{
    cut->packet = packet;
    cut->lead = (uint16_t)(packet->headers - packet->payload);
    cut->data = packet->length - packet->headers;
    cut->size = cut->data;
    cut->count = 1;
    cut->pseudo = 0;
    if (packet->gso != VIRTIO_NET_HDR_GSO_NONE) {
        cut->pseudo =
            wse_sum_pseudo(packet->family, packet->source, packet->destination, packet->protocol, 0);
        if (cut->data > packet->gso_size) {
            cut->size = packet->gso_size;
            cut->count = (cut->data + cut->size - 1) / cut->size;
        }
    }
    return cut->count;
}

/* Not a super packet: as it is, but for a checksum that the device was to complete. */
static uint32_t write_whole(const struct wse_packet *packet, uint8_t *to)
{
    const uint32_t length = packet->length - packet->payload;
    const uint32_t options = (uint32_t)(packet->transport - packet->payload);
    uint16_t checksum;

    if (!packet->needs_checksum) {
        memcpy(to, packet->bytes + packet->payload, length);
        return length;
    }
    memcpy(to, packet->bytes + packet->payload, options);
    to += options;
    checksum = wse_checksum(wse_sum_copy(to, packet->bytes + packet->transport, length - options));
    if (!checksum && packet->protocol == IPPROTO_UDP)
        checksum = 0xffff; /* RFC 768: zero would say that there is none */
    wse_put_checksum(to + packet->checksum_offset, checksum);
    return length;
}

uint32_t wse_segment_write(const struct wse_segments *cut, uint32_t index, uint8_t *to)
{
    const struct wse_packet *packet = cut->packet;
    const uint32_t length = wse_segment_length(cut, index);
    const uint32_t data = length - cut->lead;
    const uint32_t header = (uint32_t)(packet->headers - packet->transport);
    const uint8_t *from = packet->bytes + packet->headers + (size_t)index * cut->size;
    uint8_t *payload = to + cut->lead;
    uint64_t sum;

    if (packet->gso == VIRTIO_NET_HDR_GSO_NONE)
        return write_whole(packet, to);
    memcpy(to, packet->bytes + packet->payload, cut->lead);
    to = payload - header;
    if (packet->protocol == IPPROTO_TCP) {
        uint8_t flags = to[TCP_FLAGS];

        wse_put32(to + TCP_SEQUENCE, wse_get32(to + TCP_SEQUENCE) + index * cut->size);
        if (index)
            flags &= (uint8_t)~CWR; /* RFC 3168 6.1.2: told once */
        if (index + 1 < cut->count)
            flags &= (uint8_t) ~(FIN | PSH);
        to[TCP_FLAGS] = flags;
        wse_put16(to + TCP_CHECKSUM, 0);
        sum = wse_sum_copy(payload, from, data) + wse_sum(to, header) + cut->pseudo + htonl(header + data);
        wse_put_checksum(to + TCP_CHECKSUM, wse_checksum(sum));
    } else {
        uint16_t checksum;

        wse_put16(to + UDP_LENGTH, (uint16_t)(header + data));
        wse_put16(to + UDP_CHECKSUM, 0);
        sum = wse_sum_copy(payload, from, data) + wse_sum(to, header) + cut->pseudo + htonl(header + data);
        checksum = wse_checksum(sum);
        wse_put_checksum(to + UDP_CHECKSUM, checksum ? checksum : 0xffff);
    }
    return length;
}

uint32_t wse_segment_ip(const struct wse_segments *cut, uint32_t index, uint8_t *to)
{
    const struct wse_packet *packet = cut->packet;
    const uint32_t length = wse_segment_length(cut, index);

    memcpy(to, packet->bytes, packet->payload);
    if (packet->family == AF_INET6) {
        wse_put16(to + 4, (uint16_t)length);
        return packet->payload;
    }
    wse_put16(to + 2, (uint16_t)(packet->payload + length));
    wse_put16(to + 4, (uint16_t)(wse_get16(to + 4) + index));
    wse_put16(to + 10, 0);
    wse_put_checksum(to + 10, wse_checksum(wse_sum(to, packet->payload)));
    return packet->payload;
}
