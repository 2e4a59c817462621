/*
 * A histogram of latencies: exact up to 63 ns, then 64 buckets to each power of two, hence values within 1.6 %.
 */
#include "load.h"

static unsigned bucket_of(uint64_t value) {
    if (value < 64) {
        return (unsigned)value;
    }
    unsigned exponent = 63 - (unsigned)__builtin_clzll(value); /* 6 … 63 */
    return (exponent - 5) * 64 + (unsigned)(value >> (exponent - 6) & 63);
}

static double middle_of(unsigned bucket) {
    if (bucket < 64) {
        return bucket;
    }
    double width = (double)(1ull << (bucket / 64 - 1));
    return (64 + bucket % 64 + 0.5) * width;
}

void histogram_record(struct histogram *histogram, uint64_t nanoseconds) {
    histogram->buckets[bucket_of(nanoseconds)]++;
    histogram->count++;
}

double histogram_quantile(const struct histogram *histogram, double share) {
    double wanted = share * (double)histogram->count;
    uint64_t passed = 0;
    for (unsigned bucket = 0; bucket < HISTOGRAM_BUCKETS; bucket++) {
        passed += histogram->buckets[bucket];
        if (passed > 0 && (double)passed >= wanted) {
            return middle_of(bucket);
        }
    }
    return 0;
}
