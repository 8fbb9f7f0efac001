/* SPDX-License-Identifier: Apache-2.0 */
#ifndef WSASEC_CORE_ERRORS_H
#define WSASEC_CORE_ERRORS_H

#include "wsasec.h"

/* Fills in the status (which may be NULL) and returns the code of the reason, made negative. */
int32_t wsasec_fail(wsasec_status *status, unsigned step, unsigned reason, int32_t os_error);

/* The same, with what there is to say of this case (wsasec_detail()); cut where it is too long. */
int32_t wsasec_fail_detail(wsasec_status *status, unsigned step, unsigned reason, int32_t os_error,
                           const char *detail);

#endif
