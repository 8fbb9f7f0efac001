/* SPDX-License-Identifier: Apache-2.0 */
/* Telling a socket's facts. */
#ifndef WSASEC_WINDOWS_INSPECT_H
#define WSASEC_WINDOWS_INSPECT_H

#include "../backend.h"

/* From the system's number of a type to enum wsasec_type. */
uint8_t wsasec_type_of(int type);

/* An identity that no socket had before. */
uint64_t wsasec_identity_new(void);

/* The facts of a socket that was just made. */
void wsasec_facts_of_fresh(int address_family, int type, struct wsasec_facts *facts);

#endif
