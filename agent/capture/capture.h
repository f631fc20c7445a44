/* A source database, read once for all its tables: its tables, a consistent copy of them, then the
 * log. Drivers: postgres/, mysql/ (MySQL and MariaDB); dynamodb/ to come. A driver implements
 * CaptureDriver; everybody else calls the functions. What drivers share: builders/ (batches being
 * filled, changes that are ready), linger/ (when those are handed out), patience/ (with servers
 * that do not answer), tls/ (certificates as files), wire/ (the socket).
 *
 * Order of calls: open → told → prepare → [copy_plan, copy_reader_open … → copy_done] →
 * stream_start → next … → close. Once it is open, a copy reader is its thread's alone and reads
 * while the stream goes on; readers are freed before the capture. capture_confirm may come from
 * another thread at any time; everything else from one thread.
 *
 * Errors: CONFIG for what a person must mend (host, password, privilege, wal_level, slots,
 * publication, key, types); RETRY for a lost connection; DATA for a value that can't be read. */
#pragma once

#include <stdatomic.h>

#include "agent/record/batch.h"
#include "agent/record/extents.h"
#include "agent/record/origin.h"
#include "agent/record/source_column.h"
#include "agent/record/statement.h"
#include "common/manifest/manifest.h"

typedef struct Capture Capture;

typedef struct SourceTable {
    char *schema_name; /* "public" */
    char *table_name;  /* "orders" */
    Schema
        *schema; /* columns in the source's order; key = primary key (or replica identity index) */
    char *shape; /* the schema in the source's own words, a JSON object, for capture_resume */
    char *left_out; /* "a, b": columns that the source's log does not carry; NULL: none */
    uint64_t rows_estimate;
    uint64_t bytes_estimate;
    bool copied; /* in capture_prepare's answer: must be copied */
    /* RETRY "ColumnsChanged" came of this: its columns are not those with which it began to be
     * copied, so the copy has to begin anew. From any thread. */
    atomic_bool changed;
} SourceTable;

void capture_close(Capture *capture);
typedef struct CaptureOptions {
    /* When it is set, nothing waits for the source much longer, however long it would (a lock, an
     * old transaction): RETRY "Stopped". NULL: never. */
    const atomic_bool *stop;
    /* For a receiver that passes on what the source says: batches have origins, messages of the log
     * are changes, and values that an update leaves out are always handed out as unchanged. */
    bool origins;
    /* With origins: the end of each transaction that had changes is a change of its own, and
     * messages in transactions are counted among their changes where `messages` is set. */
    bool commits, messages;
    /* With origins: statements that change tables are changes of their own (MySQL, MariaDB). */
    bool statements;
    int64_t linger_us; /* for how long rows gather before a checkpoint; 0: 200 ms */
} CaptureOptions;
/* Connects, checks rights and settings, and finds the tables (include, exclude; the manifest's
 * patterns). The spec outlives it. */
Capture *capture_open(const ConnectorSpec *spec, const CaptureOptions *options, Error *err)
    OWNED_BY(capture_close);

const SourceTable *capture_tables(const Capture *capture, size_t *ret_count);
/* Gives columns of a table other types than the source's become, and descriptions, as the lake
 * table's resource has them; before anything is read. CONFIG for a column that isn't there, and for
 * a type that its values can't have. */
MUST_CHECK bool capture_columns(Capture *capture, uint32_t table, const ColumnList *columns,
                                Error *err);
/* The table goes on after `at`: what was changed before is passed over. shape: what
 * SourceTable.shape, or a CHANGE_SCHEMA's, was then; NULL: what it is now. Before capture_prepare;
 * schema and shape of the SourceTable become those of then, whatever the source has by now. CONFIG
 * "SourceTableReplaced" when it is another table under the name. */
MUST_CHECK bool capture_resume(Capture *capture, uint32_t table, const char *shape, RowPosition at,
                               Error *err);
/* Are the table's columns now those that `shape` tells of, and its rows where they were? Asked of a
 * copy that is to go on: what is read now comes with the columns and values of now, so it can't go
 * on when they are others. */
bool capture_same(const Capture *capture, uint32_t table, const char *shape);
/* The receiver has every row of the table, as it was at the place of the log that is handed out
 * next: from here on a value that an update leaves out is handed out as unchanged (batch.h), and
 * the receiver fills it in. Until then it is fetched from the source. From any thread. */
void capture_fills(Capture *capture, uint32_t table);
/* The source's identity as it stands in positions (system id, timeline, slot). */
const char *capture_source(const Capture *capture);

/* What finds the position at another server of the same data, where the source's own places differ
 * from server to server (MySQL: the GTID set of what lies before it); of positions that were handed
 * out, up to those that are behind what was confirmed. It is kept with the position, for
 * capture_adopt. NULL: there is none. The caller frees. Thread-safe. */
char *capture_anchor(const Capture *capture, RowPosition at) OWNED_BY(free);
/* Positions of a source that this one goes on from (PostgreSQL: the timeline that a promoted
 * standby has left, as far as it was followed; MySQL: a server whose transactions this one has, by
 * the position's anchor) become this one's. *ret false: it is unrelated, or of what this one never
 * had; then nothing is changed. `passed`: everything up to the position is meant, not the position
 * itself, so that it may be cut to where the ways part. CONFIG "LogPurged": this one no longer has
 * its log from there on. Before capture_prepare, in the capture's thread. */
MUST_CHECK bool capture_adopt(Capture *capture, Position *position, const char *anchor, bool passed,
                              bool *ret, Error *err);

/* What the source was last told to be durable downstream, asked of it now; {0, 0}: nothing, or it
 * keeps no place for us yet. */
MUST_CHECK bool capture_told(Capture *capture, RowPosition *ret, Error *err);

/* The log's end now: what anybody has read of it is before. */
MUST_CHECK bool capture_log_end(Capture *capture, RowPosition *ret, Error *err);

/* Does nobody read the log in our place just now? RETRY "SlotActive". For whoever does harm by
 * beginning beside another process, before it is known at capture_stream_start. */
MUST_CHECK bool capture_unread(Capture *capture, Error *err);

/* The columns of a schema of the table whose shape this is, one for each field in their order, as
 * the catalog describes their types and defaults now; in the arena. In the capture's thread. */
MUST_CHECK bool capture_describe(Capture *capture, uint32_t table, const char *shape, Arena *arena,
                                 const SourceColumn **ret, Error *err);

/* Tables that the manifest's patterns choose and that were not there at open, as the source is now;
 * each is named to `found`. Only such as could be captured: that can be followed, and are in the
 * publication or may be added to it. In the capture's thread, while the stream runs. */
typedef void CaptureFound(void *context, const char *name);
MUST_CHECK bool capture_look(Capture *capture, CaptureFound *found, void *context, Error *err);

/* What the pipeline knows of the tables. */
typedef struct CaptureState {
    const bool *complete; /* per table: nothing of it is to be copied */
    bool known; /* some table (or the confirmed record) holds a position of this source: a missing
                 * slot is then CONFIG "SlotMissing", never silently made anew */
    RowPosition
        from; /* the least position any table with one needs (its own, or the confirmed record's) */
} CaptureState;

/* What values lose (a composite's attribute) is to leave its column's type, too, as a column that
 * is dropped leaves the table; else it stays there, and is null. Before capture_stream_start. */
void capture_forget(Capture *capture, uint32_t table);
/* What rows are known by where they go, as origins of the source's columns, where it is not to be
 * the source's own key: an update that changes one of these moves its row, and old rows have them.
 * CONFIG "ReplicaIdentity" of capture_prepare, when the log does not have them of old rows. */
void capture_identify(Capture *capture, uint32_t table, const int32_t *origins, size_t count);

/* Makes publication and slot where the manifest lets it (manage: true) and they are missing; takes
 * the snapshot in which the incomplete tables are to be read. *ret_copy is the position that copy
 * stands for. Without incomplete tables no snapshot is taken. */
MUST_CHECK bool capture_prepare(Capture *capture, const CaptureState *state, Position *ret_copy,
                                Error *err);

/* --- the copy --- */
typedef struct CopyReader CopyReader;
typedef struct CopyRange {
    uint32_t table;
    Extent extent; /* PostgreSQL: of ctid blocks; the part is a partition's oid, or 0: all of them,
                      each in the blocks named; the version its file's number */
    uint64_t bytes_estimate;
} CopyRange;
/* Splits what is not done of a table into ranges of about so many bytes that can be read side by
 * side; caller frees *ret. done: NULL: nothing is. */
MUST_CHECK bool capture_copy_plan(Capture *capture, uint32_t table, uint64_t range_bytes,
                                  const Extents *done, CopyRange **ret, size_t *ret_count,
                                  Error *err);
void capture_copy_reader_free(CopyReader *reader);
/* A connection of its own in the shared snapshot; reads any number of ranges one after another. */
CopyReader *capture_copy_reader_open(Capture *capture, Error *err)
    OWNED_BY(capture_copy_reader_free);
/* The source's table is held as it is only while a range of it is read. RETRY "TableRewritten" when
 * the range's version is no more, "ColumnsChanged" when the table has other columns by now. */
MUST_CHECK bool capture_copy_begin(CopyReader *reader, const CopyRange *range, Error *err);
/* *ret NULL at the range's end. The caller owns the batch (ops ROW_READ). */
MUST_CHECK bool capture_copy_next(CopyReader *reader, Batch **ret, Error *err);
/* Makes a copy_begin or copy_next that blocks in another thread return (RETRY); from any thread. */
void capture_copy_cancel(CopyReader *reader);
/* Every reader is open and keeps the snapshot for itself; the source need not, and keeps no log for
 * it. */
MUST_CHECK bool capture_copy_done(Capture *capture, Error *err);

/* Nothing more of the table will be read by the copy: from here on its columns are followed. Until
 * then a change of them is "ColumnsChanged". From any thread. */
void capture_copied(Capture *capture, uint32_t table);

/* --- a chunk of a table, read beside a stream --- */
/* By a capture of its own, opened for it, which neither prepares nor streams: its tables are as the
 * source has them now. What somebody says (capture_beside_say) comes in the stream that it is read
 * beside as CHANGE_MESSAGE with this prefix, behind all transactions that ended before. A source
 * whose log somebody can write into has it there, for every capture; of others the stream itself is
 * told, and who says it waits until the stream has come so far. */
#define CAPTURE_BESIDE_PREFIX "firn.chunk"
/* A connection of its own; the capture and the other one, whose stream it is, stay open as long.
 * CONFIG "UnsupportedSource" where the source lacks what it takes. */
CopyReader *capture_beside_open(Capture *capture, Capture *stream, Error *err)
    OWNED_BY(capture_copy_reader_free);
/* Does the log say how columns change? Then they are the stream's to learn, even of a table that
 * nobody writes to. */
bool capture_tells_columns(const Capture *capture);
MUST_CHECK bool capture_beside_say(CopyReader *reader, const char *text, Error *err);
/* Where a chunk of so many rows behind `after` ends, by the table's key; *ret NULL: there are fewer
 * rows, the rest is the chunk. Keys are opaque texts, which the caller frees; after NULL: from the
 * beginning. The table has a key. */
MUST_CHECK bool capture_beside_bound(CopyReader *reader, uint32_t table, const char *after,
                                     uint32_t rows, char **ret, Error *err);
/* What the chunk's snapshot does not show: transactions from `next` on, and those in `open`. */
typedef struct Unseen {
    uint64_t oldest, next;
    uint64_t *open; /* caller frees */
    size_t open_count;
} Unseen;
/* The rows behind `after` up to and with `until` (NULL: open), in a snapshot taken by this call;
 * then capture_copy_next. RETRY "ColumnsChanged" when the columns are no longer those of the
 * capture's table. */
MUST_CHECK bool capture_beside_begin(CopyReader *reader, uint32_t table, const char *after,
                                     const char *until, Unseen *ret, Error *err);

/* --- the log --- */
typedef enum ChangeKind {
    CHANGE_NONE,       /* the timeout passed and nothing is there */
    CHANGE_BATCH,      /* rows of one table, in log order within the table */
    CHANGE_TRUNCATE,   /* table `table` was emptied at `row` */
    CHANGE_SCHEMA,     /* batches of table `table` have `schema` from here on. PostgreSQL's log says
                        * nothing of a table that nobody writes to: it comes with the first row of that
                        * kind. Where the log has it by itself (`alone`) it is not said again, so it has
                        * to become durable as a row at `row` has */
    CHANGE_CHECKPOINT, /* everything up to `position` has been handed out (all builders are empty).
                        * At transaction boundaries; inside one only when it is larger than
                        * the driver's limit (then position.at.minor > 0) */
    CHANGE_MESSAGE,    /* with CaptureOptions.origins: somebody wrote a message of his own into the
                        * log; all rows before it have been handed out */
    CHANGE_STATEMENT,  /* with CaptureOptions.statements: all rows before it, and what it made of
                        * tables that are captured, have been handed out */
    CHANGE_COMMIT, /* with CaptureOptions.commits: the transaction that commits at row.major has no
                    * more changes, though some may still come in batches until a checkpoint */
} ChangeKind;

typedef struct Change {
    ChangeKind kind;
    uint32_t table;
    Batch *batch;         /* CHANGE_BATCH: the receiver owns it */
    const Schema *schema; /* CHANGE_SCHEMA: these two last until capture_close */
    const char *shape;
    RowPosition row;
    /* CHANGE_TRUNCATE, CHANGE_MESSAGE, CHANGE_STATEMENT, with CaptureOptions.origins: of it itself,
     * as a row's (orders 0: it is not counted). CHANGE_COMMIT: lsn is where the commit's record
     * ends. */
    uint64_t lsn, total_order, table_order;
    TransactionOrigin transaction;
    LogMessage *message;  /* CHANGE_MESSAGE: the receiver owns it */
    Statement *statement; /* CHANGE_STATEMENT: likewise */
    Position position;
    int64_t
        commit_us; /* CHECKPOINT: commit time at the source of the latest transaction, 0 unknown */
    bool alone;    /* CHANGE_SCHEMA */
} Change;

/* What is in it, of one that nobody has received. */
static inline void change_done(Change *change)
{
    batch_free(change->batch);
    log_message_free(change->message);
    statement_free(change->statement);
}

/* The statement that would make a table that is copied, as it is now, at the copy's place
 * (CHANGE_STATEMENT). Of sources that have such. In the capture's thread. */
MUST_CHECK bool capture_definition(Capture *capture, uint32_t table, Change *ret, Error *err);

MUST_CHECK bool capture_stream_start(Capture *capture, Error *err);
/* Waits up to timeout_ms. A driver hands out full batches at once, the others and a checkpoint
 * after linger (about 200 ms, sooner when the source falls idle), so that a quiet source is fresh
 * and a busy one makes large batches. */
MUST_CHECK bool capture_next(Capture *capture, int timeout_ms, Change *ret, Error *err);
/* To be called at least each second while nobody takes changes: answers keepalives, reads nothing.
 */
MUST_CHECK bool capture_idle(Capture *capture, Error *err);
/* Everything up to `durable` is durable downstream: told to the source with the next reply.
 * Thread-safe, does no I/O. */
void capture_confirm(Capture *capture, RowPosition durable);

/* What the source keeps of its log for us, and for how long it will (PostgreSQL: of the slot). */
typedef enum LogStatus {
    LOG_UNKNOWN,    /* not measured yet */
    LOG_RESERVED,   /* it is kept in any case */
    LOG_EXTENDED,   /* more than the source usually keeps, and kept still */
    LOG_UNRESERVED, /* it may go at any time */
    LOG_LOST,
} LogStatus;
typedef struct LogHeadroom {
    LogStatus status;
    uint64_t retained_bytes;
    bool limited; /* the source has a limit; else its disk is the only one */
    int64_t
        headroom_bytes; /* limited: what may still be written before it may go; 0 or less: it may */
    double growth;      /* of what is retained, bytes per second, lately; 0: it does not grow */
    double over_seconds; /* measured over so long */
    double seconds;      /* until it may go, at that rate; INFINITY: never */
} LogHeadroom;

typedef struct CaptureFigures {
    RowPosition received;  /* read from the socket and decoded */
    RowPosition confirmed; /* told to the source */
    uint64_t source_end;   /* the log's end as the source last said */
    uint64_t changes;      /* decoded */
    uint64_t bytes;        /* read from the socket */
    LogHeadroom headroom;
    uint64_t heartbeats;  /* sent */
    uint64_t keyed_reads; /* of values that an update left out, fetched from the source by key */
} CaptureFigures;
/* Thread-safe. */
void capture_figures(const Capture *capture, CaptureFigures *ret);

/* `firn-agent drop`: removes what this connector made at the source (slot, publication). Missing is
 * fine. */
MUST_CHECK bool capture_drop(const ConnectorSpec *spec, Error *err);

/* --- the driver --- */
typedef struct CaptureDriver {
    void (*close)(Capture *capture);
    const SourceTable *(*tables)(const Capture *capture, size_t *ret_count);
    bool (*columns)(Capture *capture, uint32_t table, const ColumnList *columns, Error *err);
    void (*forget)(Capture *capture, uint32_t table);
    void (*identify)(Capture *capture, uint32_t table, const int32_t *origins, size_t count);
    bool (*resume)(Capture *capture, uint32_t table, const char *shape, RowPosition at, Error *err);
    bool (*same)(const Capture *capture, uint32_t table, const char *shape);
    void (*fills)(Capture *capture, uint32_t table);
    const char *(*source)(const Capture *capture);
    char *(*anchor)(const Capture *capture, RowPosition at); /* NULL: it has none */
    bool (*adopt)(Capture *capture, Position *position, const char *anchor, bool passed, bool *ret,
                  Error *err);
    bool (*told)(Capture *capture, RowPosition *ret, Error *err);
    bool (*log_end)(Capture *capture, RowPosition *ret, Error *err);
    bool (*unread)(Capture *capture, Error *err);
    bool (*describe)(Capture *capture, uint32_t table, const char *shape, Arena *arena,
                     const SourceColumn **ret, Error *err);
    bool (*definition)(Capture *capture, uint32_t table, Change *ret, Error *err); /* or NULL */
    bool (*look)(Capture *capture, CaptureFound *found, void *context, Error *err);
    bool (*prepare)(Capture *capture, const CaptureState *state, Position *ret_copy, Error *err);
    bool (*copy_plan)(Capture *capture, uint32_t table, uint64_t range_bytes, const Extents *done,
                      CopyRange **ret, size_t *ret_count, Error *err);
    CopyReader *(*copy_reader_open)(Capture *capture, Error *err);
    void (*copy_reader_free)(CopyReader *reader);
    bool (*copy_begin)(CopyReader *reader, const CopyRange *range, Error *err);
    bool (*copy_next)(CopyReader *reader, Batch **ret, Error *err);
    void (*copy_cancel)(CopyReader *reader);
    bool (*copy_done)(Capture *capture, Error *err);
    CopyReader *(*beside_open)(Capture *capture, Capture *stream, Error *err);
    bool (*beside_say)(CopyReader *reader, const char *text, Error *err);
    bool (*beside_bound)(CopyReader *reader, uint32_t table, const char *after, uint32_t rows,
                         char **ret, Error *err);
    bool (*beside_begin)(CopyReader *reader, uint32_t table, const char *after, const char *until,
                         Unseen *ret, Error *err);
    void (*copied)(Capture *capture, uint32_t table);
    bool (*stream_start)(Capture *capture, Error *err);
    bool (*next)(Capture *capture, int timeout_ms, Change *ret, Error *err);
    bool (*idle)(Capture *capture, Error *err);
    void (*confirm)(Capture *capture, RowPosition durable);
    void (*figures)(const Capture *capture, CaptureFigures *ret);
} CaptureDriver;

/* The first member of every driver's own structs. */
struct Capture {
    const CaptureDriver *driver;
};
struct CopyReader {
    const CaptureDriver *driver;
};

DEFINE_AUTO(Capture, capture_close);
DEFINE_AUTO(CopyReader, capture_copy_reader_free);
