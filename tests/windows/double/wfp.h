/* SPDX-License-Identifier: Apache-2.0 */
/* What the parts of the filtering platform's double share. */
#ifndef WSASEC_TESTS_WFP_H
#define WSASEC_TESTS_WFP_H

#include "double.h"

#include <fwpmu.h>
#include <stddef.h>

/* Memory for one answer, which FwpmFreeMemory0 frees in one piece. */
struct arena {
    uint8_t *start;
    size_t used;
    size_t room;
    int is_full;
};

int arena_make(struct arena *arena, size_t room);
void arena_drop(struct arena *arena);
/* Zeroed; NULL where there is no more room. */
void *arena_take(struct arena *arena, size_t size);
/* A copy; NULL of NULL, or of nothing. */
void *arena_copy(struct arena *arena, const void *source, size_t size);
wchar_t *arena_text(struct arena *arena, const wchar_t *source);

void wfp_enter(void);
void wfp_leave(void);
/* As call_end(), but the code is returned. */
DWORD wfp_end(struct call *call, DWORD error);
int engine_is_open(HANDLE handle);

/* How many enumerations are open. */
uint32_t sa_walks(void);
void sa_reset(void);

#endif
