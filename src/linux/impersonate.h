/* SPDX-License-Identifier: Apache-2.0 */
#ifndef WSASEC_LINUX_IMPERSONATE_H
#define WSASEC_LINUX_IMPERSONATE_H

/* Whether the calling thread acts as this peer: identity as the key daemon told it. */
int wsasec_acts_as(const char *identity);

#endif
