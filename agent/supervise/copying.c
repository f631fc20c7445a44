/* See copying.h. */
#include "agent/supervise/copying.h"

#include "common/clock.h"

#define RANGE_BYTES_MAX ((uint64_t)32 << 20)
#define RANGE_BYTES_MIN ((uint64_t)8 << 20)
#define RANGES_PER_READER 16
#define SLEEP_US 100000

uint64_t copying_range_bytes(const ConnectorSpec *connector, const SourceTable *table)
{
    uint64_t bytes = table->bytes_estimate / RANGES_PER_READER / connector->snapshot_parallelism;
    return bytes < RANGE_BYTES_MIN   ? RANGE_BYTES_MIN
           : bytes > RANGE_BYTES_MAX ? RANGE_BYTES_MAX
                                     : bytes;
}

int copying_larger_first(const SourceTable *a, const SourceTable *b)
{
    return a->bytes_estimate < b->bytes_estimate   ? 1
           : a->bytes_estimate > b->bytes_estimate ? -1
                                                   : 0;
}

uint64_t copying_rows_left(const SourceTable *table, bool begins, uint64_t bytes_left)
{
    if (begins || table->bytes_estimate <= bytes_left)
        return table->rows_estimate;
    return (uint64_t)((double)table->rows_estimate * (double)bytes_left /
                      (double)table->bytes_estimate);
}

void copying_pace_init(CopyPace *pace, const ConnectorSpec *connector)
{
    double rate = (double)connector->snapshot_rows_per_second;
    pace->limited = rate > 0;
    pthread_mutex_init(&pace->lock, NULL);
    bucket_init(&pace->bucket, rate, rate / 10, clock_mono_us());
}

void copying_pace_done(CopyPace *pace)
{
    pthread_mutex_destroy(&pace->lock);
}

void copying_pace(CopyPace *pace, uint32_t rows, bool (*over)(const void *context),
                  const void *context)
{
    int64_t now_us = clock_mono_us(), wait_us;
    if (!pace->limited)
        return;
    pthread_mutex_lock(&pace->lock);
    wait_us = bucket_take(&pace->bucket, rows, now_us);
    pthread_mutex_unlock(&pace->lock);
    for (int64_t until_us = now_us + wait_us; now_us < until_us && !over(context);
         now_us = clock_mono_us())
        clock_sleep_us(until_us - now_us < SLEEP_US ? until_us - now_us : SLEEP_US);
}
