/* A token bucket: how much may pass in the long run and at a time. What is taken may exceed what is
 * there; the debt is then waited for. No clock of its own, no lock. */
#pragma once

#include <stdint.h>

typedef struct Bucket {
    double per_second;
    double most;   /* that gathers while nothing is taken */
    double tokens; /* below 0: owed */
    int64_t at_us;
} Bucket;

static inline void bucket_init(Bucket *bucket, double per_second, double most, int64_t now_us)
{
    *bucket = (Bucket){.per_second = per_second, .most = most, .at_us = now_us};
}

/* Returns how long to wait before the next taking, in microseconds. */
static inline int64_t bucket_take(Bucket *bucket, double count, int64_t now_us)
{
    bucket->tokens += bucket->per_second * (double)(now_us - bucket->at_us) / 1e6;
    if (bucket->tokens > bucket->most)
        bucket->tokens = bucket->most;
    bucket->at_us = now_us;
    bucket->tokens -= count;
    return bucket->tokens >= 0 ? 0 : (int64_t)(-bucket->tokens / bucket->per_second * 1e6);
}
