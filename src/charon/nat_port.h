/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Whether charon has got the second of IKE's ports (4500, RFC 3947), which carries ESP, too. Its sockets are there for as long as
 * it runs: socket-default tries once, and where another process has that port, only says so. One charon is in a process.
 */
#ifndef WSASEC_CHARON_NAT_PORT_H
#define WSASEC_CHARON_NAT_PORT_H

#include <library.h>
#include <plugins/plugin.h>

/* It has a socket for IKE, and is about to have one for this port. */
void nat_port_wanted(int family, uint16_t port);
void nat_port_there(int family);

/* For the loader, after the sockets: a feature that fails without the port. */
bool nat_port_check(plugin_t *plugin, plugin_feature_t *feature, bool reg, void *data);

#endif
