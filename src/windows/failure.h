/* SPDX-License-Identifier: Apache-2.0 */
#ifndef WSASEC_WINDOWS_FAILURE_H
#define WSASEC_WINDOWS_FAILURE_H

#include "../core/errors.h"

/*
 * As wsasec_fail(), for a code of WSAGetLastError(): the status and what is returned have that code, unchanged, and the
 * reason that it stands for in the calls of a step.
 */
int32_t wsasec_fail_winsock(wsasec_status *status, unsigned step, int32_t error);

#endif
