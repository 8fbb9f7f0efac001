/* SPDX-License-Identifier: Apache-2.0 */
/* What carries a profile's sockets: policies of the kernel's own IPsec, or a secure device. */
#ifndef WSASEC_LINUX_CARRIER_H
#define WSASEC_LINUX_CARRIER_H

#include "wsasec.h"

/* WSASEC_CARRIER_POLICY or _DEVICE; WSASEC_CARRIER_AUTO where the calling thread lacks the privilege to find out. */
enum wsasec_carrier wsasec_carrier_of(const wsasec_profile *profile);

#endif
