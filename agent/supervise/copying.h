/* What copies have in common, whatever they fill: how a table is cut into ranges, which table comes
 * first, what is left of one, and how many rows may be read in a second. */
#pragma once

#include <pthread.h>

#include "agent/capture/capture.h"
#include "common/bucket.h"

/* Of so many bytes is a range: small enough that no reader is waited for by all others at the end,
 * and that DDL at the source waits for little. */
uint64_t copying_range_bytes(const ConnectorSpec *connector, const SourceTable *table);
/* For qsort: the larger table comes first, so that none is left alone at the end. */
int copying_larger_first(const SourceTable *a, const SourceTable *b);
/* Rows to be read yet, of a table of which so many bytes are left. */
uint64_t copying_rows_left(const SourceTable *table, bool begins, uint64_t bytes_left);

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
