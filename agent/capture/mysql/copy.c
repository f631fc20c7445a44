/* The copy: a SELECT for each range, each reader on a connection of its own in the snapshot, rows
 * as the text protocol has them.
 *
 *   answer   packed count of columns; a definition for each; EOF; rows; EOF
 *   row      for each column 251 (null), or packed bytes and the text
 *
 * A transaction holds what it has read of a table's definition until it ends, so who alters the
 * table would wait for the whole copy: a savepoint before each range, and going back to it after,
 * lets go of that (MariaDB does not, while a binlog is on). Under it the columns are looked at:
 * they are the range's.
 * https://dev.mysql.com/doc/dev/mysql-server/latest/page_protocol_com_query_response_text_resultset.html
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "agent/capture/mysql/copy.h"
#include "agent/capture/mysql/packet.h"
#include "common/crash.h"
#include "common/mem.h"

#define ROWS_PER_BATCH 8192
#define WAIT_MS 64
#define ANSWER_TIMEOUT_MS 86400000 /* a range that has to be sorted out by the server first */
#define NULL_VALUE 251

CopyReader *my_copy_reader_open(Capture *capture, Error *err)
{
    Mysql *mysql = mysql_of(capture);
    MyReader *reader = mem_zalloc(sizeof *reader);
    reader->base.driver = mysql->base.driver;
    reader->mysql = mysql;
    reader->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    session_readers(mysql, 1);
    if (reader->wake_fd >= 0)
        return &reader->base;
    error_errno(err, ERROR_FATAL, "NoDescriptor", errno, "eventfd");
    my_copy_reader_free(&reader->base);
    return NULL;
}

static void drop_decoders(MyReader *reader)
{
    for (uint32_t i = 0; i < reader->decoder_count; i++)
        my_decoder_done(&reader->decoders[i]);
    free(TAKE(reader->decoders));
    reader->decoder_count = 0;
}

void my_copy_reader_free(CopyReader *base)
{
    MyReader *reader = (MyReader *)base;
    batch_free(reader->batch);
    drop_decoders(reader);
    bytes_done(&reader->scratch);
    if (reader->session && reader->stream)
        session_free(reader->session);
    else if (reader->session)
        session_put(reader->mysql, reader->session);
    free(reader->said_gtids);
    session_readers(reader->mysql, -1);
    session_trim(reader->mysql);
    if (reader->wake_fd >= 0)
        close(reader->wake_fd);
    free(reader);
}

void my_copy_cancel(CopyReader *base)
{
    MyReader *reader = (MyReader *)base;
    uint64_t one = 1;
    atomic_store(&reader->cancelled, true);
    ssize_t wrote = write(reader->wake_fd, &one, sizeof one);
    (void)wrote; /* full means it is awake already */
    session_wake(reader->mysql);
    if (reader->stream)
        my_marks_wake(&reader->stream->marks);
}

/* --- asking --- */

/* One packet of an answer, however long it takes. */
static bool take_packet(MyReader *reader, Reader *ret, Error *err)
{
    if (!my_packet_take(&reader->session->wire, ANSWER_TIMEOUT_MS, ret, err))
        return false;
    return !my_packet_is_error(ret) || my_packet_error(*ret, err);
}

/* Commands of the copy go by the wire, too: the library's own reading wants a socket that blocks.
 */
bool my_reader_command(MyReader *reader, const char *sql, Error *err)
{
    Reader packet;
    return my_packet_command(reader->session->connection, COM_QUERY, sql, strlen(sql), err) &&
           take_packet(reader, &packet, err);
}

bool my_reader_ask(MyReader *reader, const char *sql, size_t *ret_columns, Error *err)
{
    Reader packet;
    uint64_t columns;
    if (!my_packet_command(reader->session->connection, COM_QUERY, sql, strlen(sql), err) ||
        !take_packet(reader, &packet, err))
        return false;
    if (!reader_packed(&packet, &columns) || !columns)
        return error_set(err, ERROR_RETRY, "BadMessage", "the server answered without rows");
    *ret_columns = columns;
    for (uint64_t i = 0; i <= columns; i++) /* their definitions, and EOF */
        if (!take_packet(reader, &packet, err))
            return false;
    return my_packet_is_eof(&packet) ||
           error_set(err, ERROR_RETRY, "BadMessage", "the server's answer has no end of columns");
}

static bool is_last(const Reader *packet)
{
    return reader_left(packet) && packet->at[0] == 0xfe && reader_left(packet) < 0xffffff;
}

bool my_reader_row(MyReader *reader, Reader *ret, bool *ret_end, Error *err)
{
    if (!take_packet(reader, ret, err))
        return false;
    *ret_end = is_last(ret);
    return true;
}

static char *select_sql(const MyTable *table, const MyDecoder *decoders, const char *where)
{
    Bytes text = {0};
    const TableMap *map = table->known->map;
    bytes_put(&text, "SELECT ", 7);
    for (uint32_t i = 0; i < map->column_count; i++) {
        AUTO(mem_free) char *name = my_identifier(map->columns[i].name);
        bool widens = decoders[i].form == FORM_MY_FLOAT;
        AUTO(mem_free)
        char *column = mem_format("%s%s%s", i ? ", " : "", name, widens ? " + 0e0" : "");
        bytes_put(&text, column, strlen(column));
    }
    AUTO(mem_free) char *rest = mem_format(" FROM %s%s", table->quoted, where);
    bytes_put(&text, rest, strlen(rest) + 1);
    return (char *)text.data;
}

/* --- beginning and end of a range --- */

static bool make_decoders(MyReader *reader, const MyTable *table, Error *err)
{
    const TableMap *map = table->known->map;
    const Schema *schema = table->source->schema;
    drop_decoders(reader);
    reader->decoders = mem_array(map->column_count, sizeof *reader->decoders);
    for (uint32_t i = 0; i < map->column_count; i++) {
        Type type = {0};
        const char *why;
        bool ok = my_decoder_choose(&map->columns[i], &reader->mysql->charsets,
                                    &schema->fields[i].type, &reader->decoders[i], &type, &why);
        reader->decoder_count = i + 1;
        if (type.kind == TYPE_LIST)
            type_done(&type);
        if (!ok)
            return error_set(err, ERROR_CONFIG, "UnsupportedType", "table %s column %s: %s",
                             table->name, map->columns[i].name, why);
        reader->decoders[i].stands_in = reader->mysql->options.origins;
    }
    for (size_t i = 0; i < schema->key_count; i++) /* as row_plan_as_sent */
        reader->decoders[schema->key[i]].stands_in = false;
    return true;
}

/* MySQL shows a snapshot the catalog of then, so that alone does not tell whether the columns that
 * a SELECT reads now are those. */
static bool check_definition(MyReader *reader, const MyTable *table, Error *err)
{
    size_t columns, bytes[2] = {0};
    const uint8_t *at[2] = {NULL};
    Reader packet;
    if (reader->mysql->mariadb || reader->stream) /* beside, the snapshot is of after the lock */
        return true;
    AUTO(mem_free) char *sql = mem_format("SHOW CREATE TABLE %s", table->quoted);
    if (!my_reader_ask(reader, sql, &columns, err) || !take_packet(reader, &packet, err))
        return false;
    for (size_t i = 0; i < 2; i++)
        if (!reader_packed_bytes(&packet, &at[i], &bytes[i]))
            return error_set(err, ERROR_RETRY, "BadMessage", "a table's definition is cut short");
    size_t used = created_bytes((const char *)at[1], bytes[1]);
    bool same = table->created && strlen(table->created) == used &&
                memcmp(table->created, at[1], used) == 0;
    do
        if (!take_packet(reader, &packet, err))
            return false;
    while (!is_last(&packet));
    return same || my_table_changed(table, err);
}

/* The table stays as it is from here to the end of the range; is it as it was when its columns were
 * read? */
bool my_reader_hold(MyReader *reader, const MyTable *table, Error *err)
{
    size_t columns;
    Reader packet;
    AUTO(mem_free) char *touch = mem_format("SELECT 1 FROM %s LIMIT 0", table->quoted);
    AUTO(mem_free) char *schema = my_literal(table->source->schema_name);
    AUTO(mem_free) char *name = my_literal(table->source->table_name);
    AUTO(mem_free)
    char *look = mem_format("SELECT column_name, column_type FROM information_schema.columns WHERE "
                            "table_schema = %s AND table_name = %s ORDER BY ordinal_position",
                            schema, name);
    if (!my_reader_command(reader, "SAVEPOINT range_", err) ||
        !my_reader_ask(reader, touch, &columns, err))
        return false;
    do
        if (!take_packet(reader, &packet, err))
            return false;
    while (!is_last(&packet));
    if (!my_reader_ask(reader, look, &columns, err))
        return false;
    bool same = true;
    const MyKnown *known = table->known;
    for (uint32_t i = 0;; i++) {
        const uint8_t *at[2];
        size_t bytes[2];
        if (!take_packet(reader, &packet, err))
            return false;
        if (is_last(&packet)) {
            same = same && i == known->map->column_count;
            break;
        }
        for (size_t k = 0; k < 2; k++)
            if (!reader_packed_bytes(&packet, &at[k], &bytes[k]))
                return error_set(err, ERROR_RETRY, "BadMessage",
                                 "a row of the catalog is cut short");
        same = same && i < known->map->column_count &&
               strlen(known->map->columns[i].name) == bytes[0] &&
               memcmp(known->map->columns[i].name, at[0], bytes[0]) == 0 &&
               strlen(known->types[i]) == bytes[1] && memcmp(known->types[i], at[1], bytes[1]) == 0;
    }
    return same ? check_definition(reader, table, err) : my_table_changed(table, err);
}

bool my_reader_start(MyReader *reader, uint32_t number, const char *where, Error *err)
{
    MyTable *table = &reader->mysql->tables[number];
    size_t columns;
    if (!make_decoders(reader, table, err))
        return false;
    AUTO(mem_free) char *sql = select_sql(table, reader->decoders, where);
    if (!my_reader_ask(reader, sql, &columns, err))
        return strstr(err->message, "Unknown column") ? my_table_changed(table, err) : false;
    if (columns != table->source->schema->field_count)
        return error_set(err, ERROR_RETRY, "BadMessage", "%zu columns came", columns);
    reader->table = table;
    reader->number = number;
    reader->ended = reader->any_batch = false;
    return true;
}

bool my_copy_begin(CopyReader *base, const CopyRange *range, Error *err)
{
    MyReader *reader = (MyReader *)base;
    const MyTable *table = &reader->mysql->tables[range->table];
    ASSERT(!reader->table);
    MySession *session = reader->session = session_get(reader->mysql, &reader->cancelled);
    if (!session)
        return error_set(err, ERROR_RETRY, "Cancelled", "copying table %s was cancelled",
                         table->name);
    if (!session->wire.data)
        my_packet_init(&session->wire, session->connection, reader->wake_fd);
    session->wire.wake_fd = reader->wake_fd;
    AUTO(mem_free) char *where = my_copy_where(table, &range->extent);
    return (my_reader_hold(reader, table, err) &&
            my_reader_start(reader, range->table, where, err)) ||
           error_wrap(err, "copying table %s", table->name);
}

static bool end_range(MyReader *reader, Error *err)
{
    reader->table = NULL;
    if (reader->stream)
        return my_reader_command(reader, "COMMIT", err);
    if (!my_reader_command(reader, "ROLLBACK TO SAVEPOINT range_", err))
        return false;
    session_put(reader->mysql, TAKE(reader->session));
    return true;
}

/* --- rows --- */

static bool bad_value(const MyReader *reader, uint32_t field, const char *why, const Reader *row,
                      Error *err)
{
    const Schema *schema = reader->table->source->schema;
    Reader in = *row;
    char key[160] = "";
    size_t used = 0;
    for (uint32_t i = 0; i < schema->field_count; i++) {
        const uint8_t *at = (const uint8_t *)"";
        size_t bytes = 0;
        bool is_key = false;
        for (size_t k = 0; k < schema->key_count; k++)
            is_key = is_key || schema->key[k] == i;
        if (reader_left(&in) && *in.at == NULL_VALUE)
            in.at++;
        else if (!reader_packed_bytes(&in, &at, &bytes))
            break;
        if (is_key && used < sizeof key - 1)
            used += (size_t)snprintf(key + used, sizeof key - used, "%s%s = %.*s", used ? ", " : "",
                                     schema->fields[i].name, bytes < 60 ? (int)bytes : 60,
                                     (const char *)at);
    }
    return error_set(
        err, ERROR_DATA, "BadValue",
        "table %s column %s: the value %s; row %s; change the value at the source, give the column "
        "the type string (columns in the LakeTable's spec), or exclude the table "
        "(spec.source.tables.exclude)",
        reader->table->name, schema->fields[field].name, why, *key ? key : "without a key");
}

static bool cut_short(const MyReader *reader, Error *err)
{
    return error_set(err, ERROR_RETRY, "BadMessage", "copying table %s: a row is cut short",
                     reader->table->name);
}

/* All its rows come of the snapshot. */
static void batch_begin(MyReader *reader)
{
    const Mysql *mysql = reader->mysql;
    Batch *batch = reader->batch =
        batch_new(reader->table->source->schema, reader->number, ROWS_PER_BATCH);
    if (!mysql->options.origins)
        return;
    origins_keep(batch);
    const TransactionOrigin snapshot = {.commit_us = mysql->copy_us, .file = mysql->copy_file};
    uint32_t transaction = origins_transaction(batch, &snapshot);
    for (uint32_t i = 0; i < batch->row_max; i++)
        batch->origins->rows[i] = (RowOrigin){
            .lsn = mysql->copy_at.major, .transaction = transaction, .before = ORIGIN_NO_BEFORE};
}

static bool put_row(MyReader *reader, Reader row, Error *err)
{
    if (UNLIKELY(!reader->batch))
        batch_begin(reader);
    Batch *batch = reader->batch;
    Reader in = row;
    batch_row_begin(batch, ROW_READ, reader->mysql->copy_at);
    for (uint32_t i = 0; i < batch->column_count; i++) {
        const uint8_t *at;
        size_t bytes;
        Column *column = &batch->columns[i];
        if (reader_left(&in) && *in.at == NULL_VALUE) {
            in.at++;
            if (UNLIKELY(column->field->required)) {
                batch_row_undo(batch);
                return my_table_changed(reader->table, err); /* NOT NULL was dropped */
            }
            column_put_null(batch, column);
            continue;
        }
        if (UNLIKELY(!reader_packed_bytes(&in, &at, &bytes))) {
            batch_row_undo(batch);
            return cut_short(reader, err);
        }
        const char *why =
            text_decode(&reader->decoders[i], batch, column, at, bytes, &reader->scratch);
        if (UNLIKELY(why != NULL)) {
            batch_row_undo(batch);
            return bad_value(reader, i, why, &row, err);
        }
    }
    if (UNLIKELY(reader_left(&in))) {
        batch_row_undo(batch);
        return cut_short(reader, err);
    }
    return true;
}

static void hand_out(MyReader *reader, Batch **ret, bool last)
{
    *ret = TAKE(reader->batch);
    if (*ret && !reader->any_batch)
        CRASH_POINT("mysql-copy-first-batch");
    if (*ret && last)
        CRASH_POINT("mysql-copy-last-batch");
    reader->any_batch = true;
}

static bool read_more(MyReader *reader, Error *err)
{
    size_t bytes;
    WireResult result = wire_read(&reader->session->wire, &bytes, err);
    if (result == WIRE_EMPTY) {
        wire_gather(&reader->session->wire, WIRE_GATHER_BYTES, 1);
        result = wire_wait(&reader->session->wire, WAIT_MS, err);
    }
    if (result == WIRE_WOKEN)
        return error_set(err, ERROR_RETRY, "Cancelled", "copying table %s was cancelled",
                         reader->table->name);
    return result != WIRE_FAILED;
}

bool my_copy_next(CopyReader *base, Batch **ret, Error *err)
{
    MyReader *reader = (MyReader *)base;
    *ret = NULL;
    if (!reader->table)
        return true;
    for (;;) {
        Reader packet;
        WireResult result = my_packet_next(&reader->session->wire, &packet, err);
        if (result == WIRE_FAILED)
            return error_wrap(err, "copying table %s", reader->table->name);
        if (result == WIRE_EMPTY) {
            if (!read_more(reader, err))
                return false;
            continue;
        }
        if (UNLIKELY(my_packet_is_error(&packet))) {
            (void)my_packet_error(packet, err);
            return error_wrap(err, "copying table %s", reader->table->name);
        }
        if (UNLIKELY(is_last(&packet))) {
            hand_out(reader, ret, true);
            return end_range(reader, err);
        }
        if (!put_row(reader, packet, err))
            return false;
        wire_rest(&reader->session->wire);
        if (batch_is_full(reader->batch)) {
            hand_out(reader, ret, false);
            return true;
        }
    }
}
