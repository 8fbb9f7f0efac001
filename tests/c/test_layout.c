/* SPDX-License-Identifier: Apache-2.0 */
/* The public headers in a program of their own: the static asserts in them are the test. Also built as C++. */
#include "wsasec.h"

int main(void)
{
    return sizeof(wsasec_socket_security_settings_ipsec) == 88 ? 0 : 1;
}
