/* SPDX-License-Identifier: Apache-2.0 */
#ifndef WSASEC_CORE_PROFILES_H
#define WSASEC_CORE_PROFILES_H

#include "wsasec.h"

/* The profile in use with this GUID, or the default for NULL; NULL if there is none. */
const wsasec_profile *wsasec_profile_find(const wsasec_guid *guid, uint16_t *number);

/* The profile in use with this mark, or NULL. */
const wsasec_profile *wsasec_profile_of_mark(uint32_t mark, uint16_t *number);

/* Whether a mark is that of a profile in use. */
int wsasec_profile_marks(uint32_t mark);

#endif
