/* SPDX-License-Identifier: Apache-2.0 */
/* How often associations are asked for: once a second and destination, also where there is no room for what waits. */
/* Compiled with: acquire.c memory.c log.c packet.c inner.c checksum.c */
#include "acquire.h"

#include <string.h>
#include <sys/socket.h>

#include "made_packet.h"
#include "worker.h"

enum { LINK = 1, REQID = 7, SEGMENT = 100 };

static struct wse_worker worker;
static unsigned asked;

/* In place of worker.c's: only the questions count here. */
void wse_worker_note(struct wse_worker *own, const struct wse_note *note)
{
    CHECK(own == &worker);
    CHECK(note->type == WSE_EVENT_ACQUIRE);
    asked++;
}

static int never(void *context, uint32_t reqid, uint16_t family, const uint8_t *source, const uint8_t *destination)
{
    (void)context, (void)reqid, (void)family, (void)source, (void)destination;
    return 0;
}

static void unsent(void *context, uint32_t reqid, uint32_t link, const uint8_t *frame, size_t length)
{
    (void)context, (void)reqid, (void)link, (void)frame, (void)length;
    CHECK(0);
}

/* A batch of one packet to a host of this number. */
static void batch(struct wse_holds *holds, uint8_t number)
{
    struct made made = make_packet(AF_INET, IPPROTO_UDP, SEGMENT, 0, 0);
    struct wse_packet packet;
    uint8_t destination[16];

    CHECK(wse_packet_parse_tun(&packet, made.frame, made.length) == WSE_FINE);
    memcpy(destination, packet.destination, 4);
    destination[3] = number;
    packet.destination = destination;
    wse_holds_add(holds, REQID, LINK, &packet);
    wse_holds_tend(holds, never, unsent, NULL);
    free(made.frame);
}

int main(void)
{
    struct wse_holds *holds = wse_holds_make(&worker);

    CHECK(holds);
    worker.now = 5000;
    for (int i = 0; i < 1000; i++)
        batch(holds, 1);
    CHECK(asked == 1);
    worker.now += 1000;
    batch(holds, 1);
    CHECK(asked == 2);
    for (int i = 0; i < 1000; i++)
        batch(holds, 2);
    CHECK(asked == 3);
    CHECK(wse_holds_count(holds) == WSE_HELD / 2);
    /* Now the device has its share: of a third destination nothing can wait. It is asked for all the same, but not for ever. */
    batch(holds, 3);
    CHECK(asked == 4);
    for (int i = 0; i < 10000; i++)
        batch(holds, (uint8_t)(3 + i % 100));
    CHECK(asked == 3 + WSE_HELD_ROOMLESS);
    /* Those that wait are asked for as ever, and in the next second the others, too. */
    worker.now += 1000;
    batch(holds, 1);
    CHECK(asked == 4 + WSE_HELD_ROOMLESS);
    batch(holds, 3);
    CHECK(asked == 5 + WSE_HELD_ROOMLESS);
    return 0;
}
