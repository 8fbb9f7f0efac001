/* SPDX-License-Identifier: Apache-2.0 */
#ifndef WSASEC_LINUX_FAILURE_H
#define WSASEC_LINUX_FAILURE_H

#include "../core/errors.h"

/* As wsasec_fail(), with the reason that an errno stands for in the calls of a step. */
int32_t wsasec_fail_errno(wsasec_status *status, unsigned step, int error);

#endif
