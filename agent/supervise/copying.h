/* What copies have in common, whatever they fill: how a table is cut into ranges, which table comes
 * first, how many rows may be read in a second, and how far a table is. */
#pragma once

#include <pthread.h>

#include "agent/capture/capture.h"
#include "common/bucket.h"
#include "common/metrics.h"

/* Of so many bytes is a range: small enough that no reader is waited for by all others at the end,
 * and that DDL at the source waits for little. */
uint64_t copying_range_bytes(const ConnectorSpec *connector, const SourceTable *table);
/* For qsort: the larger table comes first, so that none is left alone at the end. */
int copying_larger_first(const SourceTable *a, const SourceTable *b);

/* maxRowsPerSecond, of all readers together. */
typedef struct CopyPace {
    pthread_mutex_t lock;
    Bucket bucket;
    bool limited;
} CopyPace;
void copying_pace_init(CopyPace *pace, const ConnectorSpec *connector);
void copying_pace_done(CopyPace *pace);
/* So many rows were read: sleeps as long as that is ahead of the rate, unless `over` says that the
 * copy is. From any thread. */
void copying_pace(CopyPace *pace, uint32_t rows, bool (*over)(const void *context),
                  const void *context);

/* What there is to copy, and what was read of it by the latest attempt. */
typedef struct CopyFigures {
    uint32_t tables; /* not complete */
    uint64_t rows, rows_estimate;
    uint64_t bytes, bytes_estimate;
} CopyFigures;

/* How far a table's copy is: in metrics, in the log, for status. */
typedef struct CopyCount {
    atomic_uint_fast64_t rows, bytes;       /* read by this flow */
    uint64_t rows_estimate, bytes_estimate; /* to be read, when it began or went on */
    int64_t started_us;
    struct {
        Metric *copying, *rows, *bytes, *rows_estimate, *bytes_estimate;
    } metrics;
} CopyCount;
void copying_register(CopyCount *count, const char *labels);
/* The copy begins with the first row, or goes on; these ranges are left of it. */
void copying_begin(CopyCount *count, const char *table_name, const SourceTable *source, bool begins,
                   const CopyRange *ranges, size_t range_count);
/* Rows, or all of a range, were read. From any thread. */
void copying_put_rows(CopyCount *count, uint32_t rows);
void copying_put_range(CopyCount *count, const CopyRange *range);
void copying_end(CopyCount *count, const char *table_name);
void copying_add(const CopyCount *count, CopyFigures *to);
