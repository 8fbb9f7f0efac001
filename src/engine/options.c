/* SPDX-License-Identifier: Apache-2.0 */
#include "options.h"

#include <errno.h>
#include <getopt.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>

#include "engine.h"
#include "wait.h"

static const char usage[] =
    "usage: wsasec-engine --control-fd N [--threads N] [--spin N] [--raised N] [--crypto NAME]\n"
    "       wsasec-engine --version\n"
    "\n"
    "Moves packets between TUN devices and ESP. It is started by wsasec, which hands it all that it works with over\n"
    "the descriptor N, a UNIX socket of type SOCK_SEQPACKET, and ends when the other end of that is closed.\n"
    "\n"
    "  --control-fd N  the socket\n"
    "  --threads N     of each direction, 1 to 16; default 1\n"
    "  --spin N        microseconds that a thread looks for the next packet before it sleeps, where they come in quick\n"
    "                  steps; 0 to 1000; default 200\n"
    "  --raised N      by how much its nice value was lowered for the threads of inbound packets: the others take\n"
    "                  that back; 0 to 39; default 0\n"
    "  --crypto NAME   ipsec-mb or OpenSSL; default: the fastest that is there\n";

static int number(const char *text, long least, long most, long *value)
{
    char *end;

    errno = 0;
    *value = strtol(text, &end, 10);
    return errno || end == text || *end || *value < least || *value > most ? -1 : 0;
}

int wse_options_read(struct wse_options *options, int count, char **arguments)
{
    static const struct option known[] = {
        {"control-fd", required_argument, NULL, 'f'}, {"threads", required_argument, NULL, 't'},
        {"spin", required_argument, NULL, 's'},       {"raised", required_argument, NULL, 'r'},
        {"crypto", required_argument, NULL, 'c'},     {"help", no_argument, NULL, 'h'},
        {"version", no_argument, NULL, 'v'},          {NULL, 0, NULL, 0},
    };
    long value;
    int option;

    *options = (struct wse_options){.control = -1, .threads = 1, .spin = WSE_SPIN};
    while ((option = getopt_long(count, arguments, "", known, NULL)) != -1) {
        switch (option) {
        case 'f':
            if (number(optarg, 0, INT_MAX, &value))
                goto wrong;
            options->control = (int)value;
            break;
        case 't':
            if (number(optarg, 1, WSE_THREADS_MAX, &value))
                goto wrong;
            options->threads = (unsigned)value;
            break;
        case 's':
            if (number(optarg, 0, WSE_SPIN_MAX, &value))
                goto wrong;
            options->spin = (unsigned)value;
            break;
        case 'r':
            if (number(optarg, 0, WSE_RAISED_MAX, &value))
                goto wrong;
            options->raised = (int)value;
            break;
        case 'c':
            options->crypto = optarg;
            break;
        case 'h':
            fputs(usage, stdout);
            return 1;
        case 'v':
            puts("wsasec-engine " WSASEC_VERSION);
            return 1;
        default:
            goto wrong;
        }
    }
    if (options->control < 0 || optind != count)
        goto wrong;
    return 0;
wrong:
    fputs(usage, stderr);
    return -1;
}
