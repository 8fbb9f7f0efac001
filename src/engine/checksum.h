/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The internet checksum (RFC 1071). A sum is 64 bits wide, of the 16-bit words as they lie in memory: it may be added
 * to others, is folded once at the end, and no byte order is ever swapped. Lengths may be odd only in the last piece.
 */
#ifndef WSASEC_ENGINE_CHECKSUM_H
#define WSASEC_ENGINE_CHECKSUM_H

#include <stddef.h>
#include <stdint.h>

/* The sum of `length` bytes, at most 2^20; it is less than 2^51, so that thousands may be added. */
uint64_t wse_sum(const void *bytes, size_t length);

/* The same while the bytes are copied to another place. */
uint64_t wse_sum_copy(void *restrict to, const void *restrict from, size_t length);

/* The sum of the pseudo header (RFC 9293 3.1, RFC 8200 8.1). Addresses of 4 or 16 bytes by family, AF_INET or AF_INET6. */
uint64_t wse_sum_pseudo(int family, const uint8_t *source, const uint8_t *destination, uint8_t protocol,
                        uint32_t length);

/* Folded to 16 bits, not complemented, as it lies in memory: what stands in a partial checksum. */
static inline uint16_t wse_sum_fold(uint64_t sum)
{
    sum = (sum & 0xffffffffu) + (sum >> 32);
    sum = (sum & 0xffffffffu) + (sum >> 32);
    sum = (sum & 0xffffu) + (sum >> 16);
    return (uint16_t)((sum & 0xffffu) + (sum >> 16));
}

/* The checksum as it lies in memory: the complement of the sum. */
static inline uint16_t wse_checksum(uint64_t sum)
{
    return (uint16_t)~wse_sum_fold(sum);
}

/* A checksum of which a word (or many: the sums of all old and all new ones) changes: RFC 1624, equation 3. */
static inline uint16_t wse_checksum_update(uint16_t checksum, uint64_t old_sum, uint64_t new_sum)
{
    return wse_checksum((uint64_t)(uint16_t)~checksum + (uint16_t)~wse_sum_fold(old_sum) + wse_sum_fold(new_sum));
}

/*
 * Completes a partial checksum (VIRTIO_NET_HDR_F_NEEDS_CSUM): at start + offset stands the folded sum of the pseudo
 * header; afterwards the checksum of all from `start` to the end. start + offset + 2 <= length is the caller's to know.
 * A UDP checksum (protocol 17) that is zero becomes 0xffff (RFC 768).
 */
void wse_checksum_complete(uint8_t *bytes, size_t length, size_t start, size_t offset, uint8_t protocol);

#endif
