/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Ends SAs: an engine that does not answer may have one although nobody wants it, and would send by it. It is asked until
 * it says that it has it no more. For any thread.
 */
#ifndef WSASEC_CHARON_ENDING_SAS_H
#define WSASEC_CHARON_ENDING_SAS_H

#include "engine_link.h"
#include "known_sas.h"

typedef struct ending_sas_t ending_sas_t;

/* Both stay the caller's, and outlast it. */
ending_sas_t *ending_sas_create(engine_link_t *link, known_sas_t *known);
void ending_sas_destroy(ending_sas_t *this);

/* Asks for the end of one that is ending. 0; -ENOENT: the engine has none; or another negative errno, and it stays ending. */
int ending_sas_finish(ending_sas_t *this, const struct wse_sa_name *name);

/* Asks for that of all that are ending. Whether none is left. */
bool ending_sas_finish_all(ending_sas_t *this);

#endif
