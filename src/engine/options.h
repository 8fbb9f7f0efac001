/* SPDX-License-Identifier: Apache-2.0 */
/* The command line of wsasec-engine. */
#ifndef WSASEC_ENGINE_OPTIONS_H
#define WSASEC_ENGINE_OPTIONS_H

enum { WSE_RAISED_MAX = 39 }; /* from 19 to -20 */

struct wse_options {
    int control;       /* descriptor */
    unsigned threads;  /* of each direction */
    unsigned spin;     /* microseconds */
    int raised;        /* by how much the nice value was lowered */
    const char *crypto; /* NULL: the fastest */
};

/* 0; 1: what was asked for was printed, end without an error; -1: usage was said on standard error. */
int wse_options_read(struct wse_options *options, int count, char **arguments);

#endif
