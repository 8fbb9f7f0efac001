/* SPDX-License-Identifier: Apache-2.0 */
#include "table.h"

#include <stdlib.h>

unsigned char *wsasec_table_make(struct wsasec_table *table, size_t size, size_t index)
{
    unsigned char *chunk = NULL;
    unsigned char *fresh = calloc(WSASEC_TABLE_CHUNK, size);

    if (!fresh || atomic_compare_exchange_strong(&table->chunks[index], &chunk, fresh))
        return fresh;
    free(fresh);
    return chunk;
}
