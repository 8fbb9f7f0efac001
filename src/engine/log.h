/* SPDX-License-Identifier: Apache-2.0 */
/* What the engine says on its standard error: at most so many lines a second, and never a secret. */
#ifndef WSASEC_ENGINE_LOG_H
#define WSASEC_ENGINE_LOG_H

enum { WSE_LOG_LINES = 20 /* a second; what is over is counted, and the count is said */ };

/* Any thread may. A line break is added. It never waits: a pipe that is full loses the line. */
void wse_log(const char *format, ...) __attribute__((format(printf, 1, 2)));

#endif
