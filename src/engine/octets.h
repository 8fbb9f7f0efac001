/* SPDX-License-Identifier: Apache-2.0 */
/* Numbers in network order at any address. */
#ifndef WSASEC_ENGINE_OCTETS_H
#define WSASEC_ENGINE_OCTETS_H

#include <arpa/inet.h>
#include <stdint.h>
#include <string.h>

static inline uint16_t wse_get16(const uint8_t *at)
{
    uint16_t value;

    memcpy(&value, at, sizeof value);
    return ntohs(value);
}

static inline uint32_t wse_get32(const uint8_t *at)
{
    uint32_t value;

    memcpy(&value, at, sizeof value);
    return ntohl(value);
}

static inline void wse_put16(uint8_t *at, uint16_t value)
{
    value = htons(value);
    memcpy(at, &value, sizeof value);
}

static inline void wse_put32(uint8_t *at, uint32_t value)
{
    value = htonl(value);
    memcpy(at, &value, sizeof value);
}

/* A checksum is stored as it lies in memory (checksum.h). */
static inline void wse_put_checksum(uint8_t *at, uint16_t checksum)
{
    memcpy(at, &checksum, sizeof checksum);
}

#endif
