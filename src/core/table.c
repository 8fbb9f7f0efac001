/* SPDX-License-Identifier: Apache-2.0 */
#include "table.h"

#include <stdlib.h>

void *wsasec_table_place(struct wsasec_table *table, size_t size, wsasec_socket socket, int make)
{
    const size_t index = (size_t)socket / WSASEC_TABLE_CHUNK;
    unsigned char *chunk;
    unsigned char *fresh;

    if (socket < 0 || index >= WSASEC_TABLE_CHUNKS)
        return NULL;
    chunk = atomic_load_explicit(&table->chunks[index], memory_order_acquire);
    if (!chunk && make) {
        fresh = calloc(WSASEC_TABLE_CHUNK, size);
        if (!fresh)
            return NULL;
        if (atomic_compare_exchange_strong(&table->chunks[index], &chunk, fresh))
            chunk = fresh;
        else
            free(fresh);
    }
    return chunk ? chunk + (size_t)socket % WSASEC_TABLE_CHUNK * size : NULL;
}
