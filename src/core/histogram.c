/* SPDX-License-Identifier: Apache-2.0 */
#include "wsasec_histogram.h"

#include <string.h>

static const double ROUNDING = 1e-12;

enum { EXACT = 256, PARTS = 128, PART_BITS = 7 };

/* The number of bits a value has above the eight that a bucket can tell. */
static unsigned shift_of(uint32_t value)
{
    unsigned shift = 0;

    while (value >> shift >= EXACT)
        shift++;
    return shift;
}

static unsigned bucket_of(uint32_t value)
{
    const unsigned shift = shift_of(value);

    return shift ? EXACT + (shift - 1) * PARTS + ((value >> shift) - PARTS) : value;
}

uint32_t wsasec_histogram_upper(unsigned bucket)
{
    unsigned shift;
    uint64_t part;

    if (bucket < EXACT)
        return bucket;
    if (bucket >= WSASEC_HISTOGRAM_BUCKETS)
        return UINT32_MAX;
    shift = (bucket - EXACT) / PARTS + 1;
    part = PARTS + ((bucket - EXACT) & ((1u << PART_BITS) - 1));
    return (uint32_t)(((part + 1) << shift) - 1);
}

void wsasec_histogram_clear(wsasec_histogram *histogram)
{
    memset(histogram, 0, sizeof *histogram);
    histogram->minimum = UINT32_MAX;
}

void wsasec_histogram_record(wsasec_histogram *histogram, uint64_t microseconds)
{
    const uint32_t value = microseconds > UINT32_MAX ? UINT32_MAX : (uint32_t)microseconds;

    histogram->count++;
    histogram->sum += microseconds;
    if (value < histogram->minimum)
        histogram->minimum = value;
    if (value > histogram->maximum)
        histogram->maximum = value;
    histogram->buckets[bucket_of(value)]++;
}

void wsasec_histogram_add(wsasec_histogram *histogram, const wsasec_histogram *other)
{
    histogram->count += other->count;
    histogram->sum += other->sum;
    if (other->minimum < histogram->minimum)
        histogram->minimum = other->minimum;
    if (other->maximum > histogram->maximum)
        histogram->maximum = other->maximum;
    for (unsigned i = 0; i < WSASEC_HISTOGRAM_BUCKETS; i++)
        histogram->buckets[i] += other->buckets[i];
}

uint32_t wsasec_histogram_quantile(const wsasec_histogram *histogram, double fraction)
{
    double exact;
    uint64_t wanted;
    uint64_t seen = 0;

    if (!histogram->count)
        return 0;
    /* 0.999 of 1,000 are 999, though the product is a little more. */
    exact = fraction * (double)histogram->count * (1 - ROUNDING);
    wanted = (uint64_t)exact;
    if ((double)wanted < exact || !wanted)
        wanted++;
    for (unsigned i = 0; i < WSASEC_HISTOGRAM_BUCKETS; i++) {
        seen += histogram->buckets[i];
        if (seen >= wanted) {
            const uint32_t upper = wsasec_histogram_upper(i);

            return upper > histogram->maximum ? histogram->maximum : upper;
        }
    }
    return histogram->maximum;
}
