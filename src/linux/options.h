/* SPDX-License-Identifier: Apache-2.0 */
/* Socket options that the headers of some C libraries do not have. */
#ifndef WSASEC_LINUX_OPTIONS_H
#define WSASEC_LINUX_OPTIONS_H

#include <netinet/in.h>
#include <sys/socket.h>

#ifndef IP_BIND_ADDRESS_NO_PORT
#define IP_BIND_ADDRESS_NO_PORT 24
#endif
#ifndef SO_BINDTOIFINDEX
#define SO_BINDTOIFINDEX 62 /* Linux 5.0 */
#endif

#endif
