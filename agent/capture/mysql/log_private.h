/* What log.c, log_rows.c and log_statements.c share. */
#pragma once

#include "agent/capture/builders/builders.h"
#include "agent/capture/mysql/log.h"
#include "agent/capture/mysql/origins.h"
#include "agent/capture/mysql/rows.h"
#include "agent/capture/mysql/unpack.h"
#include "agent/capture/mysql/xa.h"

#define MAPS_FIRST 64u  /* a power of two */
#define MAPS_KEPT 4096u /* from one transaction to the next */
/* Messages at one place are so far apart, so that rows which somebody puts there have positions of
 * their own, before those of the next transaction; so many differ. */
#define MESSAGE_ROWS_BITS 14
#define MESSAGES_MAX 32768u
#define EVENT_ROW_BITS 24 /* rows of one event; the rest of minor is where it begins */

/* A table map that rows name, and how to read them. */
typedef struct Mapped {
    bool used;
    uint64_t id;
    TableMap *map;    /* NULL: of a table that is not ours */
    int64_t table;    /* -1: not ours */
    RowPlan *plan;    /* NULL: not made yet */
    uint64_t version; /* of the table, when it was made */
} Mapped;

/* What was prepared, and is committed now: its events are read again. */
typedef enum ReplayState { REPLAY_NONE, REPLAY_WANTED, REPLAY_ON } ReplayState;
typedef struct Replay {
    ReplayState state;
    char xid[XID_TEXT_BYTES];
    uint64_t place;        /* where it was prepared; 0: nobody has seen that */
    uint64_t begins;       /* in its file; known once it has been read */
    uint32_t time;         /* when it was committed */
    uint64_t file, offset; /* where the log itself goes on */
    BinlogFormat format;
} Replay;

struct MyLog {
    MyLogOptions options;
    BinlogFormat format;
    uint64_t file, offset; /* behind the latest event */
    bool placed;           /* a rotate event has said where we are */

    bool in_transaction, is_xa, has_rows;
    GtidEvent gtid; /* of the latest transaction */
    bool xa_ours;   /* it has rows of a captured table */
    PreparedList prepared;
    Replay replay;
    bool begun;          /* of several statements: one that changes tables does not end it */
    RowPosition at;      /* in a transaction: (where it begins, the latest row) */
    uint64_t end;        /* every transaction that began before it was handed to the builders */
    uint64_t checkpoint; /* the latest one's major */
    uint32_t said;       /* messages since the log went on */
    uint64_t said_at;    /* the place of the latest one */
    bool spoke;          /* since the latest checkpoint */
    int64_t commit_us;
    int64_t first_us, oldest_us; /* since the latest checkpoint; between it and the one before */
    uint64_t changes;

    Mapped *maps; /* a table by id, half of it empty at least */
    size_t map_slots, map_count;
    Builders builders;
    MyOrigins *origins; /* NULL: not asked for */

    Payload *payload;
    BinlogEvent payload_event;
    uint64_t payload_offset; /* of the next event in it, as if it stood in the file */
    Bytes unpacked;
};

/* --- log_rows.c: table maps, rows --- */
void mylog_drop_maps(MyLog *log);
MUST_CHECK bool mylog_refuse(const char *what, Error *err);
MUST_CHECK bool mylog_learn(MyLog *log, uint32_t table, const TableMap *map, const Ddl *ddl,
                            Error *err);
MUST_CHECK bool mylog_on_table_map(MyLog *log, const BinlogEvent *event, Error *err);
uint64_t mylog_place_of_event(const MyLog *log, const BinlogEvent *event);
MUST_CHECK bool mylog_on_rows(MyLog *log, const BinlogEvent *event, Error *err);

/* --- log_statements.c --- */
MUST_CHECK bool mylog_on_ddl(MyLog *log, const BinlogEvent *event, const QueryEvent *query,
                             Error *err);
MUST_CHECK bool mylog_on_statement(MyLog *log, const QueryEvent *query, Error *err);
