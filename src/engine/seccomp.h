/* SPDX-License-Identifier: Apache-2.0 */
/* The filter of system calls: what a running engine needs, and nothing that opens, starts, or raises anything. */
#ifndef WSASEC_ENGINE_SECCOMP_H
#define WSASEC_ENGINE_SECCOMP_H

/* Puts the filter on all threads, for good. 0 or -errno. */
int wse_seccomp_start(void);

#endif
