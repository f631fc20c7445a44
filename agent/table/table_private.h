/* What open.c, table.c, copy.c and commit.c share. */
#pragma once

#include <pthread.h>
#include <stdatomic.h>

#include "agent/table/columns.h"
#include "agent/table/table.h"
#include "agent/table/upsert.h"

/* A commit that is being made: from the files being whole until its answer is settled. */
typedef struct TablePending {
    bool ready;   /* the files are whole */
    bool unknown; /* a commit of them was sent that may take effect yet */
    IcebergCommit commit;
    UpsertPending upsert;
    DataFile *joined; /* commit.added without an index: pieces' and the writer's; contents theirs */
    IcebergAttempt *attempt;
    Position position;
    char text[POSITION_TEXT_BYTES];
    char *with_snapshot;
    const char *summary[2], *properties[4];
} TablePending;

struct Table {
    const LakeTableSpec *spec;
    const Schema *source;
    Store *store; /* of its files; the catalog's */
    Catalog *catalog;
    size_t memory_bytes_max;
    char *unit;
    char *property;      /* firn.position.<unit> */
    char *copy_property; /* firn.copy.<unit> */
    char *copy_progress; /* its value as of the latest commit; NULL: complete */
    char *copy_next;     /* to be set by the next commit; NULL: not */
    bool copying;        /* keys that are deleted must be remembered */
    bool copy_begun;     /* what there is is void, until the next commit */
    bool copy_alone;     /* no row but those of one snapshot came: their keys differ */
    TableCopy **pieces;  /* for the next commit */
    size_t piece_count;
    _Atomic uint32_t copy_writers; /* open, of all pieces */
    RowPosition passed;            /* rows up to here are in the table, or in pieces */
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
    LaneValue lane; /* of the latest view */
    Position seen;  /* the claim of the latest look */
    TablePending pending;
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
/* open.c: the claim, as the property has it. */
MUST_CHECK bool table_read_claim(Table *table, Error *err);
/* table.c: something failed and what is pending is lost; if the table was dropped under us, then
 * that is why. */
bool table_failed(Table *table, Error *err);
bool table_usable(const Table *table, Error *err);
/* commit.c */
void table_pending_done(TablePending *pending);
/* table.c: the index, from the table if there is something, and the pieces that wait. */
MUST_CHECK bool table_index(Table *table, Error *err);
/* copy.c: the files of pieces and writer, side by side; contents stay theirs. */
MUST_CHECK bool pieces_join(Table *table, DataFile **ret, size_t *ret_count, Error *err);
MUST_CHECK bool piece_index(Table *table, TableCopy *copy, Error *err); /* it joins the index */
/* They are committed (or may be: their files stay), or never will be. */
void pieces_done(Table *table, bool files_stay);
/* Live rows of the head by its summary; v2 counts a delete for as long as its file is there, so it
 * may say too few. */
uint64_t table_rows_of_head(const Table *table);
