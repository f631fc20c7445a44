/* What open.c, table.c, copy.c and commit.c share. */
#pragma once

#include <pthread.h>
#include <stdatomic.h>

#include "agent/commit/lanes.h"
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
    Position position; /* with lanes: of the source alone */
    char *text, *with_snapshot, *anchor;
    const char *summary[4], *properties[14]; /* names and values */
} TablePending;

/* A piece that was taken: its data files, until they are committed. */
typedef struct StagedFiles {
    char *uri; /* of what says so */
    DataFile *files;
    size_t count;
} StagedFiles;

struct Table {
    const LakeTableSpec *spec;
    const Schema *source;
    Store *store; /* of its files; the catalog's */
    Catalog *catalog;
    size_t memory_bytes_max;
    char *unit;
    char *property;         /* firn.position.<unit> */
    char *anchor_property;  /* firn.anchor.<unit>: "<position> <anchor>" */
    char *copy_property;    /* firn.copy.<unit> */
    char *request_property; /* firn.resnapshot.<unit> */
    const char *request;    /* its value with the commit that begins the copy; NULL: it stands */
    bool resnapshots;       /* what it says of its position doesn't count */
    char *asked_property;   /* firn.<what>.<unit>, to be set by the next commit … */
    char *asked_value;      /* … to this; NULL: none */
    char *copy_progress;    /* its value as of the latest commit; NULL: complete */
    char *copy_next;        /* to be set by the next commit; NULL: not */
    bool copying;           /* keys that are deleted must be remembered */
    int raised_from;        /* the format version before raise.c raised it; 0: it did not */
    bool outdated;   /* what was copied before it was opened is void; columns are as wanted now */
    bool copy_begun; /* what there is is void, until the next commit */
    bool copy_alone; /* no row but those of one snapshot came: their keys differ */
    TableCopy **pieces; /* for the next commit */
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
    /* evolve.c: which column of the source is which of the table's */
    char *shape;          /* the source's columns in its own words; NULL: it has none */
    char *shape_property; /* firn.columns.<unit> */
    char *shape_value;    /* of the property, as it has to be */
    bool shape_due;       /* it goes with the next commit */
    bool evolved;         /* schema goes with the next commit */
    int32_t last_column_id;
    char *base_json; /* the catalog's schema, as last loaded or committed */
    int32_t base_last_column_id;
    TableClaim
        claim;       /* as opened, or committed since; what others did is agent/commit's to judge */
    TableClaim seen; /* of the latest view, which points to it, */
    LaneValue lane;  /* and to this, */
    LanePosition seen_lanes; /* or these */
    bool lanes;
    char *ordering; /* with lanes; NULL: the later version of a row counts */
    Schema *known;  /* with lanes: those of the columns asked for that it has; NULL: all of them */
    StagedFiles *staged; /* for the next commit */
    size_t staged_count;
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
    int64_t maintained_us; /* when to look again for what is said of that, by the steady clock */
    bool orphans_stay;
    _Atomic uint64_t changes;
};

/* A writer of the table's data files; the caller's. */
/* name: DataWriterOptions'. */
DataWriter *table_writer_new(Table *table, const char *name, size_t memory_bytes_max);
#define KEY_FIELDS_MAX 64
/* The key that the table has, as columns of the source; for when idColumns has older names. */
typedef struct KnownKey {
    uint32_t fields[KEY_FIELDS_MAX];
    size_t count; /* 0: not known */
} KnownKey;
/* open.c: the table's schema as source and resource want it; the caller's. known: may be NULL. */
Schema *table_wanted_schema(const LakeTableSpec *spec, const Schema *source, const KnownKey *known,
                            Error *err);
void table_add_lineage(Table *table);
/* A total of the head's summary. */
uint64_t table_head_total(const Table *table, const char *name);
/* evolve.c: reads the property. *ret_shape NULL: it is not set; *ret_ids then, too: the ids of the
 * table's columns by the source's origins. The caller's. */
MUST_CHECK bool binding_read(const Table *table, char **ret_shape, json_t **ret_ids, Error *err);
int32_t binding_id(const json_t *ids, int32_t origin); /* 0: none */
/* Makes shape_value from what the table is bound to. */
void binding_write(Table *table);
/* The table, about to be copied again, gets the columns that are wanted. ids: as read with the
 * property, where the source's table is still the same; else NULL: columns are known by name. */
MUST_CHECK bool table_evolve_anew(Table *table, const Schema *wanted, json_t *ids, Error *err);
/* What is in the catalog is what the table goes on from. */
void table_shape_settled(Table *table);
/* Are the catalog's columns those that the files are written for? */
bool table_shape_stands(const Table *table);
/* open.c: the claim, as the table that was loaded last has it. */
MUST_CHECK bool table_read_claim(const Table *table, TableClaim *ret, Error *err);
/* raise.c: gives a table that is there the resource's format version, and its rows their row ids,
 * in a commit of its own. Once all else fits. */
MUST_CHECK bool table_raise(Table *table, Error *err);
/* commit.c: in the summary: does the snapshot hold rows of two times? NULL: no copy is concerned.
 */
const char *table_copy_word(const Table *table);
/* table.c: something failed and what is pending is lost; if the table was dropped under us, then
 * that is why. */
bool table_failed(Table *table, Error *err);
bool table_usable(const Table *table, Error *err);
/* Now and then: whether its orphans could be removed. */
void table_see_maintained(Table *table);
/* commit.c */
void table_pending_done(TablePending *pending);
/* table.c: the index, from the table if there is something, and the pieces that wait. */
MUST_CHECK bool table_index(Table *table, Error *err);
/* copy.c: the files of pieces and writer, side by side; contents stay theirs. */
MUST_CHECK bool pieces_join(Table *table, DataFile **ret, size_t *ret_count, Error *err);
MUST_CHECK bool piece_index(Table *table, TableCopy *copy, Error *err); /* it joins the index */
/* They are committed (or may be: their files stay), or never will be. */
void pieces_done(Table *table, bool files_stay);
/* stage_take.c: the files of staged pieces, copies without ownership, behind *ret's. */
void staged_join(const Table *table, DataFile **ret, size_t *ret_count);
/* They are committed, or forgotten; their descriptions go with a commit. */
void staged_done(Table *table, bool committed);
/* What keys are hashed with by all consumers of the table. */
uint64_t table_seed(const Table *table);
/* Live rows of the head by its summary; it counts a delete of v2 for as long as its file is there,
 * so it may say too few. */
uint64_t table_rows_of_head(const Table *table);
