/* What open.c, table.c and copy.c share. */
#pragma once

#include <pthread.h>
#include <stdatomic.h>

#include "agent/table/columns.h"
#include "agent/table/table.h"
#include "agent/table/upsert.h"

struct Table {
    const LakeTableSpec *spec;
    const Schema *source;
    Store *store; /* of its files; the catalog's */
    Catalog *catalog;
    size_t memory_bytes_max;
    char *unit;
    char *property; /* firn.position.<unit> */
    char *location;
    TableName name;
    IcebergTable *iceberg;
    pthread_mutex_t names; /* around file names, which copy writers ask for side by side */
    /* Copies of what the Iceberg table says, which may replace its own at a commit. */
    Schema *schema;
    Schema *lineage; /* v3 Upsert: with the row ids' columns; else NULL */
    PartitionSpec partitions;
    char *schema_json;
    uint32_t *source_of; /* per field of schema: see columns.h */
    Position position;
    bool complete;
    int64_t snapshot;
    DataWriter *writer;
    ColumnMap columns;
    uint32_t *all_rows; /* 0, 1, 2 … as a selection in Append */
    uint32_t all_rows_held;
    Upsert *upsert; /* NULL in Append, and until the first change */
    bool failed;    /* something pending is lost: only close is left */
    uint64_t pending_rows;
    uint64_t rows;
    uint64_t commits;
    int64_t committed_us;
    _Atomic uint64_t changes;
};

/* A writer of the table's data files; the caller's. */
DataWriter *table_writer_new(Table *table, size_t memory_bytes_max);
/* The commit of everything: `commit` without summary and properties, which hold the position.
 * CONFLICT, and CONFIG "TableDropped", when others were at the table; RETRY: it may have happened
 * (*ret_unknown). */
MUST_CHECK bool table_commit_files(Table *table, IcebergCommit *commit, const Position *position,
                                   bool *ret_unknown, Error *err);
/* Live rows of the head by its summary; v2 counts a delete for as long as its file is there, so it
 * may say too few. */
uint64_t table_rows_of_head(const Table *table);
