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

/* NULL: not made before and not to be made now, no memory, or a descriptor too large to be true. */
void *wsasec_table_place(struct wsasec_table *table, size_t size, wsasec_socket socket, int make);

#endif
