/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef WSASEC_CHARON_KERNEL_WSASEC_PLUGIN_H
#define WSASEC_CHARON_KERNEL_WSASEC_PLUGIN_H

#include <plugins/plugin.h>

/* What strongSwan's loader looks for. */
__attribute__((visibility("default"))) plugin_t *kernel_wsasec_plugin_create(void);

#endif
