/* The binlog's events.
 *
 *   MySQL     a GTID (or anonymous) event, then: Query BEGIN, table maps and rows, Xid or Query
 *             COMMIT; or a Query that is its own transaction (DDL); or a payload, in which all
 *             behind the GTID stands compressed
 *   MariaDB   a GTID event, which stands for BEGIN, table maps and rows, Xid or Query COMMIT; or
 *             with a flag, one Query
 *
 * A transaction in the log is committed, so its rows are handed out as they come; but one of XA,
 * which is in the log when it is prepared: xa.h. Where in
 * its file an event ends is in its header, modulo 2^32; what the server makes for us (its end is 0,
 * or it is artificial) stands nowhere. */
#include "agent/capture/mysql/log.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "agent/capture/mysql/origins.h"
#include "agent/capture/mysql/rows.h"
#include "agent/capture/mysql/unpack.h"
#include "agent/capture/mysql/xa.h"
#include "common/crash.h"
#include "common/mem.h"

#define ROWS_FIRST 32
#define ROWS_MAX 8192
#define PENDING_BYTES_MAX ((uint64_t)32 << 20) /* in batches that are not full */
#define MAPS_FIRST 64u                         /* a power of two */
#define MAPS_KEPT 4096u                        /* from one transaction to the next */
#define EVENT_ROW_BITS 24 /* rows of one event; the rest of minor is where it begins */

typedef struct Builder {
    Batch *batch;
    uint32_t row_max; /* of the next batch: grows with the flow, so that 1,000 tables stay small */
    bool listed;      /* in MyLog.dirty */
} Builder;

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
    int64_t commit_us;
    int64_t first_us, oldest_us; /* since the latest checkpoint; between it and the one before */
    uint64_t changes;

    Mapped *maps; /* a table by id, half of it empty at least */
    size_t map_slots, map_count;
    Builder *builders;
    uint32_t *dirty;
    size_t dirty_count;
    uint64_t pending_bytes, checkpoint_bytes;
    MyOrigins *origins; /* NULL: not asked for */
    Change *ready;      /* ready_at … ready_count */
    size_t ready_at, ready_count, ready_held;

    Payload *payload;
    BinlogEvent payload_event;
    uint64_t payload_offset; /* of the next event in it, as if it stood in the file */
    Bytes unpacked;
};

MyLog *mylog_new(const MyLogOptions *options)
{
    MyLog *log = mem_zalloc(sizeof *log);
    log->options = *options;
    log->format.checksums = options->checksums;
    log->builders = mem_array(options->table_count + 1, sizeof *log->builders);
    log->dirty = mem_array(options->table_count + 1, sizeof *log->dirty);
    log->map_slots = MAPS_FIRST;
    log->maps = mem_array(log->map_slots, sizeof *log->maps);
    for (size_t i = 0; i < options->table_count; i++)
        log->builders[i].row_max = ROWS_FIRST;
    if (options->origins)
        log->origins = my_origins_new(options->table_count);
    return log;
}

static void drop_maps(MyLog *log)
{
    for (size_t i = 0; i < log->map_slots; i++) {
        table_map_free(log->maps[i].map);
        row_plan_free(log->maps[i].plan);
        log->maps[i] = (Mapped){0};
    }
    log->map_count = 0;
}

void mylog_free(MyLog *log)
{
    if (!log)
        return;
    drop_maps(log);
    for (size_t i = 0; i < log->options.table_count; i++)
        batch_free(log->builders[i].batch);
    for (size_t i = log->ready_at; i < log->ready_count; i++)
        change_done(&log->ready[i]);
    payload_free(log->payload);
    prepared_done(&log->prepared);
    my_origins_free(log->origins);
    bytes_done(&log->unpacked);
    free(log->maps);
    free(log->builders);
    free(log->dirty);
    free(log->ready);
    free(log);
}

/* --- what is ready --- */

static Change *push(MyLog *log, ChangeKind kind)
{
    if (log->ready_at == log->ready_count)
        log->ready_at = log->ready_count = 0;
    if (log->ready_count == log->ready_held) {
        log->ready_held = log->ready_held ? log->ready_held * 2 : 16;
        log->ready = mem_regrow(log->ready, log->ready_held, sizeof *log->ready);
    }
    Change *change = &log->ready[log->ready_count++];
    *change = (Change){.kind = kind};
    return change;
}

bool mylog_take(MyLog *log, Change *ret)
{
    if (log->ready_at == log->ready_count)
        return false;
    *ret = log->ready[log->ready_at++];
    return true;
}

static void flush(MyLog *log, uint32_t table)
{
    Builder *builder = &log->builders[table];
    Batch *batch = TAKE(builder->batch);
    if (!batch)
        return;
    log->pending_bytes -= batch->bytes;
    if (batch->row_count == 0) {
        batch_free(batch);
        return;
    }
    if (batch->row_count + 1 >= batch->row_max && builder->row_max < ROWS_MAX)
        builder->row_max *= 2;
    else if (batch->row_count < builder->row_max / 8 && builder->row_max > ROWS_FIRST)
        builder->row_max /= 2;
    Change *change = push(log, CHANGE_BATCH);
    change->table = table;
    change->batch = batch;
}

static void flush_all(MyLog *log)
{
    for (size_t i = 0; i < log->dirty_count; i++) {
        flush(log, log->dirty[i]);
        log->builders[log->dirty[i]].listed = false;
    }
    log->dirty_count = 0;
    ASSERT(log->pending_bytes == 0);
}

static Batch *batch_for(MyLog *log, uint32_t table)
{
    Builder *builder = &log->builders[table];
    if (builder->batch && builder->batch->row_count + 2 > builder->batch->row_max)
        flush(log, table);
    if (!builder->batch) {
        builder->batch =
            batch_new(log->options.tables[table].source->schema, table, builder->row_max);
        if (log->origins)
            origins_keep(builder->batch);
    }
    if (!builder->listed) {
        builder->listed = true;
        log->dirty[log->dirty_count++] = table;
    }
    return builder->batch;
}

static void checkpoint_at(MyLog *log, RowPosition at)
{
    flush_all(log);
    Change *change = push(log, CHANGE_CHECKPOINT);
    change->position.at = at;
    change->commit_us = log->commit_us;
    if (log->options.anchors)
        my_anchors_mark(log->options.anchors, at.major);
    log->checkpoint = at.major;
    log->checkpoint_bytes = 0;
    log->oldest_us = log->first_us;
    log->first_us = 0;
}

bool mylog_can_checkpoint(const MyLog *log)
{
    return !log->in_transaction && !log->payload && log->end > log->checkpoint;
}

void mylog_checkpoint(MyLog *log)
{
    ASSERT(!log->in_transaction);
    checkpoint_at(log, (RowPosition){.major = log->end});
}

bool mylog_in_transaction(const MyLog *log)
{
    return log->in_transaction;
}
RowPosition mylog_position(const MyLog *log)
{
    return log->in_transaction ? log->at : (RowPosition){.major = log->end};
}
int64_t mylog_oldest_us(const MyLog *log)
{
    return log->oldest_us;
}
uint64_t mylog_changes(const MyLog *log)
{
    return log->changes;
}
uint64_t mylog_end(const MyLog *log)
{
    if (log->replay.state == REPLAY_ON)
        return place_of(log->replay.file, log->replay.offset);
    return log->placed ? place_of(log->file, log->offset) : log->end;
}
bool mylog_unpacking(const MyLog *log)
{
    return log->payload != NULL;
}

static bool refuse(const char *what, Error *err)
{
    return error_set(err, ERROR_CONFIG, "UnsupportedEvent", "the binlog has %s", what);
}

/* --- tables --- */

static void schema_changed(MyLog *log, uint32_t table, bool alone)
{
    const SourceTable *source = log->options.tables[table].source;
    Change *change = push(log, CHANGE_SCHEMA);
    change->table = table;
    change->row = log->at;
    change->schema = source->schema;
    change->shape = source->shape;
    change->alone = alone;
}

static bool learn(MyLog *log, uint32_t table, const TableMap *map, const Ddl *ddl, Error *err)
{
    bool changed = false;
    flush(log, table);
    if (log->options.learn &&
        !log->options.learn(log->options.context, table, map, ddl, &changed, err))
        return false;
    if (changed) {
        CRASH_POINT("mysql-schema-learned");
        schema_changed(log, table, ddl != NULL);
    }
    return true;
}

static int64_t find_table(const MyLog *log, const char *schema, const char *name)
{
    for (size_t i = 0; i < log->options.table_count; i++) {
        const SourceTable *source = log->options.tables[i].source;
        if (strcmp(source->table_name, name) == 0 && strcmp(source->schema_name, schema) == 0)
            return (int64_t)i;
    }
    return -1;
}

/* Only the names, as most maps are of tables that are known already, or nobody's. */
static bool peek_names(const BinlogEvent *event, const char **ret_schema, const char **ret_table)
{
    Reader in = event->content;
    const uint8_t *at;
    uint8_t bytes;
    if (!reader_take(&in, 8, &at) || !reader_u8(&in, &bytes) ||
        !reader_take(&in, (size_t)bytes + 1, &at) || at[bytes])
        return false;
    *ret_schema = (const char *)at;
    if (!reader_u8(&in, &bytes) || !reader_take(&in, (size_t)bytes + 1, &at) || at[bytes])
        return false;
    *ret_table = (const char *)at;
    return true;
}

/* The map's slot, or the free one that is to take it. */
static Mapped *map_slot(MyLog *log, uint64_t id)
{
    size_t at = id & (log->map_slots - 1);
    while (log->maps[at].used && log->maps[at].id != id)
        at = (at + 1) & (log->map_slots - 1);
    return &log->maps[at];
}

static Mapped *find_map(MyLog *log, uint64_t id)
{
    Mapped *slot = map_slot(log, id);
    return slot->used ? slot : NULL;
}

static Mapped *add_map(MyLog *log, uint64_t id)
{
    if (++log->map_count > log->map_slots / 2) {
        Mapped *old = log->maps;
        size_t slots = log->map_slots;
        log->map_slots *= 2;
        log->maps = mem_array(log->map_slots, sizeof *log->maps);
        for (size_t i = 0; i < slots; i++)
            if (old[i].used)
                *map_slot(log, old[i].id) = old[i];
        free(old);
    }
    return map_slot(log, id);
}

static bool on_table_map(MyLog *log, const BinlogEvent *event, Error *err)
{
    uint64_t id;
    const char *schema, *name;
    if (!table_map_id(event, &id) || !peek_names(event, &schema, &name))
        return binlog_bad(event, "it names no table", err);
    Mapped *mapped = find_map(log, id);
    if (mapped && mapped->map && table_map_same(mapped->map, event))
        return true;
    if (!mapped) {
        mapped = add_map(log, id);
    } else {
        table_map_free(mapped->map);
        row_plan_free(mapped->plan);
    }
    *mapped = (Mapped){.used = true, .id = id, .table = find_table(log, schema, name)};
    if (mapped->table < 0)
        return true;
    mapped->map = table_map_read(event, &log->format, err);
    if (mapped->map)
        return true;
    mapped->table = -1;
    return false;
}

static bool make_plan(MyLog *log, Mapped *mapped, Error *err)
{
    MyTable *table = &log->options.tables[mapped->table];
    uint32_t number = (uint32_t)mapped->table;
    row_plan_free(TAKE(mapped->plan));
    bool fits = known_fits(table->known, mapped->map);
    if (!fits && !learn(log, number, mapped->map, NULL, err))
        return false;
    flush(log, number);
    fits = known_fits(table->known, mapped->map);
    if (!fits && !known_covers(table->known, mapped->map))
        return error_set(err, ERROR_CONFIG, "SchemaUndecided",
                         "table %s: the binlog has rows with other columns than the table has, and "
                         "does not name them; set binlog_row_metadata = FULL at the server, and "
                         "load the table again with --resnapshot %s",
                         table->name, table->name);
    /* Completed anew each time, as what it lacks is the table's of now. */
    const BinlogEvent event = {.type = EVENT_TABLE_MAP,
                               .content = reader_over(mapped->map->raw, mapped->map->raw_bytes)};
    AUTO(table_map_free) TableMap *map = table_map_read(&event, &log->format, err);
    if (!map)
        return false;
    known_complete(table->known, map);
    const Schema *schema = table->source->schema;
    const Collations *collations = log->options.collations;
    mapped->plan = fits ? row_plan_new(map, schema, NULL, collations, err)
                        : row_plan_new_lenient(map, schema, collations, err);
    if (!mapped->plan)
        return error_wrap(err, "load it again with --resnapshot %s", table->name);
    if (table->id_count)
        row_plan_identify(mapped->plan, table->ids, table->id_count);
    if (log->origins)
        row_plan_as_sent(mapped->plan);
    mapped->version = table->version;
    return true;
}

/* --- rows --- */

/* Where in the file an event begins; of one in a payload, where that does. */
static uint64_t place_of_event(const MyLog *log, const BinlogEvent *event)
{
    return place_of(log->file,
                    log->offset - (log->payload ? log->payload_event.bytes : event->bytes));
}

static uint64_t place_in_transaction(const MyLog *log, const BinlogEvent *event)
{
    uint64_t begins = log->payload ? log->payload_offset : log->offset - event->bytes;
    return begins -
           (log->replay.state == REPLAY_ON ? log->replay.begins : place_offset(log->at.major));
}

static bool put_rows(MyLog *log, Mapped *mapped, const BinlogEvent *event, RowsEvent *rows,
                     Error *err)
{
    const uint64_t row_mask = (UINT64_C(1) << EVENT_ROW_BITS) - 1;
    uint32_t number = (uint32_t)mapped->table;
    MyTable *table = &log->options.tables[number];
    if (UNLIKELY(!mapped->plan || mapped->version != table->version) &&
        !make_plan(log, mapped, err))
        return false;
    mapped->plan->fills = log->origins || atomic_load_explicit(&table->fills, memory_order_relaxed);
    while (reader_left(&rows->rows)) {
        Batch *batch = batch_for(log, number);
        size_t before = batch->bytes;
        uint32_t first = batch->row_count;
        log->at.minor++;
        if (UNLIKELY(!(log->at.minor & row_mask)))
            return refuse("an event of too many rows", err);
        if (UNLIKELY(!rows_put_next(mapped->plan, rows, batch, log->at, err)))
            return false;
        if (log->origins)
            my_origins_rows(log->origins, batch, first, event, place_of_event(log, event),
                            (uint32_t)(log->at.minor & row_mask) - 1);
        log->has_rows = true;
        log->changes++;
        log->pending_bytes += batch->bytes - before;
        log->checkpoint_bytes += batch->bytes - before;
        if (batch_is_full(batch))
            flush(log, number);
    }
    if (UNLIKELY(log->pending_bytes > PENDING_BYTES_MAX))
        flush_all(log);
    if (UNLIKELY(log->checkpoint_bytes > log->options.transaction_bytes))
        checkpoint_at(log, log->at);
    return true;
}

static bool on_rows(MyLog *log, const BinlogEvent *event, Error *err)
{
    uint64_t id;
    RowsEvent rows;
    if (!log->in_transaction)
        return binlog_bad(event, "it stands outside a transaction", err);
    if (!table_map_id(event, &id))
        return binlog_bad(event, "it names no table", err);
    Mapped *mapped = find_map(log, id);
    if (!mapped && id != ROWS_TABLE_NONE)
        return binlog_bad(event, "no table map stands before it", err);
    if (!mapped || mapped->table < 0)
        return true;
    if (log->is_xa && log->replay.state != REPLAY_ON) {
        log->xa_ours = true;
        return true;
    }
    const MyTable *table = &log->options.tables[mapped->table];
    log->at.minor = place_in_transaction(log, event) << EVENT_ROW_BITS;
    if (row_position_compare(log->at, table->passed) < 0)
        return true;
    return rows_read(event, &log->format, &log->unpacked, &rows, err) &&
           put_rows(log, mapped, event, &rows, err);
}

/* --- statements --- */

static bool table_gone(const MyTable *table, const char *what, Error *err)
{
    return error_set(
        err, ERROR_CONFIG, "SourceTableReplaced",
        "table %s %s at the source. If it is not to be followed any more, start again, "
        "or exclude it; if it was made anew, load it again with --resnapshot %s",
        table->name, what, table->name);
}

/* A table that a tool has filled beside ours, with the same rows, and now puts in its place. */
static bool is_ghost(const char *ghost, const char *name)
{
    static const char *const ends[] = {"_gho", "_new", "_ghc"};
    size_t length = strlen(name);
    if (ghost[0] != '_' || strncmp(ghost + strspn(ghost, "_"), name, length) != 0)
        return false;
    for (size_t i = 0; i < ARRAY_LEN(ends); i++)
        if (strcmp(ghost + strspn(ghost, "_") + length, ends[i]) == 0)
            return true;
    return false;
}

/* What is called so once the statement is done; NULL: nothing. */
static const DdlTable *comes_as(const Ddl *ddl, const SourceTable *source)
{
    for (size_t i = 0; i < ddl->table_count; i++)
        if (ddl->tables[i].to_table && ddl->tables[i].to_schema &&
            strcmp(ddl->tables[i].to_table, source->table_name) == 0 &&
            strcmp(ddl->tables[i].to_schema, source->schema_name) == 0)
            return &ddl->tables[i];
    return NULL;
}

static bool on_renamed(MyLog *log, uint32_t number, const Ddl *ddl, const DdlTable *of, Error *err)
{
    const MyTable *table = &log->options.tables[number];
    const DdlTable *comes = comes_as(ddl, table->source);
    if (comes && is_ghost(comes->table, table->source->table_name))
        return learn(log, number, NULL, ddl, err);
    if (comes)
        return table_gone(table, "was replaced by another table", err);
    return error_set(err, ERROR_CONFIG, "TableRenamed",
                     "table %s is called %s.%s now; name it so in source.tables and in the "
                     "IngestionUnit's connectorRef",
                     table->name, of->to_schema, of->to_table);
}

static void on_truncate(MyLog *log, const BinlogEvent *event, uint32_t number)
{
    flush(log, number);
    Change *change = push(log, CHANGE_TRUNCATE);
    change->table = number;
    change->row = log->at;
    if (log->origins)
        my_origins_change(log->origins, event, place_of_event(log, event), change);
    log->changes++;
}

static bool on_ddl_table(MyLog *log, const BinlogEvent *event, const Ddl *ddl, const DdlTable *of,
                         uint32_t number, Error *err)
{
    const MyTable *table = &log->options.tables[number];
    switch (ddl->kind) {
    case DDL_TRUNCATE:
        on_truncate(log, event, number);
        return true;
    case DDL_DROP:
    case DDL_REPLACE:
    case DDL_DROP_DATABASE:
        return table_gone(table, "was dropped", err);
    case DDL_RENAME:
        return on_renamed(log, number, ddl, of, err);
    case DDL_ALTER:
        if (of->to_table)
            return on_renamed(log, number, ddl, of, err);
        if (ddl->moves_rows)
            return error_set(err, ERROR_CONFIG, "RowsMoved",
                             "table %s: a partition or a file of it came or went with its rows, "
                             "of which the binlog has none; load it again with --resnapshot %s",
                             table->name, table->name);
        return learn(log, number, NULL, ddl, err);
    case DDL_CREATE: /* of one that is there: IF NOT EXISTS */
    case DDL_INDEX:
    case DDL_OTHER:
        break;
    }
    return true;
}

/* Behind all rows that were written before it, and what became of the tables. */
static bool tell(MyLog *log, const BinlogEvent *event, const Ddl *ddl, Error *err)
{
    Statement *statement = NULL;
    if (!log->options.tell)
        return true;
    if (!log->options.tell(log->options.context, ddl, log->at, &statement, err))
        return false;
    if (!statement)
        return true;
    flush_all(log);
    Change *change = push(log, CHANGE_STATEMENT);
    change->row = log->at;
    change->statement = statement;
    my_origins_statement(log->origins, event, place_of_event(log, event), change);
    return true;
}

static bool on_ddl(MyLog *log, const BinlogEvent *event, const QueryEvent *query, Error *err)
{
    Ddl ddl;
    bool ok = true;
    ddl_read(query->text, query->text_bytes, query->schema, query->schema_bytes, &ddl);
    log->at.minor = 1;
    for (size_t i = 0; ok && i < ddl.table_count; i++)
        for (uint32_t k = 0; ok && k < log->options.table_count; k++) {
            const MyTable *table = &log->options.tables[k];
            const DdlTable *of = &ddl.tables[i];
            bool ours = of->schema && strcmp(of->schema, table->source->schema_name) == 0 &&
                        (ddl.kind == DDL_DROP_DATABASE ||
                         (of->table && strcmp(of->table, table->source->table_name) == 0));
            if (ours && row_position_compare(log->at, table->passed) > 0)
                ok = on_ddl_table(log, event, &ddl, of, k, err);
        }
    ok = ok && tell(log, event, &ddl, err);
    ddl_done(&ddl);
    return ok;
}

/* A statement that changes rows, where rows should stand. */
static bool on_statement(MyLog *log, const QueryEvent *query, Error *err)
{
    log->at.minor = 1;
    for (size_t i = 0; i < log->options.table_count; i++) {
        const MyTable *table = &log->options.tables[i];
        if (row_position_compare(log->at, table->passed) > 0 &&
            ddl_names(query->text, query->text_bytes, table->source->table_name))
            return error_set(err, ERROR_CONFIG, "BinlogFormat",
                             "table %s: somebody's session wrote a statement into the binlog, not "
                             "rows: binlog_format has to be ROW in every session; then load the "
                             "table again with --resnapshot %s",
                             table->name, table->name);
    }
    return true;
}

static void put_commit(MyLog *log)
{
    Change ended = {.kind = CHANGE_COMMIT, .row = log->at};
    if (log->options.commits && my_origins_end(log->origins, log->end, &ended))
        *push(log, CHANGE_COMMIT) = ended;
}

static void end_transaction(MyLog *log, uint32_t time)
{
    bool inside = log->in_transaction;
    if (inside && log->options.anchors)
        my_anchors_add(log->options.anchors, log->gtid.anonymous ? NULL : &log->gtid.gtid);
    log->in_transaction = log->is_xa = log->has_rows = log->begun = false;
    log->commit_us = (int64_t)time * 1000000;
    log->first_us = log->first_us ? log->first_us : log->commit_us;
    log->end = place_of(log->file, log->offset);
    if (log->origins && inside)
        put_commit(log);
}

static bool has_word(const QueryEvent *query, const char *word)
{
    return memmem(query->text, query->text_bytes, word, strlen(word)) != NULL;
}

static void want_prepared(MyLog *log, const char *xid, uint64_t place, uint32_t time)
{
    snprintf(log->replay.xid, sizeof log->replay.xid, "%s", xid);
    log->replay.state = REPLAY_WANTED;
    log->replay.place = place;
    log->replay.time = time;
}

/* XA START, END, COMMIT, ROLLBACK. What is prepared is an event of its own. */
static bool on_xa(MyLog *log, const BinlogEvent *event, const QueryEvent *query, Error *err)
{
    char xid[XID_TEXT_BYTES];
    uint64_t place;
    if (has_word(query, "START") || has_word(query, "BEGIN")) {
        log->is_xa = true;
        return true;
    }
    if (log->is_xa && has_word(query, "END"))
        return true;
    if (!xid_of_query(query->text, query->text_bytes, xid))
        return refuse("a statement of XA that names no transaction", err);
    bool known = prepared_take(&log->prepared, xid, &place);
    if (has_word(query, "COMMIT") && (!known || place))
        want_prepared(log, xid, known ? place : 0, event->time);
    else
        end_transaction(log, event->time);
    return true;
}

static bool on_xa_prepare(MyLog *log, const BinlogEvent *event, Error *err)
{
    char xid[XID_TEXT_BYTES];
    bool one_phase;
    if (!xid_of_event(event, xid, &one_phase, err))
        return false;
    if (log->replay.state == REPLAY_ON) {
        if (strcmp(xid, log->replay.xid) != 0)
            return binlog_bad(event, "it is of another transaction than was asked for", err);
        log->file = log->replay.file;
        log->offset = log->replay.offset;
        log->format = log->replay.format;
        log->replay.state = REPLAY_NONE;
        drop_maps(log);
        end_transaction(log, log->replay.time);
        return true;
    }
    if (one_phase && log->xa_ours) {
        want_prepared(log, xid, log->at.major, event->time);
        return true;
    }
    if (!one_phase && !prepared_put(&log->prepared, xid, log->xa_ours ? log->at.major : 0, err))
        return false;
    end_transaction(log, event->time);
    return true;
}

static bool on_query(MyLog *log, const BinlogEvent *event, Error *err)
{
    QueryEvent query;
    if (log->replay.state == REPLAY_ON) /* its XA START and END, its savepoints */
        return true;
    if (!query_read(event, &log->unpacked, &query, err))
        return false;
    switch (query_kind(query.text, query.text_bytes)) {
    case QUERY_BEGIN:
        log->begun = true;
        if (log->origins)
            my_origins_begun(log->origins, query.thread, place_of(log->file, log->offset));
        return true;
    case QUERY_SAVEPOINT:
        return true;
    case QUERY_COMMIT:
        end_transaction(log, event->time);
        return true;
    case QUERY_ROLLBACK:
    case QUERY_ROLLBACK_TO:
        if (log->has_rows)
            return refuse("rows of a captured table that were rolled back again: a transaction "
                          "wrote to a table of an engine without transactions, too",
                          err);
        if (query_kind(query.text, query.text_bytes) == QUERY_ROLLBACK)
            end_transaction(log, event->time);
        return true;
    case QUERY_XA:
        return on_xa(log, event, &query, err);
    case QUERY_CHANGE:
        return on_statement(log, &query, err);
    case QUERY_OTHER:
        if (!on_ddl(log, event, &query, err))
            return false;
        if (!log->begun) /* CREATE TABLE … SELECT: its rows follow */
            end_transaction(log, event->time);
        return true;
    }
    ASSERT(false);
}

/* --- the rest --- */

static bool on_gtid(MyLog *log, const BinlogEvent *event, Error *err)
{
    GtidEvent gtid;
    if (!gtid_read(event, &gtid, err))
        return false;
    if (log->in_transaction && log->has_rows)
        return binlog_bad(event, "it stands inside a transaction", err);
    if (log->offset < event->bytes)
        return binlog_bad(event, "it ends before it begins", err);
    if (log->in_transaction && log->options.anchors) /* one of which nothing says that it ends */
        my_anchors_add(log->options.anchors, log->gtid.anonymous ? NULL : &log->gtid.gtid);
    log->gtid = gtid;
    if (log->map_count > MAPS_KEPT) /* ids are given anew; each statement names its own */
        drop_maps(log);
    log->in_transaction = true;
    log->is_xa = gtid.prepared_xa;
    log->xa_ours = false;
    log->begun = gtid.gtid.mariadb && !gtid.standalone;
    log->has_rows = false;
    log->at = (RowPosition){.major = place_of(log->file, log->offset - event->bytes)};
    return !log->origins || my_origins_begin(log->origins, &gtid, err);
}

static bool on_rotate(MyLog *log, const BinlogEvent *event, Error *err)
{
    RotateEvent rotate;
    uint64_t file;
    size_t base;
    if (!rotate_read(event, &rotate, err) ||
        !place_parse_file(rotate.name, rotate.name_bytes, &file, &base, err))
        return false;
    file += log->options.file_shift;
    if (rotate.offset >> PLACE_OFFSET_BITS || file > PLACE_FILE_MAX)
        return binlog_bad(event, "its offset is impossible", err);
    if (log->placed && place_of(file, rotate.offset) < place_of(log->file, log->offset))
        return log_purged("it goes on before the place that was read: the binlogs were reset", err);
    log->file = file;
    log->offset = rotate.offset;
    log->placed = true;
    if (!log->in_transaction && place_of(log->file, log->offset) > log->end)
        log->end = place_of(log->file, log->offset);
    return !log->origins || my_origins_file(log->origins, rotate.name, rotate.name_bytes, err);
}

/* At a file's head: all that lies before it. The place at which the stream began may be of a time
 * when nobody kept that. */
static bool on_gtids_before(MyLog *log, const BinlogEvent *event, Error *err)
{
    MyAnchors *anchors = log->options.anchors;
    if (!anchors || log->in_transaction || my_anchors_known(anchors))
        return true;
    AUTO(gtid_set_done) GtidSet set;
    if (!gtids_before_read(event, &set, err))
        return false;
    my_anchors_begin(anchors, &set, log->end);
    return true;
}

static bool on_heartbeat(MyLog *log, const BinlogEvent *event, Error *err)
{
    HeartbeatEvent beat;
    uint64_t file;
    size_t base;
    if (!heartbeat_read(event, &beat, err) ||
        !place_parse_file(beat.name, beat.name_bytes, &file, &base, err))
        return false;
    file += log->options.file_shift;
    if (log->in_transaction || beat.offset >> PLACE_OFFSET_BITS || file > PLACE_FILE_MAX)
        return true;
    uint64_t place = place_of(file, beat.offset);
    if (place > log->end)
        log->end = place;
    return true;
}

static bool on_incident(const BinlogEvent *event, Error *err)
{
    IncidentEvent incident;
    if (!incident_read(event, &incident, err))
        return false;
    return error_set(err, ERROR_CONFIG, "LogIncident",
                     "the server says that its binlog lacks events (%.*s); load the tables again "
                     "with --resnapshot '*.*'",
                     (int)(incident.text_bytes < 200 ? incident.text_bytes : 200), incident.text);
}

static bool on_payload(MyLog *log, const BinlogEvent *event, Error *err)
{
    log->payload_event = *event;
    log->payload_offset = log->offset - event->bytes;
    log->payload = payload_open(&log->payload_event, &log->format, err);
    return log->payload != NULL;
}

static bool on_event(MyLog *log, const BinlogEvent *event, Error *err)
{
    if (LIKELY(rows_is_event(event->type)))
        return on_rows(log, event, err);
    switch (event->type) {
    case EVENT_TABLE_MAP:
        return on_table_map(log, event, err);
    case EVENT_QUERY:
    case EVENT_QUERY_COMPRESSED:
        return on_query(log, event, err);
    case EVENT_XID:
        end_transaction(log, event->time);
        return true;
    case EVENT_XA_PREPARE:
        return on_xa_prepare(log, event, err);
    case EVENT_GTID:
    case EVENT_ANONYMOUS_GTID:
    case EVENT_GTID_TAGGED:
    case EVENT_MARIADB_GTID:
        return on_gtid(log, event, err);
    case EVENT_PAYLOAD:
        return on_payload(log, event, err);
    case EVENT_PREVIOUS_GTIDS:
    case EVENT_GTID_LIST:
        return on_gtids_before(log, event, err);
    case EVENT_INCIDENT:
        return on_incident(event, err);
    case EVENT_STOP:
    case EVENT_FORMAT:
    case EVENT_INTVAR:
    case EVENT_RAND:
    case EVENT_USER_VAR:
    case EVENT_BEGIN_LOAD:
    case EVENT_IGNORABLE:
    case EVENT_ROWS_QUERY:
    case EVENT_TRANSACTION_CONTEXT:
    case EVENT_VIEW_CHANGE:
    case EVENT_ANNOTATE_ROWS:
    case EVENT_BINLOG_CHECKPOINT:
    case EVENT_START_ENCRYPTION:
        return true;
    default:
        break;
    }
    if (event->flags & BINLOG_FLAG_IGNORABLE)
        return true;
    return error_set(err, ERROR_CONFIG, "UnsupportedEvent",
                     "the binlog has an event of type %u (%s), which this version does not know",
                     event->type, binlog_type_name(event->type));
}

static bool begins_transaction(uint8_t type)
{
    return type == EVENT_GTID || type == EVENT_ANONYMOUS_GTID || type == EVENT_GTID_TAGGED ||
           type == EVENT_MARIADB_GTID;
}

/* What stands in the file moves our place on. */
static void move_on(MyLog *log, const BinlogEvent *event)
{
    if (event->flags & BINLOG_FLAG_ARTIFICIAL || event->end == 0)
        return;
    log->offset = place_offset_after(log->offset, event->end);
    if (!log->in_transaction && log->placed && place_of(log->file, log->offset) > log->end)
        log->end = place_of(log->file, log->offset);
}

bool mylog_wants(const MyLog *log, const char **ret_xid, uint64_t *ret_place, uint64_t *ret_before)
{
    if (log->replay.state != REPLAY_WANTED || log->payload)
        return false;
    *ret_xid = log->replay.xid;
    *ret_place = log->replay.place;
    *ret_before = log->at.major;
    return true;
}

void mylog_replay(MyLog *log)
{
    ASSERT(log->replay.state == REPLAY_WANTED && !log->payload);
    log->replay.state = REPLAY_ON;
    log->replay.file = log->file;
    log->replay.offset = log->offset;
    log->replay.format = log->format;
    drop_maps(log); /* ids may be of another time */
}

bool mylog_replaying(const MyLog *log)
{
    return log->replay.state == REPLAY_ON;
}

static bool replay_rotate(MyLog *log, const BinlogEvent *event, Error *err)
{
    RotateEvent rotate;
    size_t base;
    if (!rotate_read(event, &rotate, err) ||
        !place_parse_file(rotate.name, rotate.name_bytes, &log->file, &base, err))
        return false;
    log->file += log->options.file_shift;
    log->offset = rotate.offset;
    return (log->file <= PLACE_FILE_MAX && !(rotate.offset >> PLACE_OFFSET_BITS)) ||
           binlog_bad(event, "its offset is impossible", err);
}

/* Of what was prepared only rows count: it has begun and ends in another place. */
static bool replay_event(MyLog *log, const BinlogEvent *event, Error *err)
{
    if (event->type == EVENT_ROTATE)
        return replay_rotate(log, event, err);
    if (!(event->flags & BINLOG_FLAG_ARTIFICIAL) && event->end)
        log->offset = place_offset_after(log->offset, event->end);
    if (begins_transaction(event->type)) {
        if (log->offset < event->bytes)
            return binlog_bad(event, "it ends before it begins", err);
        log->replay.begins = log->offset - event->bytes;
        return true;
    }
    if (rows_is_event(event->type) || event->type == EVENT_TABLE_MAP ||
        event->type == EVENT_PAYLOAD || event->type == EVENT_XA_PREPARE)
        return on_event(log, event, err);
    return true;
}

bool mylog_event(MyLog *log, const uint8_t *data, size_t bytes, Error *err)
{
    BinlogEvent event;
    ASSERT(!log->payload);
    if (!binlog_event(&log->format, data, bytes, &event, err))
        return false;
    if (log->replay.state == REPLAY_ON)
        return replay_event(log, &event, err);
    if (log->replay.state == REPLAY_WANTED)
        return binlog_bad(&event, "it comes before what was prepared was read", err);
    if (event.type == EVENT_ROTATE)
        return on_rotate(log, &event, err);
    if (event.type == EVENT_HEARTBEAT || event.type == EVENT_HEARTBEAT_V2)
        return on_heartbeat(log, &event, err);
    if (!log->placed && event.type != EVENT_FORMAT)
        return binlog_bad(&event, "nothing says yet in which file it stands", err);
    /* A GTID begins a transaction, so what came before it is over; its own place is not. */
    bool inside = log->in_transaction;
    log->in_transaction = log->in_transaction || begins_transaction(event.type);
    move_on(log, &event);
    log->in_transaction = inside;
    return on_event(log, &event, err);
}

bool mylog_unpack(MyLog *log, Error *err)
{
    BinlogEvent event;
    bool ends;
    if (!payload_next(log->payload, &event, &ends, err))
        return false;
    if (ends) {
        payload_free(TAKE(log->payload));
        if (log->in_transaction && log->replay.state != REPLAY_WANTED)
            return binlog_bad(&log->payload_event, "its transaction does not end", err);
        return true;
    }
    log->payload_offset += event.bytes;
    return on_event(log, &event, err);
}
