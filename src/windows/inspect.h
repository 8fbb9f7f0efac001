/* SPDX-License-Identifier: Apache-2.0 */
/* Telling sockets apart. */
#ifndef WSASEC_WINDOWS_INSPECT_H
#define WSASEC_WINDOWS_INSPECT_H

#include "../backend.h"

/* A WSASEC_TYPE_ of the system's number. */
uint8_t wsasec_type_of(int type);

/* An identity that no socket of this number had before. */
uint64_t wsasec_identity_new(wsasec_socket socket);

#endif
