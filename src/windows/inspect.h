/* SPDX-License-Identifier: Apache-2.0 */
/* Telling sockets apart. */
#ifndef WSASEC_WINDOWS_INSPECT_H
#define WSASEC_WINDOWS_INSPECT_H

#include "../backend.h"

/* An identity that no socket of this number had before. */
uint64_t wsasec_identity_new(wsasec_socket socket);

#endif
