/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "nat_port.h"

#include <sys/socket.h>

static struct family {
    const char *name;
    uint16_t port; /* 0: not wanted */
    bool there;
} families[] = {{.name = "IPv4"}, {.name = "IPv6"}};

static struct family *of(int family)
{
    return &families[family == AF_INET6];
}

void nat_port_wanted(int family, uint16_t port)
{
    of(family)->port = port;
}

void nat_port_there(int family)
{
    of(family)->there = TRUE;
}

bool nat_port_check(plugin_t *plugin, plugin_feature_t *feature, bool reg, void *data)
{
    bool all = TRUE;

    for (size_t i = 0; reg && i < countof(families); i++)
    {
        if (families[i].port != 0 && !families[i].there)
        {
            DBG1(DBG_KNL, "another process has UDP port %u, %s: until it ends nothing can be negotiated",
                 families[i].port, families[i].name);
            all = FALSE;
        }
    }
    return all;
}
