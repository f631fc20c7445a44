/* PostgreSQL as a source. Read this first.
 *
 *   postgres.c     the driver: open, prepare, close, and who calls what
 *   connect.c      connections, what the server's errors mean
 *   tables.c       the tables, their columns, types and keys
 *   publication.c  what the slot decodes   slot.c  from where, and the snapshot for the copy
 *   plan.c, copy.c the copy: its parts and ranges; binary COPY of them
 *   beside.c       a chunk of a table by its key, beside the stream
 *   timeline.c     positions of before a standby was promoted
 *   stream.c       the log: START_REPLICATION, confirming
 *   watch.c        what the slot makes the server keep, and heartbeats
 *   message.c      both of them read the server's messages through it
 *   pgoutput.c     the log's messages   rows.c  its rows → batches
 *   relation.c     what it says of tables   match.c  which column is which   learn.c  what becomes
 *                  of the table   shape.c  its columns as they are kept beside the lake's table
 *   composites.c   which attribute of a composite is which   retype.c  what becomes of the table
 *   describe.c     columns in the server's own words, for topics
 *   spool.c        transactions streamed before their end
 *   transactions.c which of them others see, and which were rolled back
 *   toast.c        values that an update left out, fetched by key where the table can't fill them
 *   types.c        which type becomes which: the one table
 *   decode.c       values into columns: their bytes   numeric.c  numeric
 *   print.c        values as the server's own text    print_plain.c, print_search.c
 *
 * Positions (agent/record/position.h): a row's is (LSN of its transaction's commit record, its
 * ordinal there); the pair that a key change makes shares one. A checkpoint's is (end LSN of the
 * last transaction handed out, 0), or where the server says the log is decoded to when nothing is
 * pending. */
#pragma once

#include <libpq-fe.h>
#include <stdatomic.h>

#include "agent/capture/capture.h"
#include "agent/capture/postgres/connect.h"
#include "agent/capture/postgres/types.h"
#include "common/bytes.h"
#include "common/reader.h"

#define VERSION_SENDS_STORED 180000 /* generated columns in pgoutput, where asked for */

/* The leaves of a partitioned table, of another none, as a subquery with one column: oid. From the
 * catalog alone: pg_partition_tree locks them all until the transaction's end, and who alters one
 * of them and then another would deadlock with a query that waits for the first. */
#define LEAVES_SQL(root)                                                                           \
    "(WITH RECURSIVE part(oid) AS ("                                                               \
    "  SELECT i.inhrelid FROM pg_catalog.pg_inherits i JOIN pg_catalog.pg_class r "                \
    "    ON r.oid = i.inhparent AND r.relkind = 'p' "                                              \
    "  WHERE i.inhparent = " root " AND NOT i.inhdetachpending "                                   \
    "  UNION ALL SELECT i.inhrelid FROM part JOIN pg_catalog.pg_inherits i "                       \
    "    ON i.inhparent = part.oid AND NOT i.inhdetachpending) "                                   \
    "SELECT part.oid FROM part JOIN pg_catalog.pg_class l ON l.oid = part.oid "                    \
    "  AND l.relkind <> 'p')"

typedef struct PgShape {
    Schema *schema;
    char *text;
} PgShape;

typedef struct PgTable {
    SourceTable *source; /* in Postgres.sources */
    RowPosition passed;  /* changes up to here are in the lake's table already, or in the copy */
    bool resumed;        /* the lake's table goes on where it stands */
    int32_t *ids;        /* origins of what the lake knows rows by; owned */
    size_t id_count;     /* 0: the key */
    /* Rows of it are still to be copied: readers of the copy and the stream share what follows
     * here, so it stays as it is, and a change of columns is "ColumnsChanged". */
    atomic_bool copying;
    atomic_bool fills;   /* values that an update leaves out are not fetched */
    char filenode[16];   /* of its rows when the columns were as they are known */
    PgTypes composites;  /* that its columns are made of, as the values have them: composites.h */
    bool emptied;        /* no row came since a TRUNCATE */
    bool touched;        /* rows with such came since the last checkpoint */
    bool doubtful;       /* values that look as known may be others: CompositeMatch SEVERAL */
    bool reshaped;       /* they have other names */
    uint32_t xid;        /* the transaction whose row is being read, while columns are learned */
    bool forgets;        /* what they lose goes from their types, else it stays and is null */
    int32_t last_number; /* columns up to this one that are not known were dropped before that */
    PgShape *old;        /* handed out before; owned */
    size_t old_count;
    uint32_t oid;
    char *name;    /* "public.orders", for messages and patterns */
    char *quoted;  /* "\"public\".\"orders\"", for SQL */
    char identity; /* replica identity: d default, i index, f full, n nothing */
    bool partitioned;
    struct PgPart *parts; /* what the copy reads, by oid: see plan.h; NULL: nothing */
    size_t part_count;
    bool parts_own;      /* each can be read by itself */
    PgDecoder *decoders; /* one for each field */
    char *columns;       /* the fields quoted, with commas: what COPY selects */
    bool selects;        /* COPY must SELECT them: one is generated, or has ::text */
    bool sends_stored;   /* stored generated columns are sent, so they are fields */
    char **generated;    /* generated columns that are not, and are left out; ends with NULL */
} PgTable;

typedef struct Stream Stream;

/* Where the log of this server left older timelines: a line each of its history file.
 * https://www.postgresql.org/docs/17/continuous-archiving.html#BACKUP-TIMELINES */
typedef struct Timeline {
    uint32_t number;
    uint64_t end;
} Timeline;
typedef struct Timelines {
    Timeline *items;
    size_t count;
} Timelines;

typedef struct Postgres {
    Capture base;
    const ConnectorSpec *spec;
    char source[POSITION_SOURCE_BYTES];
    Timelines timelines; /* that its own comes from */
    int version;         /* 150020 */
    bool sends_stored;   /* the publication sends stored generated columns */
    SourceTable *sources;
    PgTable *tables; /* the same numbers */
    size_t table_count;
    PgTable **by_oid;     /* the tables, sorted */
    char *composites_now; /* the catalog's, when it was last asked; NULL: not yet */
    PGconn *query; /* ordinary; catalog and unchanged TOAST values. The capture's thread only */
    PGconn *replication; /* made the slot: holds the snapshot until its next command */
    char *snapshot;      /* exported by `replication`; NULL when there is none */
    bool looked_again;   /* at the parts of tables, since the snapshot was made */
    RowPosition copy_at; /* what the snapshot stands for */
    int64_t copy_us;     /* when it was taken */
    RowPosition start;   /* where the stream begins; 0: where the slot stands */
    Stream *stream;      /* NULL before capture_stream_start */
    Patience patience;   /* of its connections */
    CaptureOptions options;
    int64_t stopped_us; /* when it was seen that it is to stop; 0: not yet */
} Postgres;

static inline Postgres *postgres_of(Capture *capture)
{
    return (Postgres *)capture;
}

/* AUTO(text_done) Bytes text = {0}; */
static inline void text_done_auto(Bytes *at)
{
    bytes_done(at);
}

/* connect.c's query connection, opened (again) when needed. */
MUST_CHECK bool postgres_query_open(Postgres *postgres, Error *err);

/* Parses "16/B3748"; DATA error when it is none. */
MUST_CHECK bool postgres_lsn_parse(const char *text, uint64_t *ret, Error *err);

/* --- tables.c --- */
MUST_CHECK bool tables_find(Postgres *postgres, Error *err);
void table_done(PgTable *table);
PgTable *tables_by_oid(const Postgres *postgres, uint64_t oid); /* NULL: none of ours */
MUST_CHECK bool tables_look(Capture *capture, CaptureFound *found, void *context, Error *err);
MUST_CHECK bool table_resume(Capture *capture, uint32_t number, const char *shape, RowPosition at,
                             Error *err); /* shape.c */
bool table_same(const Capture *capture, uint32_t number, const char *shape);
/* RETRY "ColumnsChanged": found while the table is copied. */
bool table_changed(const PgTable *table, Error *err);
bool tables_override(Capture *capture, uint32_t table, const ColumnList *columns, Error *err);
/* Are the table's columns still those that were found? RETRY "ColumnsChanged" when not. Whatever
 * the transaction's snapshot shows of the catalog: asked of what the server itself goes by. */
MUST_CHECK bool tables_check_columns(PGconn *connection, const PgTable *table, Error *err);
/* The same of the composites that they are made of. */
MUST_CHECK bool tables_check_composites(PGconn *connection, const PgTable *table, Error *err);
/* What a composite loses leaves its type, too: droppedColumns: Drop. */
void tables_forget(Capture *capture, uint32_t table);
void tables_identify(Capture *capture, uint32_t table, const int32_t *origins, size_t count);
/* Is it in the source's key? */
bool table_is_key(const PgTable *table, size_t field);
/* Do rows move when this field changes? */
bool table_is_identity(const PgTable *table, size_t field);
/* A field that the lake knows rows by and that is not in the key; -1: none is. */
int table_beyond_key(const PgTable *table);
/* What selects a field: its name, quoted, with ::text where it has no binary form; the caller
 * frees.
 */
char *table_expression(const PgTable *table, size_t field) OWNED_BY(free);
/* "id=4711, line=2": the key of a row whose values stand in values[field], for messages. */
typedef struct PgValue {
    const uint8_t *at;
    uint32_t bytes;
    char kind; /* b binary, t text, n null, u unchanged */
} PgValue;
void table_describe_key(const PgTable *table, const PgValue *values, char *to, size_t to_bytes);
/* DATA "BadValue" for a value of `field` that can't be read. */
bool table_bad_value(const PgTable *table, size_t field, const PgValue *values, const char *why,
                     Error *err);

/* --- describe.c --- */
MUST_CHECK bool columns_describe(Capture *capture, uint32_t table, const char *shape, Arena *arena,
                                 const SourceColumn **ret, Error *err);

/* --- publication.c --- */
MUST_CHECK bool publication_prepare(Postgres *postgres, Error *err);

/* --- timeline.c --- */
/* Pure: the text of a history file. False: it is none. */
MUST_CHECK bool timelines_parse(const char *text, Timelines *ret);
/* Pure: as capture_adopt. `source` is what positions say now. */
bool timelines_adopt(const Timelines *timelines, const char *source, Position *position,
                     bool passed);
/* Asks for the history of the server's timeline, on the replication connection. */
MUST_CHECK bool timelines_load(Postgres *postgres, const char *timeline, Error *err);

/* --- slot.c --- */
/* CONFIG "SlotLost", with the way out. reason: pg_replication_slots.invalidation_reason, "" if the
 * server doesn't say. */
bool slot_lost(const char *slot, const char *reason, Error *err);
/* What selects the reason, as far as the version has it. */
const char *slot_reason_sql(int version);
MUST_CHECK bool slot_told(Postgres *postgres, RowPosition *ret, Error *err);
MUST_CHECK bool slot_log_end(Postgres *postgres, uint64_t *ret, Error *err); /* the server's */
MUST_CHECK bool slot_unread(Postgres *postgres, Error *err);
MUST_CHECK bool slot_prepare(Postgres *postgres, const CaptureState *state, bool copying,
                             RowPosition *ret_copy, Error *err);

/* --- copy.c --- */
void copy_parts_free(struct PgPart *parts, size_t count);
/* Which parts the tables have that are copied. Before the snapshot is taken: what is rewritten
 * between here and the first copy_plan, which looks again, would seem to be empty in it. */
MUST_CHECK bool copy_look(Postgres *postgres, Error *err);
MUST_CHECK bool copy_plan(Capture *capture, uint32_t table, uint64_t range_bytes,
                          const Extents *done, CopyRange **ret, size_t *ret_count, Error *err);
CopyReader *copy_reader_open(Capture *capture, Error *err);
void copy_reader_free(CopyReader *reader);
MUST_CHECK bool copy_begin(CopyReader *reader, const CopyRange *range, Error *err);
MUST_CHECK bool copy_next(CopyReader *reader, Batch **ret, Error *err);
void copy_cancel(CopyReader *reader);
/* Decodes one tuple of the binary format (fields in the table's order) as the batch's next row,
 * for which there is room. `values` is scratch, one for each field. */
MUST_CHECK bool copy_decode_row(const PgTable *table, Batch *batch, RowPosition position,
                                PgValue *values, const uint8_t *tuple, size_t bytes, Error *err);
MUST_CHECK bool copy_read_header(const PgTable *table, Reader *in, Error *err);

/* --- beside.c --- */
CopyReader *beside_open(Capture *capture, Capture *stream, Error *err);
MUST_CHECK bool beside_say(CopyReader *reader, const char *text, Error *err);
MUST_CHECK bool beside_bound(CopyReader *reader, uint32_t table, const char *after, uint32_t rows,
                             char **ret, Error *err);
MUST_CHECK bool beside_begin(CopyReader *reader, uint32_t table, const char *after,
                             const char *until, Unseen *ret, Error *err);

/* --- stream.c --- */
void stream_close(Stream *stream);
MUST_CHECK bool stream_start(Capture *capture, Error *err);
MUST_CHECK bool stream_next(Capture *capture, int timeout_ms, Change *ret, Error *err);
MUST_CHECK bool stream_idle(Capture *capture, Error *err);
/* While the capture's thread waits for something else: the server is answered, nothing is read. */
void stream_keep(Stream *stream);
void stream_confirm(Capture *capture, RowPosition durable);
void stream_figures(const Capture *capture, CaptureFigures *ret);

/* --- postgres.c --- */
Capture *capture_postgres_open(const ConnectorSpec *spec, const CaptureOptions *options, Error *err)
    OWNED_BY(capture_close);
MUST_CHECK bool capture_postgres_drop(const ConnectorSpec *spec, Error *err);
