/* SPDX-License-Identifier: Apache-2.0 */
#include "log.h"

#include <errno.h>
#include <poll.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <time.h>
#include <unistd.h>

static _Atomic(uint64_t) second; /* of the monotonic clock */
static _Atomic(uint32_t) lines;  /* in it */
static _Atomic(uint32_t) left_off;

/* A standard error that blocks would stop the packets: nothing is written while there is no room. */
static void put(const char *text, size_t length)
{
    struct pollfd room = {.fd = STDERR_FILENO, .events = POLLOUT};

    if (poll(&room, 1, 0) == 1 && (room.revents & POLLOUT) && write(STDERR_FILENO, text, length) < 0)
        return; /* nobody is there who could be told */
}

static int allowed(void)
{
    struct timespec now;
    uint64_t before = atomic_load(&second);

    clock_gettime(CLOCK_MONOTONIC, &now);
    if ((uint64_t)now.tv_sec != before && atomic_compare_exchange_strong(&second, &before, (uint64_t)now.tv_sec))
        atomic_store(&lines, 0);
    return atomic_fetch_add(&lines, 1) < WSE_LOG_LINES;
}

void wse_log(const char *format, ...)
{
    char text[512];
    va_list arguments;
    uint32_t missing;
    int start, length;

    if (!allowed()) {
        atomic_fetch_add(&left_off, 1);
        return;
    }
    missing = atomic_exchange(&left_off, 0);
    start = missing ? snprintf(text, sizeof text, "wsasec-engine: %u lines were left off\nwsasec-engine: ", missing)
                    : snprintf(text, sizeof text, "wsasec-engine: ");
    va_start(arguments, format);
    length = vsnprintf(text + start, sizeof text - (size_t)start - 1, format, arguments);
    va_end(arguments);
    if (length < 0)
        return;
    length += start;
    if (length > (int)sizeof text - 2)
        length = (int)sizeof text - 2;
    text[length++] = '\n';
    put(text, (size_t)length);
}
