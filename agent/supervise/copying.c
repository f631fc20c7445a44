/* See copying.h. */
#include "agent/supervise/copying.h"

#include "common/clock.h"
#include "common/log.h"

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

void copying_register(CopyCount *count, const char *labels)
{
    count->metrics.copying =
        metrics_register(METRIC_GAUGE, "firn_table_copying",
                         "1 while rows of before the stream are missing", labels);
    count->metrics.rows = metrics_register(METRIC_COUNTER, "firn_table_copy_rows_total",
                                           "Rows read by the copy", labels);
    count->metrics.bytes =
        metrics_register(METRIC_COUNTER, "firn_table_copy_bytes_total",
                         "Bytes at the source of the ranges that were read", labels);
    count->metrics.rows_estimate =
        metrics_register(METRIC_GAUGE, "firn_table_copy_rows_estimate",
                         "Rows that the copy had to read when it began or went on", labels);
    count->metrics.bytes_estimate = metrics_register(METRIC_GAUGE, "firn_table_copy_bytes_estimate",
                                                     "The same in bytes at the source", labels);
}

/* Rows to be read yet, of a table of which so many bytes are left. */
static uint64_t rows_left(const SourceTable *table, bool begins, uint64_t bytes_left)
{
    if (begins || table->bytes_estimate <= bytes_left)
        return table->rows_estimate;
    return (uint64_t)((double)table->rows_estimate * (double)bytes_left /
                      (double)table->bytes_estimate);
}

void copying_begin(CopyCount *count, const char *table_name, const SourceTable *source, bool begins,
                   const CopyRange *ranges, size_t range_count)
{
    for (size_t i = 0; i < range_count; i++)
        count->bytes_estimate += ranges[i].bytes_estimate;
    count->rows_estimate = rows_left(source, begins, count->bytes_estimate);
    count->started_us = clock_mono_us();
    metric_set(count->metrics.copying, 1);
    metric_set(count->metrics.rows_estimate, (double)count->rows_estimate);
    metric_set(count->metrics.bytes_estimate, (double)count->bytes_estimate);
    log_info(begins ? "copying table" : "going on copying table", LOG_T("table", table_name),
             LOG_U("ranges", range_count), LOG_U("rows_estimate", count->rows_estimate));
}

void copying_put_rows(CopyCount *count, uint32_t rows)
{
    atomic_fetch_add(&count->rows, rows);
    metric_add(count->metrics.rows, rows);
}

void copying_put_range(CopyCount *count, const CopyRange *range)
{
    atomic_fetch_add(&count->bytes, range->bytes_estimate);
    metric_add(count->metrics.bytes, (double)range->bytes_estimate);
}

void copying_end(CopyCount *count, const char *table_name)
{
    metric_set(count->metrics.copying, 0);
    log_info("table copied", LOG_T("table", table_name), LOG_U("rows", atomic_load(&count->rows)),
             LOG_F("seconds", (double)(clock_mono_us() - count->started_us) / 1e6));
}

void copying_add(const CopyCount *count, CopyFigures *to)
{
    to->rows += atomic_load(&count->rows);
    to->bytes += atomic_load(&count->bytes);
    to->rows_estimate += count->rows_estimate;
    to->bytes_estimate += count->bytes_estimate;
}
