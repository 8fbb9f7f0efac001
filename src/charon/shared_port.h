/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A UDP port that charon and the engine share (RFC 3948): what begins with four zero bytes is IKE and stays with charon,
 * as do keepalives, which are shorter; all else is ESP and the engine's.
 */
#ifndef WSASEC_CHARON_SHARED_PORT_H
#define WSASEC_CHARON_SHARED_PORT_H

#include <stddef.h>
#include <stdint.h>

#include "inherited_sockets.h"

/*
 * Opens or closes sockets beside charon's, bound as that is, until as many as wanted are open, of which there are *count
 * before, and has the kernel choose. Inherited ones come first. An SPI always goes to the same of them. 0, and *count is
 * at least 1, and what is wanted if the system gives so many; or a negative errno, where none could be opened and all
 * comes to charon, or none closed.
 */
int shared_port_open(int charon, struct inherited_sockets *inherited, int *sockets, size_t *count, size_t wanted);

#endif
