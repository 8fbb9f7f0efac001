/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What charon has told the engine of: names only, never keys. An engine that was started again has none of it, and charon
 * must hear which are gone. For any thread.
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
bool known_sas_has(known_sas_t *this, const struct wse_sa_name *name);
/* Whether it was there. */
bool known_sas_remove(known_sas_t *this, const struct wse_sa_name *name);
void known_sas_clear(known_sas_t *this);
/* A copy of all, to be freed, in the order of known_sas_compare(), and how many. */
struct wse_sa_name *known_sas_all(known_sas_t *this, size_t *count);

int known_sas_compare(const void *one, const void *other);

#endif
