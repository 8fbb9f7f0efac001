/* SPDX-License-Identifier: Apache-2.0 */
#ifndef WSASEC_CORE_ERRORS_H
#define WSASEC_CORE_ERRORS_H

#include "wsasec.h"

/* Fills in the status (which may be NULL) and returns the code of the reason, made negative. */
int32_t wsasec_fail(wsasec_status *status, unsigned step, unsigned reason, int32_t os_error);

#endif
