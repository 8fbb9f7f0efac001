/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * charon's calls for SAs, each a request to the engine. Settings, in strongswan.conf below charon.plugins.kernel-wsasec:
 *
 *   socket   the engine's control socket; /run/wsasec/engine if it is not said
 *   timeout  how long an answer is waited for, and an engine that is not there; 3s
 */
#ifndef WSASEC_CHARON_KERNEL_WSASEC_IPSEC_H
#define WSASEC_CHARON_KERNEL_WSASEC_IPSEC_H

#include <kernel/kernel_ipsec.h>

/* NULL if it cannot be made. */
kernel_ipsec_t *kernel_wsasec_ipsec_create(void);

#endif
