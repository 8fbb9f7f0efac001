# SPDX-License-Identifier: Apache-2.0
# Latencies, as the C code records them.

cdef extern from "wsasec_histogram.h" nogil:
    ctypedef struct wsasec_histogram:
        uint64_t count
        uint64_t sum
        uint32_t minimum
        uint32_t maximum
        uint64_t *buckets

    enum:
        WSASEC_HISTOGRAM_BUCKETS

    void wsasec_histogram_clear(wsasec_histogram *)
    void wsasec_histogram_record(wsasec_histogram *, uint64_t)
    void wsasec_histogram_add(wsasec_histogram *, const wsasec_histogram *)
    uint32_t wsasec_histogram_upper(unsigned)
    uint32_t wsasec_histogram_quantile(const wsasec_histogram *, double)


cdef class Histogram:
    """Latencies in microseconds, in the manner of HdrHistogram (hdrhistogram.org).

    Each power of two is cut into 128 parts: a value is off by less than 0.8 %. It can be added to another
    (``+=``), pickled, and written as JSON (`to_dict`).
    """

    cdef wsasec_histogram data

    def __cinit__(self):
        wsasec_histogram_clear(&self.data)

    def record(self, uint64_t microseconds):
        """Record one value."""
        wsasec_histogram_record(&self.data, microseconds)

    def __iadd__(self, Histogram other not None):
        wsasec_histogram_add(&self.data, &other.data)
        return self

    def __len__(self):
        return self.data.count

    @property
    def count(self):
        """How many values were recorded."""
        return self.data.count

    @property
    def minimum(self):
        """The smallest value in microseconds; 0 if there is none."""
        return self.data.minimum if self.data.count else 0

    @property
    def maximum(self):
        """The largest value in microseconds; 0 if there is none."""
        return self.data.maximum

    @property
    def mean(self):
        """The arithmetic mean in microseconds; 0.0 if there is no value."""
        return self.data.sum / <double>self.data.count if self.data.count else 0.0

    def percentile(self, double percent):
        """Return the value in microseconds that so many percent of all values do not exceed.

        Raises:
            ValueError: percent is not from 0 to 100.
        """
        if not 0 <= percent <= 100:
            raise ValueError(f"{percent} is not from 0 to 100 percent")
        return wsasec_histogram_quantile(&self.data, percent / 100)

    def buckets(self):
        """Return [(upper, count), ...] of the buckets that are not empty; upper in microseconds, inclusive."""
        cdef int i
        return [(wsasec_histogram_upper(<unsigned>i), self.data.buckets[i])
                for i in range(WSASEC_HISTOGRAM_BUCKETS) if self.data.buckets[i]]

    def to_dict(self):
        """Return count, mean, percentiles (p50, p90, p99, p99_9), max and buckets, for JSON."""
        return {
            "count": self.count,
            "mean": self.mean,
            "p50": self.percentile(50),
            "p90": self.percentile(90),
            "p99": self.percentile(99),
            "p99_9": self.percentile(99.9),
            "max": self.maximum,
            "buckets": [[upper, count] for upper, count in self.buckets()],
        }

    def __reduce__(self):
        return histogram_of, ((<const char *>&self.data)[:sizeof(wsasec_histogram)],)

    def __repr__(self):
        return (f"<Histogram of {self.count}: p50 {self.percentile(50)}, p99 {self.percentile(99)}, "
                f"max {self.maximum} us>")


def histogram_of(bytes state):
    """Make a Histogram of what pickle kept of one."""
    cdef Histogram histogram = Histogram()
    if len(state) != sizeof(wsasec_histogram):
        raise ValueError("not the state of a Histogram")
    memcpy(&histogram.data, <const char *>state, sizeof(wsasec_histogram))
    return histogram
