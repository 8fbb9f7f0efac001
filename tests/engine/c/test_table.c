/* SPDX-License-Identifier: Apache-2.0 */
/* Associations are found while others are added and removed, and none is freed that a reader has. */
/* Compiled with threads: table.c sa.c epoch.c memory.c log.c replay.c esp.c crypto*.c */
#include <arpa/inet.h>
#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "check.h"
#include "engine.h"
#include "memory.h"

enum { READERS = 2, NAMES = 64, ROUNDS = 3000 };

static struct wse_engine *engine;
static _Atomic(int) stop;
static _Atomic(unsigned) found;
static unsigned freed;

static void name_of(struct wse_sa_name *name, uint32_t spi, enum wse_direction direction)
{
    memset(name, 0, sizeof *name);
    name->family = AF_INET;
    name->direction = (uint8_t)direction;
    name->spi = spi;
    name->source[0] = name->destination[0] = 10;
    name->source[3] = direction == WSE_INBOUND ? 2 : 1;
    name->destination[3] = direction == WSE_INBOUND ? 1 : 2;
    name->destination[2] = direction == WSE_OUTBOUND ? (uint8_t)(spi % 8) : 0;
}

static struct wse_association *made(uint32_t spi, enum wse_direction direction)
{
    struct wse_sa sa = {.reqid = 7, .algorithm = WSE_AES_128_GCM, .key_length = 20, .flags = WSE_SA_ESN | WSE_SA_UDP};
    struct wse_association *association;
    const char *why;

    name_of(&sa.name, spi, direction);
    for (size_t i = 0; i < sizeof spi; i++)
        sa.key[i] = (uint8_t)(spi >> 8 * i);
    CHECK(!wse_association_make(&association, engine, &sa, &why));
    return association;
}

static void end(struct wse_retired *retired)
{
    freed++;
    wse_association_free((struct wse_association *)retired);
}

static void before(void *context)
{
    (void)context;
}

static void *look(void *argument)
{
    struct wse_reader *reader = argument;
    struct wse_association *association;
    struct wse_sa_name name;
    uint32_t spi = 0;

    while (!atomic_load(&stop)) {
        wse_enter(&engine->epochs, reader);
        for (int i = 0; i < 32; i++) {
            spi = (spi * 5 + 7) % NAMES;
            name_of(&name, 0x1000 + spi, WSE_INBOUND);
            association = wse_table_inbound(&engine->table, name.spi, AF_INET, name.source, name.destination, 1);
            if (association) {
                CHECK(association->name.spi == name.spi && association->replay->window == WSE_REPLAY_DEFAULT);
                wse_association_count(association, 1, 100, 1);
                atomic_fetch_add(&found, 1);
            }
            name_of(&name, 0x1000 + spi, WSE_OUTBOUND);
            association = wse_table_outbound(&engine->table, 7, AF_INET, name.source, name.destination);
            if (association) {
                CHECK(!memcmp(association->name.destination, name.destination, 16));
                CHECK(wse_sequence_take(&association->sequence, 3, true));
            }
        }
        wse_leave(reader);
    }
    return NULL;
}

static void with_readers(void)
{
    struct wse_association *now[2][NAMES] = {{NULL}};
    pthread_t readers[READERS];
    unsigned added = 0;

    for (int i = 0; i < READERS; i++)
        CHECK(!pthread_create(&readers[i], NULL, look, &engine->epochs.readers[i]));
    for (uint32_t round = 0; round < ROUNDS || !atomic_load(&found); round++) {
        const uint32_t number = round * 37 % NAMES;
        const enum wse_direction direction = round / NAMES % 2 ? WSE_INBOUND : WSE_OUTBOUND;
        struct wse_association **each = &now[direction - 1][number];

        if (*each) {
            wse_table_remove(&engine->table, &engine->epochs, *each, end);
            *each = NULL;
        } else {
            *each = made(0x1000 + number, direction);
            CHECK(!wse_table_add(&engine->table, *each));
            CHECK(wse_table_find(&engine->table, &(*each)->name) == *each);
            added++;
        }
        wse_reclaim(&engine->epochs, before, NULL);
    }
    for (int direction = 0; direction < 2; direction++)
        for (int number = 0; number < NAMES; number++)
            if (now[direction][number])
                wse_table_remove(&engine->table, &engine->epochs, now[direction][number], end);
    atomic_store(&stop, 1);
    for (int i = 0; i < READERS; i++)
        pthread_join(readers[i], NULL);
    CHECK(!wse_reclaim(&engine->epochs, before, NULL));
    CHECK(freed == added);
    CHECK(engine->table.count == 0 && !engine->table.all);
}

static void of_a_peer(void)
{
    struct wse_association *old = made(0x2000, WSE_OUTBOUND);
    struct wse_association *new = made(0x2008, WSE_OUTBOUND);
    const struct wse_sa_name *name = &old->name;
    const struct wse_table *table = &engine->table;

    CHECK(!wse_table_add(&engine->table, old));
    CHECK(wse_table_add(&engine->table, old) == -EEXIST);
    CHECK(wse_table_outbound(table, 7, AF_INET, name->source, name->destination) == old);
    CHECK(!wse_table_add(&engine->table, new));
    /* The newest at once; with another reqid none; and the older again when the newest goes. */
    CHECK(wse_table_outbound(table, 7, AF_INET, name->source, name->destination) == new);
    CHECK(!wse_table_outbound(table, 8, AF_INET, name->source, name->destination));
    CHECK(!wse_table_outbound(table, 7, AF_INET, name->destination, name->source));
    wse_table_remove(&engine->table, &engine->epochs, new, end);
    CHECK(wse_table_outbound(table, 7, AF_INET, name->source, name->destination) == old);
    wse_table_remove(&engine->table, &engine->epochs, old, end);
    CHECK(!wse_reclaim(&engine->epochs, before, NULL));
}

static void of_a_moved_peer(void)
{
    struct wse_association *association = made(0x3000, WSE_INBOUND);
    const uint8_t elsewhere[16] = {10, 9, 9, 9};
    const struct wse_sa_name *name = &association->name;
    const struct wse_table *table = &engine->table;

    CHECK(!wse_table_add(&engine->table, association));
    CHECK(wse_table_has_spi(table, 0x3000) && !wse_table_has_spi(table, 0x3001));
    CHECK(wse_table_inbound(table, 0x3000, AF_INET, name->source, name->destination, 1) == association);
    CHECK(wse_table_inbound(table, 0x3000, AF_INET, elsewhere, name->destination, 1) == association);
    /* To another address, or not in UDP, it is another's. */
    CHECK(!wse_table_inbound(table, 0x3000, AF_INET, name->source, elsewhere, 1));
    CHECK(!wse_table_inbound(table, 0x3000, AF_INET, name->source, name->destination, 0));
    wse_table_remove(&engine->table, &engine->epochs, association, end);
    CHECK(!wse_reclaim(&engine->epochs, before, NULL));
}

static void what_a_reader_has_stays(void)
{
    struct wse_association *association = made(0x4000, WSE_INBOUND);
    const unsigned ends = freed;

    CHECK(!wse_table_add(&engine->table, association));
    wse_enter(&engine->epochs, &engine->epochs.readers[0]);
    wse_table_remove(&engine->table, &engine->epochs, association, end);
    CHECK(wse_reclaim(&engine->epochs, before, NULL) && freed == ends);
    /* Who comes later does not hold it up. */
    wse_enter(&engine->epochs, &engine->epochs.readers[1]);
    CHECK(wse_reclaim(&engine->epochs, before, NULL) && freed == ends);
    wse_leave(&engine->epochs.readers[0]);
    CHECK(!wse_reclaim(&engine->epochs, before, NULL) && freed == ends + 1);
    wse_leave(&engine->epochs.readers[1]);
}

static void remove_too(void *context)
{
    wse_table_remove(&engine->table, &engine->epochs, context, end);
}

/* A reader may have come in since it was seen that there is none. */
static void what_is_removed_meanwhile_stays(void)
{
    struct wse_association *first = made(0x4001, WSE_INBOUND);
    struct wse_association *second = made(0x4002, WSE_INBOUND);
    const unsigned ends = freed;

    CHECK(!wse_table_add(&engine->table, first) && !wse_table_add(&engine->table, second));
    wse_table_remove(&engine->table, &engine->epochs, first, end);
    CHECK(wse_reclaim(&engine->epochs, remove_too, second) && freed == ends + 1);
    CHECK(!wse_reclaim(&engine->epochs, before, NULL) && freed == ends + 2);
}

static void limits(void)
{
    struct wse_association *association = made(0x5000, WSE_OUTBOUND);
    struct wse_sa_state state;

    association->limits = (struct wse_limits){
        .soft_bytes = 500, .hard_packets = 10, .soft_seconds = 5, .hard_seconds = 9, .idle_seconds = 3};
    CHECK(wse_association_count(association, 4, 499, association->since) == 0);
    CHECK(wse_association_count(association, 1, 1, association->since) == WSE_TOLD_SOFT);
    /* Each is told once, by whatever it is due. */
    CHECK(wse_association_count(association, 1, 1, association->since + 4) == 0);
    CHECK(wse_association_due(association, association->since + 6) == 0);
    CHECK(!wse_at_end(association));
    CHECK(wse_association_due(association, association->since + 7) == WSE_TOLD_HARD);
    CHECK(wse_at_end(association));
    CHECK(wse_association_count(association, 9, 1, association->since) == 0);
    wse_association_state(association, association->since + 7, &state);
    CHECK(state.packets == 15 && state.bytes == 502 && state.soft_expired && state.age_seconds == 7);
    wse_association_free(association);

    /* Before the sequence numbers of 32 bits end, a new one is asked for. */
    association = made(0x5001, WSE_OUTBOUND);
    association->flags = 0;
    CHECK(wse_association_count(association, 0xefffffff, 1, association->since) == 0);
    CHECK(wse_association_count(association, 1, 1, association->since) == WSE_TOLD_SOFT);
    wse_association_free(association);
}

int main(void)
{
    engine = wse_pages(sizeof *engine);
    CHECK(engine);
    wse_epochs_start(&engine->epochs);
    engine->threads = 2;
    engine->crypto = wse_crypto_choose(NULL);
    CHECK(engine->crypto);
    CHECK(!wse_table_start(&engine->table, 0x123456789abcdef0U));
    of_a_peer();
    of_a_moved_peer();
    what_a_reader_has_stays();
    what_is_removed_meanwhile_stays();
    limits();
    freed = 0;
    with_readers();
    CHECK(!wse_table_add(&engine->table, made(0x6000, WSE_INBOUND)));
    CHECK(!wse_table_add(&engine->table, made(0x6000, WSE_OUTBOUND)));
    wse_table_end(&engine->table);
    CHECK(!engine->table.all);
    return 0;
}
