/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A place for each descriptor, all of one size, zero at first. Chunks of them are made when they are first asked
 * for, without locks, and stay where they are.
 */
#ifndef WSASEC_CORE_TABLE_H
#define WSASEC_CORE_TABLE_H

#include <stdatomic.h>

#include "wsasec.h"

enum { WSASEC_TABLE_CHUNK = 4096, WSASEC_TABLE_CHUNKS = 16384 }; /* 64 Mi descriptors */

struct wsasec_table {
    _Atomic(unsigned char *) chunks[WSASEC_TABLE_CHUNKS];
};

/* Makes the chunk with this index; NULL: no memory. */
unsigned char *wsasec_table_make(struct wsasec_table *table, size_t size, size_t index);

/* NULL: not made before and not to be made now, no memory, or a descriptor too large to be true. */
static inline void *wsasec_table_place(struct wsasec_table *table, size_t size, wsasec_socket socket, int make)
{
    const size_t index = (size_t)socket / WSASEC_TABLE_CHUNK;
    unsigned char *chunk;

    if (socket < 0 || index >= WSASEC_TABLE_CHUNKS)
        return NULL;
    chunk = atomic_load_explicit(&table->chunks[index], memory_order_acquire);
    if (!chunk && make)
        chunk = wsasec_table_make(table, size, index);
    return chunk ? chunk + (size_t)socket % WSASEC_TABLE_CHUNK * size : NULL;
}

#endif
