/* SPDX-License-Identifier: Apache-2.0 */
/* Compiled with: segment.c packet.c inner.c checksum.c; runs 100000 */
/*
 * Any bytes as what a TUN queue gives out. Of what is not refused all offsets lie within, and it is cut: lengths fit,
 * the payloads in a row are the super packet's, and each checksum that was to be made is right.
 */
#include "segment.h"

#include "../c/made_packet.h"

static void cut_all(const struct wse_packet *packet)
{
    const size_t size = packet->family == AF_INET ? 4 : 16;
    uint8_t addresses[32];
    struct wse_segments cut;
    const uint32_t count = wse_segment_start(&cut, packet);
    size_t done = 0;

    CHECK(count >= 1);
    memcpy(addresses, packet->source, size);
    memcpy(addresses + 16, packet->destination, size);
    for (uint32_t i = 0; i < count; i++) {
        const uint32_t length = wse_segment_length(&cut, i), data = length - cut.lead;
        const uint32_t options = (uint32_t)(packet->transport - packet->payload);
        uint8_t *to = malloc(length ? length : 1);
        uint8_t ip[64];

        CHECK(to && length >= cut.lead && (packet->gso == 0 || data <= packet->gso_size));
        CHECK(wse_segment_write(&cut, i, to) == length && wse_segment_ip(&cut, i, ip) <= sizeof ip);
        CHECK(packet->gso == 0 || !memcmp(to + cut.lead, packet->bytes + packet->headers + done, data));
        CHECK(!memcmp(to, packet->bytes + packet->payload, options));
        if (packet->gso)
            CHECK(slow_transport_sum(packet->family, addresses, addresses + 16, packet->protocol, to + options,
                                     length - options) == 0xffff);
        done += data;
        free(to);
    }
    CHECK(done == packet->length - packet->headers);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    uint8_t *frame = malloc(size ? size : 1);
    struct wse_packet packet;
    enum wse_refusal refusal;
    uint16_t source, destination;

    CHECK(frame);
    memcpy(frame, data, size);
    refusal = wse_packet_parse_tun(&packet, frame, size);
    CHECK(refusal < WSE_REFUSALS && wse_refusal_name(refusal));
    if (!refusal) {
        CHECK(packet.bytes + packet.length <= frame + size && packet.length <= WSE_INNER_MAX);
        CHECK(packet.payload >= (packet.family == AF_INET ? 20 : 40) && packet.payload <= packet.transport);
        CHECK(packet.transport <= packet.headers && packet.headers <= packet.length);
        CHECK(packet.fragment_start <= packet.length && (!packet.gso || packet.gso_size));
        wse_packet_ports(&packet, &source, &destination);
        (void)wse_packet_check_outbound(&packet);
        cut_all(&packet);
    }
    free(frame);
    return 0;
}
