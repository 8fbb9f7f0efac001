/* SPDX-License-Identifier: Apache-2.0 */
/* Any bytes as settings, in a buffer with nothing behind it: no read beyond, and nothing invalid accepted. */
#include <stdlib.h>
#include <string.h>

#include "../../src/core/settings.h"

static uint32_t word(const uint8_t *at)
{
    uint32_t value;

    memcpy(&value, at, sizeof value);
    return value;
}

int wsasec_backend_has_profiles(void)
{
    return 1;
}

int wsasec_backend_falls_back(const wsasec_profile *profile)
{
    return profile->carrier != WSASEC_CARRIER_DEVICE;
}

int wsasec_backend_checks_sockets(void)
{
    return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct wsasec_request request;
    uint8_t *exact = malloc(size ? size : 1);

    if (!exact)
        return 0;
    memcpy(exact, data, size);
    wsasec_settings_read(exact, (uint32_t)size, &request);
    free(exact);
    if (!request.buffer_reason && !request.member_reason) {
        if (size < 8 || word(data) > 1 || word(data + 4) > 3 || !request.profile)
            abort();
        if (word(data) == 0 && (size != 8 || request.skip))
            abort();
        if (word(data) == 1 && (size < 88 || word(data + 8) > 15 ||
                                84 + (uint64_t)word(data + 72) + word(data + 76) + word(data + 80) > size))
            abort();
        if (!request.required && word(data + 4) != WSASEC_SOCKET_SETTINGS_ALLOW_INSECURE)
            abort();
    }
    return 0;
}
