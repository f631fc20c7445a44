/* A lake table as the pipeline sees it: rows in, snapshots out. It joins the key index, the Parquet
 * writers and the Iceberg commit; it knows neither source nor queue.
 *
 * Upsert: the primary-key index (index.h) gives for every live key (file, position[, row id]); an
 * update or delete becomes a deleted position of that file, of any age: v3 one deletion vector per
 * data file, v2 position delete files. Within one batch only the last version of a key is written.
 * In v3 an updated row keeps its _row_id. Append: every change is a row, with two columns more:
 * _firn_op ("r", "c", "u", "d", "t") and _firn_position
 * ("%016X.%016X" of the row's position, sorts in order); all but these two are optional then (a
 * truncate's row has no key). A change of key is "d" of the old key, then "u" of the new one.
 *
 * A Table belongs to one thread at a time, but for TableCopy's writers (one thread each).
 *
 * Rules it keeps:
 *  - The position is in the snapshot's summary ("firn.position.<unit>") and, same commit, in the
 * table property of that name as "<position> <snapshot id>". If that snapshot is no ancestor of the
 * head, open is CONFIG "RolledBack".
 *  - A row at or before the table's position is dropped (a restart repeats).
 *  - One snapshot per table_commit. A foreign commit in between is ERROR_CONFLICT: everything
 * pending is thrown away, the caller reopens from the durable position. */
#pragma once

#include "agent/catalog/catalog.h"
#include "agent/record/batch.h"
#include "common/manifest/manifest.h"

typedef struct Table Table;

typedef struct TableOptions {
    const LakeTableSpec *spec; /* outlives the table */
    const char *unit;      /* "<namespace>/<name>" of the ingestion unit, for the property's name */
    const Schema *source;  /* the source's columns and key; outlives the table */
    Catalog *catalog;      /* says where the table's files are, too */
    const char *warehouse; /* canonical URI; the table's root is <warehouse>/<database>/<table>
                              unless spec->location. NULL: the catalog chooses */
    size_t memory_bytes_max; /* of open files' buffers */
    bool resnapshot;         /* whatever the table says of its position, it is to be copied again */
} TableOptions;

void table_close(Table *table); /* pending rows are gone; written, uncommitted files are deleted */
/* Opens, or creates, the table. An existing one is checked: format version (never changed), columns
 * against the source's (CONFIG "SchemaMismatch" names the column and both types), key (Upsert needs
 * one: CONFIG "NoKey"). */
Table *table_open(const TableOptions *options, Error *err) OWNED_BY(table_close);

/* What the table says of itself. False in *ret_complete: its initial copy never finished, position
 * is none. */
void table_position(const Table *table, bool *ret_complete, Position *ret);
/* Seen from the last commit of ours (0 if none since the property was set by someone else). */
int64_t table_snapshot(const Table *table);
const char *table_uuid(const Table *table);

/* --- the initial copy: any number of writers side by side, then one commit --- */
typedef struct TableCopy TableCopy;
typedef struct TableCopyWriter TableCopyWriter;
void table_copy_free(TableCopy *copy); /* uncommitted: its files are deleted */
TableCopy *table_copy_start(Table *table, Error *err) OWNED_BY(table_copy_free);
void table_copy_writer_free(TableCopyWriter *writer);
/* Thread-safe. */
TableCopyWriter *table_copy_writer_open(TableCopy *copy, Error *err)
    OWNED_BY(table_copy_writer_free);
MUST_CHECK bool table_copy_put(TableCopyWriter *writer, const Batch *batch, Error *err);
MUST_CHECK bool table_copy_finish(TableCopyWriter *writer,
                                  Error *err); /* files of this writer are whole */
/* One snapshot that replaces whatever an earlier, unfinished copy left, with the position of the
 * copy's snapshot. */
MUST_CHECK bool table_copy_commit(TableCopy *copy, const Position *position, Error *err);

/* --- the stream --- */
/* Applies the batch's rows in order; the batch stays the caller's. The first call in Upsert builds
 * the index from the table. */
MUST_CHECK bool table_put(Table *table, const Batch *batch, Error *err);
/* Every row of before is gone (Upsert) or, in Append, a row with op "t" is added. */
MUST_CHECK bool table_truncate(Table *table, RowPosition position, Error *err);

typedef struct TableFigures {
    uint64_t pending_rows;  /* changes applied since the last commit */
    uint64_t pending_bytes; /* of files written or open */
    size_t memory_bytes;    /* index and buffers */
    uint64_t rows;          /* live rows as of the last commit */
    uint64_t commits;       /* by this process */
    uint64_t changes;       /* applied by this process, copy included */
    int64_t committed_us;   /* wall clock of the last commit; 0: none */
} TableFigures;
void table_figures(const Table *table, TableFigures *ret);

/* Makes everything pending durable as one snapshot with `position` (all changes up to it have been
 * put). Nothing pending: no snapshot, true. */
MUST_CHECK bool table_commit(Table *table, const Position *position, Error *err);

DEFINE_AUTO(Table, table_close);
DEFINE_AUTO(TableCopy, table_copy_free);
DEFINE_AUTO(TableCopyWriter, table_copy_writer_free);
