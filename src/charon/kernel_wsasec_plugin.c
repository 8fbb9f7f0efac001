/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Gives charon an IPsec "kernel" that is the engine. It must come before kernel-netlink in charon's list of plugins, which
 * then has addresses and routes only.
 */
#include "kernel_wsasec_plugin.h"

#include <daemon.h>

#include "kernel_wsasec_ipsec.h"
#include "nat_port.h"

/* For who starts charon, and reads this file: a charon of another version would not notice, and crash. */
__attribute__((used)) static const char built_for[] = "kernel-wsasec for strongSwan " VERSION;

METHOD(plugin_t, get_name, char*,
    plugin_t *this)
{
    return "kernel-wsasec";
}

METHOD(plugin_t, get_features, int,
    plugin_t *this, plugin_feature_t *features[])
{
    static plugin_feature_t ours[] = {
        PLUGIN_CALLBACK(kernel_ipsec_register, kernel_wsasec_ipsec_create),
            PLUGIN_PROVIDE(CUSTOM, "kernel-ipsec"),
        PLUGIN_CALLBACK(nat_port_check, NULL),
            PLUGIN_PROVIDE(CUSTOM, "wsasec-nat-port"),
                PLUGIN_DEPENDS(CUSTOM, "socket"),
    };

    *features = ours;
    return countof(ours);
}

METHOD(plugin_t, destroy, void,
    plugin_t *this)
{
    free(this);
}

plugin_t *kernel_wsasec_plugin_create(void)
{
    plugin_t *this;

    INIT(this,
        .get_name = _get_name,
        .get_features = _get_features,
        .destroy = _destroy,
    );
    return this;
}
