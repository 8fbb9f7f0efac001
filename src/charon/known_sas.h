/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What charon has told the engine of: names only, never keys. An engine that was started again has none of it, and charon
 * must hear which are gone. An SA that charon wants no more is ending until the engine is known not to have it: charon does not
 * hear of it again, but it is not forgotten. For any thread.
 */
#ifndef WSASEC_CHARON_KNOWN_SAS_H
#define WSASEC_CHARON_KNOWN_SAS_H

#include <stdbool.h>
#include <stddef.h>

#include "control_protocol.h"

typedef struct known_sas_t known_sas_t;

known_sas_t *known_sas_create(void);
void known_sas_destroy(known_sas_t *this);

void known_sas_add(known_sas_t *this, const struct wse_sa_name *name);
/* It is ending from now on, also if it was not known before. */
void known_sas_end(known_sas_t *this, const struct wse_sa_name *name);
void known_sas_end_all(known_sas_t *this);
/* All that are ending are gone. */
void known_sas_forget_ending(known_sas_t *this);
/* Ending or not. */
bool known_sas_has(known_sas_t *this, const struct wse_sa_name *name);
bool known_sas_is_ending(known_sas_t *this, const struct wse_sa_name *name);
/* charon may not have it among its own yet, for all that it was told. Also one that is not known. */
bool known_sas_is_young(known_sas_t *this, const struct wse_sa_name *name);
/*
 * The engine did not take one of this name, as it has another: charon deletes what it could not add, by the same name.
 * That is so once for each that was refused, and then the other one stays.
 */
void known_sas_refuse(known_sas_t *this, const struct wse_sa_name *name);
bool known_sas_was_refused(known_sas_t *this, const struct wse_sa_name *name);
/* It is gone. Whether charon still wanted it. */
bool known_sas_remove(known_sas_t *this, const struct wse_sa_name *name);
/* A copy of those that are ending, or of the others, to be freed, in the order of known_sas_compare(), and how many. */
struct wse_sa_name *known_sas_all(known_sas_t *this, bool ending, size_t *count);

int known_sas_compare(const void *one, const void *other);

#endif
