/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The secure device of a profile: a TUN device of the engine, which sends and takes ESP only. Binding a socket to it does
 * not keep everything in it; the rules of nftables, routes and sysctls around it do, and who keeps them vouches for them
 * in the device's alias:
 *
 *   wsasec/1 reqid=R mark=0xMMMMMMMM/0xMMMMMMMM nft=G
 *
 * with the profile's numbers, and the generation of the namespace's nftables at which all was found in force. Here the
 * voucher is read and compared, and nothing is put up or mended.
 */
#ifndef WSASEC_LINUX_DEVICE_H
#define WSASEC_LINUX_DEVICE_H

#include "../backend.h"

enum { WSASEC_DEVICE_NAME = 16 }; /* IFNAMSIZ */

void wsasec_device_name(const wsasec_profile *profile, char name[WSASEC_DEVICE_NAME]);

/*
 * Finds the profile's device in a realm (see realm.h), and that it is vouched for: *index is that of its interface. Where
 * that has only just ceased to be so, it waits up to half a second for who vouches to look again.
 */
int32_t wsasec_device_ready(uint64_t realm, wsasec_socket socket, const wsasec_profile *profile, int address_family,
                            uint32_t *index, wsasec_status *status);

/* A sum of enum wsasec_guard_state for the calling thread's namespace, or an error. */
int32_t wsasec_device_look(const wsasec_profile *profile, int address_family, wsasec_status *status);

#endif
