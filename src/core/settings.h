/* SPDX-License-Identifier: Apache-2.0 */
#ifndef WSASEC_CORE_SETTINGS_H
#define WSASEC_CORE_SETTINGS_H

#include "../backend.h"

/* Reads a caller's settings. What is wrong with them is noted in the request, not reported: the contract's
 * order wants the socket looked at in between. */
void wsasec_settings_read(const void *settings, uint32_t settings_len, struct wsasec_request *request);

#endif
