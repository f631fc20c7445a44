/* The binlog's events into changes. Pure: no socket; events in, changes out, so that it can be
 * tested and fuzzed with scripts.
 *
 * Loop: while mylog_take gives a change, hand it on; else if mylog_unpacking, mylog_unpack; else if
 * mylog_wants, mylog_replay; else mylog_event with the next one. Rows gather in one batch per
 * table; a full batch becomes a change at once, the others with mylog_checkpoint. */
#pragma once

#include "agent/capture/mysql/mysql.h"

typedef struct MyLog MyLog;

typedef bool (*MyLearn)(void *context, uint32_t table, const TableMap *map, const Ddl *ddl,
                        bool *ret_changed, Error *err);

/* my_statement_tell */
typedef bool (*MyTell)(void *context, const Ddl *ddl, RowPosition at, Statement **ret, Error *err);

typedef struct MyLogOptions {
    MyTable *tables;
    size_t table_count;
    const Collations *collations;
    MyLearn learn;
    MyTell tell;                /* with origins; NULL: nobody wants to know */
    void *context;              /* of both */
    MyAnchors *anchors;         /* told which transactions were read; NULL: they have no GTIDs */
    uint64_t file_shift;        /* of places (place.h) */
    bool checksums;             /* before a format description */
    uint64_t transaction_bytes; /* payload after which a checkpoint inside a transaction is made */
    bool origins, commits;      /* as in CaptureOptions */
} MyLogOptions;

void mylog_free(MyLog *log);
MyLog *mylog_new(const MyLogOptions *options) OWNED_BY(mylog_free);

/* One event. Not while unpacking. DATA "BadEvent", "BadChecksum", "BadValue"; CONFIG where the log
 * does not say what the rows are, or says what can't be followed. */
MUST_CHECK bool mylog_event(MyLog *log, const uint8_t *data, size_t bytes, Error *err);
/* A compressed transaction is being handed out, event by event. Until it is, what the event points
 * to must stay. */
bool mylog_unpacking(const MyLog *log);
MUST_CHECK bool mylog_unpack(MyLog *log, Error *err);

/* What was prepared by XA is committed now, so it is read again before the next event: the
 * transaction of this name, from *ret_place on (0: nobody has seen it: search), which lies before
 * *ret_before, or there. */
bool mylog_wants(const MyLog *log, const char **ret_xid, uint64_t *ret_place, uint64_t *ret_before);
/* Events are of it from here on, as long as mylog_replaying. */
void mylog_replay(MyLog *log);
bool mylog_replaying(const MyLog *log);

/* The next change that is ready; its Position's source is left empty. */
bool mylog_take(MyLog *log, Change *ret);
/* Something was read since the last checkpoint, and no transaction is open. */
bool mylog_can_checkpoint(const MyLog *log);
/* The batches and then the checkpoint become ready. */
void mylog_checkpoint(MyLog *log);
/* Between two transactions, all of the first in the builders: *ret is the place there. */
bool mylog_rests(const MyLog *log, uint64_t *ret);
/* The batches and then a message of this text become ready. While it rests. A checkpoint is to
 * follow. */
void mylog_say(MyLog *log, const char *text);
bool mylog_in_transaction(const MyLog *log);
RowPosition mylog_position(const MyLog *log); /* of what was decoded last */
/* When the first transaction between the latest two checkpoints was committed; 0: there was none.
 */
int64_t mylog_oldest_us(const MyLog *log);
uint64_t mylog_changes(const MyLog *log);
uint64_t mylog_end(const MyLog *log); /* the place behind what was read last */

DEFINE_AUTO(MyLog, mylog_free);
