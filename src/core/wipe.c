/* SPDX-License-Identifier: Apache-2.0 */
#include "wsasec.h"

void wsasec_wipe(void *memory, size_t length)
{
    volatile unsigned char *byte = memory; /* what is written to it must be written */

    while (length--)
        *byte++ = 0;
}
