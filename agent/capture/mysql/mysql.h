/* MySQL and MariaDB as a source. Read this first.
 *
 *   mysql.c        the driver: open, prepare, close, and who calls what
 *   connect.c      connections, what the server's errors mean    packet.c  past the library
 *   check.c        what the server has to be set to, and who it is
 *   tables.c       the tables, their columns, types and keys     known.c  columns as they are kept
 *   learn.c        what becomes of a table whose columns change
 *   cascades.c     foreign keys that change rows behind the log's back
 *   describe.c     columns for a topic's schema             origins.c  what the log says of rows
 *   snapshot.c     the copy's snapshot: one on all of its connections
 *   replay.c, xa.c  what XA has prepared, when it is committed
 *   failover.c     a place found at another server, by GTIDs: anchors.h, seek.h
 *   headroom.h     for how long the server keeps the log that is needed
 *   plan.c, copy.c the copy: its ranges; rows as text            text.c  that into columns
 *   beside.c       a chunk of a table by its key, beside the stream: marks.h
 *   stream.c       the log: COM_BINLOG_DUMP                      log*.c  its events → batches
 *   ddl.c          its statements that change tables         statement.c  and who is told of them
 *   ddl_columns.c  what they say of columns                  ddl_scan.h   their words
 *   binlog.h and the rest: events, GTIDs, rows and values, without I/O
 *
 * Positions: place.h. A row's is (where its transaction begins, where its event begins in the
 * transaction and the how manieth it is there), which does not depend on which tables are captured;
 * the pair that a key change makes shares one. A checkpoint's is (the end of the last transaction
 * handed out, 0). The source of positions is the server ("mysql/<uuid>", "mariadb/<uid>"): on
 * another one places mean nothing, and the GTID set that is kept with a position (capture_anchor)
 * finds the one that has the same transactions before it. */
#pragma once

#include <pthread.h>
#include <stdatomic.h>

#include "agent/capture/capture.h"
#include "agent/capture/mysql/anchors.h"
#include "agent/capture/mysql/connect.h"
#include "agent/capture/mysql/ddl.h"
#include "agent/capture/mysql/known.h"
#include "agent/capture/mysql/marks.h"
#include "agent/capture/mysql/place.h"
#include "agent/capture/mysql/packet.h"
#include "agent/record/statement.h"
#include "common/bytes.h"

#define SNAPSHOT_READERS_MAX 64

typedef struct MyShape {
    Schema *schema;
    char *text;
} MyShape;

typedef struct MyTable {
    SourceTable *source; /* in Mysql.sources */
    RowPosition passed;  /* changes up to here are in the lake's table already, or in the copy */
    bool resumed;        /* the lake's table goes on where it stands */
    /* Rows of it are still to be copied: readers of the copy and the stream share the columns, so
     * they stay as they are, and a change of them is "ColumnsChanged". */
    atomic_bool copying;
    atomic_bool fills;         /* values that an update leaves out may be handed out as unchanged */
    int32_t *ids;              /* origins of what the lake knows rows by; owned */
    size_t id_count;           /* 0: the key */
    char *name;                /* "shop.orders", for messages and patterns */
    char *quoted;              /* `shop`.`orders` */
    MyKnown *known;            /* one column for each field, in their order */
    const ColumnList *columns; /* what the lake table's resource says of them; NULL: nothing */
    MyShape *old;              /* handed out before; owned */
    size_t old_count;
    /* MySQL: its definition in the server's words, from before the snapshot; owned. Whoever reads
     * the catalog in a snapshot there sees columns of then, but rows with the columns of now. */
    char *created;
    /* The ALTER TABLEs that were read: what columns were added with, when the catalog no longer has
     * them. Only as long as the agent runs; owned. */
    char **statements;
    size_t statement_count;
    uint64_t version; /* of the plans that rows are read with: grows with each change of columns */
} MyTable;

typedef struct MyStream MyStream;

/* A position that somebody has kept, and where it is at this server. */
typedef struct Adopted {
    Position then;
    uint64_t place;
    char *gtids; /* what lies before it; NULL: not known */
} Adopted;

/* A connection in the copy's snapshot; a reader has it for a range. */
typedef struct MySession {
    MYSQL *connection;
    Wire wire;
    bool busy;
} MySession;

typedef struct Mysql {
    Capture base;
    const ConnectorSpec *spec;
    bool mariadb;
    bool full_metadata;                 /* table maps name their columns */
    bool cascades_unseen;               /* the log has nothing of what foreign keys do */
    char server[POSITION_SOURCE_BYTES]; /* who answers */
    char source[POSITION_SOURCE_BYTES]; /* the same, with "+<file_shift>" where there is one */
    uint64_t file_shift; /* what the numbers of its files are more in places (place.h) */
    char lock[32];       /* the name of the lock that one agent alone holds */
    uint32_t server_id;  /* we are a replica with this number */
    char base_name[PLACE_NAME_BYTES]; /* of the binlog's files: "binlog." */
    Collation *collations;
    Arena *arena; /* their names */
    Collations charsets;
    SourceTable *sources;
    MyTable *tables; /* the same numbers */
    size_t table_count;
    MYSQL *query;                 /* catalog; the capture's thread only */
    pthread_mutex_t session_lock; /* of the three below */
    pthread_cond_t session_freed;
    MySession *sessions[SNAPSHOT_READERS_MAX]; /* all in the same snapshot */
    size_t session_count, reader_count;
    RowPosition copy_at; /* what the snapshot stands for */
    int64_t copy_us;     /* when it was taken */
    char copy_file[PLACE_NAME_BYTES];
    RowPosition start; /* where the stream begins */
    bool gtids;        /* every transaction has one */
    Adopted *adopted;  /* until the stream begins */
    size_t adopted_count;
    char *copy_gtids; /* before copy_at; NULL: not known */
    MyAnchors *anchors;
    MyMarks marks;    /* of whoever reads beside the stream */
    MyStream *stream; /* NULL before capture_stream_start */
    Patience patience;
    CaptureOptions options;
    int64_t stopped_us; /* when it was seen that it is to stop; 0: not yet */
} Mysql;

static inline Mysql *mysql_of(Capture *capture)
{
    return (Mysql *)capture;
}

static inline void my_text_done_auto(Bytes *at)
{
    bytes_done(at);
}

/* A place in a file of the server's, and the file of a place; DATA "BadPlace". */
MUST_CHECK bool my_place(const Mysql *mysql, uint64_t file, uint64_t offset, uint64_t *ret,
                         Error *err);
MUST_CHECK bool my_place_file(const Mysql *mysql, uint64_t place, char ret[PLACE_NAME_BYTES],
                              Error *err);
/* A connection to the server that was found at capture_mysql_open. RETRY "ServerChanged" when
 * another one answers by now: what is known of the log and of the tables is not of it. */
MYSQL *mysql_connect(const Mysql *mysql, Error *err) OWNED_BY(my_close);
/* The query connection, opened (again) when needed. */
MUST_CHECK bool mysql_query_open(Mysql *mysql, Error *err);

/* --- check.c --- */
MUST_CHECK bool check_server(Mysql *mysql, Error *err);
/* The server's; "": it has none of that name. The caller frees. */
char *my_variable(const Mysql *mysql, const char *name, Error *err) OWNED_BY(free);
/* What the server behind a connection is called in positions. */
MUST_CHECK bool check_identity(const Mysql *mysql, MYSQL *connection,
                               char ret[POSITION_SOURCE_BYTES], Error *err);
/* The log's end as it is now. */
MUST_CHECK bool check_log_end(Mysql *mysql, MYSQL *connection, uint64_t *ret, Error *err);
/* The GTID set before a place that the server itself knows it of; NULL: it does not, or failed. */
char *check_gtids(Mysql *mysql, uint64_t place);
/* What the server keeps of its log from that place on, and for how long it keeps a file that it
 * writes to no more; 0: for ever. there: it has the place's file. */
typedef struct LogKept {
    uint64_t bytes;
    bool there;
    int64_t expire_us;
} LogKept;
MUST_CHECK bool check_log_kept(Mysql *mysql, uint64_t place, LogKept *ret, Error *err);
/* Is the log still there from that place on? CONFIG "LogPurged". */
MUST_CHECK bool check_log_there(Mysql *mysql, uint64_t place, Error *err);
bool log_purged(const char *what, Error *err);

/* --- tables.c --- */
MUST_CHECK bool my_tables_find(Mysql *mysql, Error *err);
void my_table_done(MyTable *table);
void my_table_forget_statements(MyTable *table);
MUST_CHECK bool my_tables_look(Capture *capture, CaptureFound *found, void *context, Error *err);
/* The columns as the catalog has them now. *ret NULL: there is no such table. */
MUST_CHECK bool my_table_read(const Mysql *mysql, MYSQL *connection, const Patience *patience,
                              const SourceTable *source, MyKnown **ret, Error *err);
/* Have both the same columns and key, whatever their origins? */
bool my_table_equal(const MyKnown *a, const MyKnown *b);
MUST_CHECK bool my_table_columns(Capture *capture, uint32_t number, const ColumnList *columns,
                                 Error *err);
MUST_CHECK bool my_table_resume(Capture *capture, uint32_t number, const char *shape,
                                RowPosition at, Error *err);
bool my_table_same(const Capture *capture, uint32_t number, const char *shape);
void my_table_identify(Capture *capture, uint32_t number, const int32_t *origins, size_t count);
void my_table_forget(Capture *capture, uint32_t number);
/* These columns are the table's from now on, in the types that the lake's table has or asks for.
 * Takes known, on false too. */
MUST_CHECK bool my_table_take(Mysql *mysql, MyTable *table, MyKnown *known, Error *err);
/* RETRY "ColumnsChanged": found while the table is copied. */
bool my_table_changed(const MyTable *table, Error *err);

/* Do the manifest's patterns choose a table of this name? */
bool my_table_chosen(const Mysql *mysql, const char *table);

/* --- cascades.c --- */
/* CONFIG "CascadesUnseen": rows of a captured table may change without a word in the log. */
MUST_CHECK bool my_cascades_find(Mysql *mysql, Error *err);
MUST_CHECK bool my_cascades_check(Mysql *mysql, const MyTable *table, Error *err);
/* Pure: the first foreign key in the text of SHOW CREATE TABLE that changes rows, in backticks;
 * NULL: there is none. The caller frees. */
char *my_cascade_find(const char *definition) OWNED_BY(free);

/* --- describe.c --- */
MUST_CHECK bool my_columns_describe(Capture *capture, uint32_t number, const char *shape,
                                    Arena *arena, const SourceColumn **ret, Error *err);
/* A default as the catalog has it: the constant, "CURRENT_TIMESTAMP", or NULL: there is none, or
 * one that is computed. The caller frees. */
char *my_column_default(const Mysql *mysql, const char *text, const char *extra) OWNED_BY(free);

/* --- learn.c --- */
/* A statement changed the table (ddl), or rows come that its columns do not fit (map): what they
 * are from here on. */
MUST_CHECK bool my_table_learn(void *context, uint32_t number, const TableMap *map, const Ddl *ddl,
                               bool *ret_changed, Error *err);

/* The server sends a statement before its catalog has it: waits until it has. */
MUST_CHECK bool my_table_wait(Mysql *mysql, const char *quoted, Error *err);

/* --- statement.c --- */
/* What there is to be told of the statement at that place, once its tables are learned; NULL:
 * nothing, as it concerns none that is chosen, or all of them have passed it. The caller frees. */
MUST_CHECK bool my_statement_tell(void *context, const Ddl *ddl, RowPosition at, Statement **ret,
                                  Error *err);
MUST_CHECK bool my_table_definition(Capture *capture, uint32_t number, Change *ret, Error *err);

/* --- snapshot.c --- */
MUST_CHECK bool snapshot_take(Mysql *mysql, uint64_t *ret, Error *err);
/* How much of SHOW CREATE TABLE's text is of columns and keys: what follows has numbers that move.
 */
size_t created_bytes(const char *text, size_t bytes);
/* A session of the snapshot, waited for when there are fewer than readers. NULL: given up. */
MySession *session_get(Mysql *mysql, const atomic_bool *cancelled);
void session_put(Mysql *mysql, MySession *session);
void session_free(MySession *session);
void session_wake(Mysql *mysql);
/* Readers come and go; sessions that are more than they are end. */
void session_readers(Mysql *mysql, int more);
void session_trim(Mysql *mysql);

/* --- copy.c, plan.c --- */
MUST_CHECK bool my_copy_plan(Capture *capture, uint32_t number, uint64_t range_bytes,
                             const Extents *done, CopyRange **ret, size_t *ret_count, Error *err);
/* Where a range's rows are, for a SELECT: "" or " WHERE …"; the caller frees. */
char *my_copy_where(const MyTable *table, const Extent *extent) OWNED_BY(free);
CopyReader *my_copy_reader_open(Capture *capture, Error *err);
void my_copy_reader_free(CopyReader *reader);
MUST_CHECK bool my_copy_begin(CopyReader *reader, const CopyRange *range, Error *err);
MUST_CHECK bool my_copy_next(CopyReader *reader, Batch **ret, Error *err);
void my_copy_cancel(CopyReader *reader);

/* --- beside.c --- */
CopyReader *my_beside_open(Capture *capture, Capture *stream, Error *err);
MUST_CHECK bool my_beside_say(CopyReader *reader, const char *text, Error *err);
MUST_CHECK bool my_beside_bound(CopyReader *reader, uint32_t table, const char *after,
                                uint32_t rows, char **ret, Error *err);
MUST_CHECK bool my_beside_begin(CopyReader *reader, uint32_t table, const char *after,
                                const char *until, Unseen *ret, Error *err);

/* --- failover.c --- */
MUST_CHECK bool my_adopt(Capture *capture, Position *position, const char *anchor, bool passed,
                         bool *ret, Error *err);
char *my_anchor(const Capture *capture, RowPosition at);
/* What lies before where the stream begins, if anybody has kept it. */
void my_anchors_start(Mysql *mysql);
void my_adopted_forget(Mysql *mysql);

/* --- stream.c --- */
/* What a session that reads the log is to know of us; *ret_checksums: are events followed by one?
 */
MUST_CHECK bool my_stream_announce(const Mysql *mysql, MYSQL *connection, bool *ret_checksums,
                                   Error *err);
/* Asks for the log from a place on. replica: our number; 0: up to its end only, as nobody. */
MUST_CHECK bool my_stream_ask(const Mysql *mysql, MYSQL *connection, uint64_t place,
                              uint32_t replica, Error *err);
/* A packet of the log; *ret_event NULL: the log's end. */
MUST_CHECK bool my_stream_packet(const Mysql *mysql, Reader packet, const uint8_t **ret_event,
                                 size_t *ret_bytes, Error *err);
void my_stream_close(MyStream *stream);
MUST_CHECK bool my_stream_start(Capture *capture, Error *err);
MUST_CHECK bool my_stream_next(Capture *capture, int timeout_ms, Change *ret, Error *err);
MUST_CHECK bool my_stream_idle(Capture *capture, Error *err);
void my_stream_confirm(Capture *capture, RowPosition durable);
void my_stream_figures(const Capture *capture, CaptureFigures *ret);
MUST_CHECK bool my_stream_unread(Mysql *mysql, Error *err);

/* --- mysql.c --- */
Capture *capture_mysql_open(const ConnectorSpec *spec, const CaptureOptions *options, Error *err)
    OWNED_BY(capture_close);
