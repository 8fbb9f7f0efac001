/* SPDX-License-Identifier: Apache-2.0 */
#include "connections.h"

#include <stdlib.h>

#include "../core/table.h"

struct wsasec_connections {
    struct wsasec_table table;
};

struct wsasec_connections *wsasec_connections_new(void)
{
    return calloc(1, sizeof(struct wsasec_connections));
}

void wsasec_connections_free(struct wsasec_connections *connections)
{
    for (size_t i = 0; connections && i < WSASEC_TABLE_CHUNKS; i++)
        free(atomic_load(&connections->table.chunks[i]));
    free(connections);
}

struct wsasec_connection *wsasec_connection_make(struct wsasec_connections *connections, int32_t fd)
{
    return wsasec_table_place(&connections->table, sizeof(struct wsasec_connection), fd, 1);
}

struct wsasec_connection *wsasec_connection_at(struct wsasec_connections *connections, int32_t fd)
{
    return wsasec_table_place(&connections->table, sizeof(struct wsasec_connection), fd, 0);
}

void wsasec_connections_each(struct wsasec_connections *connections,
                             void (*call)(int32_t fd, struct wsasec_connection *connection))
{
    for (size_t i = 0; i < WSASEC_TABLE_CHUNKS; i++) {
        struct wsasec_connection *chunk = (struct wsasec_connection *)(void *)atomic_load(&connections->table.chunks[i]);

        for (size_t j = 0; chunk && j < WSASEC_TABLE_CHUNK; j++)
            if (atomic_load_explicit(&chunk[j].open, memory_order_acquire))
                call((int32_t)(i * WSASEC_TABLE_CHUNK + j), &chunk[j]);
    }
}
