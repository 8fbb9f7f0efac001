/* SPDX-License-Identifier: Apache-2.0 */
#include "seccomp.h"

int wse_seccomp_start(void)
{
    return 0;
}
