/* Changes that are ready, tables as the log maps them, and their rows. */
#include <string.h>

#include "agent/capture/mysql/log_private.h"
#include "common/crash.h"
#include "common/mem.h"

void mylog_drop_maps(MyLog *log)
{
    for (size_t i = 0; i < log->map_slots; i++) {
        table_map_free(log->maps[i].map);
        row_plan_free(log->maps[i].plan);
        log->maps[i] = (Mapped){0};
    }
    log->map_count = 0;
}

/* --- what is ready --- */

static void checkpoint_at(MyLog *log, RowPosition at)
{
    builders_checkpoint(&log->builders, at, log->commit_us);
    if (log->options.anchors)
        my_anchors_mark(log->options.anchors, at.major);
    log->checkpoint = at.major;
    log->spoke = false;
    log->oldest_us = log->first_us;
    log->first_us = 0;
}

bool mylog_can_checkpoint(const MyLog *log)
{
    return !log->in_transaction && !log->payload && (log->end > log->checkpoint || log->spoke);
}

bool mylog_rests(const MyLog *log, uint64_t *ret)
{
    *ret = log->end;
    return !log->in_transaction && !log->payload && log->replay.state == REPLAY_NONE;
}

void mylog_say(MyLog *log, const char *text)
{
    builders_flush_all(&log->builders);
    log->said = log->said_at == log->end ? (log->said + 1) % MESSAGES_MAX : 0;
    log->said_at = log->end;
    log->spoke = true;
    LogMessage *message = mem_zalloc(sizeof *message);
    *message = (LogMessage){.prefix = mem_strdup(CAPTURE_BESIDE_PREFIX),
                            .content = (uint8_t *)mem_strdup(text),
                            .bytes = strlen(text)};
    Change *change = builders_push(&log->builders, CHANGE_MESSAGE);
    change->message = message;
    change->row = (RowPosition){log->end, (uint64_t)log->said << MESSAGE_ROWS_BITS};
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

bool mylog_refuse(const char *what, Error *err)
{
    return error_set(err, ERROR_CONFIG, "UnsupportedEvent", "the binlog has %s", what);
}

/* --- tables --- */

static void schema_changed(MyLog *log, uint32_t table, bool alone)
{
    const SourceTable *source = log->options.tables[table].source;
    builders_schema(&log->builders, table, source, log->at)->alone = alone;
}

bool mylog_learn(MyLog *log, uint32_t table, const TableMap *map, const Ddl *ddl, Error *err)
{
    bool changed = false;
    builders_flush(&log->builders, table);
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

bool mylog_on_table_map(MyLog *log, const BinlogEvent *event, Error *err)
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
    if (!fits && !mylog_learn(log, number, mapped->map, NULL, err))
        return false;
    builders_flush(&log->builders, number);
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
uint64_t mylog_place_of_event(const MyLog *log, const BinlogEvent *event)
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
        Batch *batch = builders_batch(&log->builders, number, table->source->schema);
        size_t before = batch->bytes;
        uint32_t first = batch->row_count;
        log->at.minor++;
        if (UNLIKELY(!(log->at.minor & row_mask)))
            return mylog_refuse("an event of too many rows", err);
        if (UNLIKELY(!rows_put_next(mapped->plan, rows, batch, log->at, err)))
            return false;
        if (log->origins)
            my_origins_rows(log->origins, batch, first, event, mylog_place_of_event(log, event),
                            (uint32_t)(log->at.minor & row_mask) - 1);
        log->has_rows = true;
        log->changes++;
        builders_filled(&log->builders, number, batch, before);
    }
    if (UNLIKELY(log->builders.checkpoint_bytes > log->options.transaction_bytes))
        checkpoint_at(log, log->at);
    return true;
}

bool mylog_on_rows(MyLog *log, const BinlogEvent *event, Error *err)
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
    if (!rows_read(event, &log->format, &log->unpacked, &rows, err))
        return error_wrap(err, "table %s", table->name);
    return put_rows(log, mapped, event, &rows, err);
}
