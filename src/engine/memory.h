/* SPDX-License-Identifier: Apache-2.0 */
/* Memory: what holds keys is locked, out of core dumps and of forked children, and wiped; the rest is mapped once at the start. */
#ifndef WSASEC_ENGINE_MEMORY_H
#define WSASEC_ENGINE_MEMORY_H

#include <stddef.h>

/*
 * Pages of zeros that are taken from the system when they are first written. Returns NULL when there are none. They stay as long
 * as the program does.
 */
void *wse_pages(size_t bytes);

/* Takes size bytes for keys, of zeros and aligned to 64. NULL: there is none. Control thread only. */
void *wse_secret_take(size_t bytes);

/* Wipes and gives back. size is what was asked for. NULL is allowed. Control thread only. */
void wse_secret_give(void *secret, size_t bytes);

/* Locks memory that a library keeps keys in. 0, or -errno, which is said once in the log. */
int wse_secret_lock(void *memory, size_t bytes);

/* Whether all that was taken so far is locked: it is not where RLIMIT_MEMLOCK is too low, which is said once in the log. */
int wse_secrets_locked(void);

#endif
