/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A histogram of latencies in microseconds in the manner of HdrHistogram (hdrhistogram.org): each power of two is
 * cut into 128 parts, so that a value is off by less than 0.8 %, from 0 to 2^32-1; what is larger counts as that.
 * Not for two threads at once: give each its own, and add them.
 */
#ifndef WSASEC_HISTOGRAM_H
#define WSASEC_HISTOGRAM_H

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* 0 to 255 each by itself, then 24 powers of two with 128 parts each. */
#define WSASEC_HISTOGRAM_BUCKETS (256 + 24 * 128)

typedef struct wsasec_histogram {
    uint64_t count;
    uint64_t sum;     /* microseconds */
    uint32_t minimum; /* UINT32_MAX while count is 0 */
    uint32_t maximum;
    uint64_t buckets[WSASEC_HISTOGRAM_BUCKETS];
} wsasec_histogram;

void wsasec_histogram_clear(wsasec_histogram *histogram);
void wsasec_histogram_record(wsasec_histogram *histogram, uint64_t microseconds);
void wsasec_histogram_add(wsasec_histogram *histogram, const wsasec_histogram *other);

/* The largest value that falls into a bucket. */
uint32_t wsasec_histogram_upper(unsigned bucket);

/* The value that fraction (0 to 1) of all values do not exceed; 0 if there are none. */
uint32_t wsasec_histogram_quantile(const wsasec_histogram *histogram, double fraction);

#ifdef __cplusplus
}
#endif
#endif
