/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A UDP port that charon and the engine share (RFC 3948): what begins with four zero bytes is IKE and stays with charon,
 * as do keepalives, which are shorter; all else is ESP and the engine's.
 */
#ifndef WSASEC_CHARON_SHARED_PORT_H
#define WSASEC_CHARON_SHARED_PORT_H

#include <stddef.h>
#include <stdint.h>

/*
 * Opens count sockets beside charon's, bound as that is, and has the kernel choose. An SPI always goes to the same of
 * them. 0, or a negative errno; then nothing is left open, and all comes to charon.
 */
int shared_port_open(int charon, int *sockets, size_t count);

#endif
