/* SPDX-License-Identifier: Apache-2.0 */
/* Parts of telling a socket's facts, for those who ask in another way. */
#ifndef WSASEC_WINDOWS_INSPECT_H
#define WSASEC_WINDOWS_INSPECT_H

#include "../backend.h"

/* From SO_TYPE to enum wsasec_type. */
uint8_t wsasec_type_of(int type);

#endif
