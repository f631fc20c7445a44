/* Chunks of a table by its key, each read in a snapshot of its own, beside the stream of another
 * capture. Nothing is locked, but a table's definition while a chunk of it is read.
 *
 * What the stream has handed out when it says a word, the snapshot that is taken behind it has to
 * show, and a transaction stands in the log before others see it. MariaDB says which place of the
 * log a snapshot stands for. MySQL counts a transaction among gtid_executed once it is committed in
 * the engine: a snapshot that is taken when that has all that the stream has read shows it.
 *
 * A key is a JSON array of texts: numbers (and what the server orders by one: BIT, ENUM, SET) as
 * digits, bytes in hexadecimal, the rest as the server shows it. */
#include <jansson.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "agent/capture/mysql/copy.h"
#include "agent/capture/mysql/gtid.h"
#include "common/clock.h"
#include "common/json/text.h"
#include "common/mem.h"

#define TRIES 2000 /* until the server shows what the stream has read */
#define PAUSE_US 5000

static void put_text(Bytes *to, const char *text)
{
    bytes_put(to, text, strlen(text));
}

/* --- keys --- */

typedef enum KeyForm { KEY_NUMBER, KEY_BYTES, KEY_TEXT, KEY_NONE } KeyForm;

static KeyForm key_form(const MyColumn *column)
{
    switch (column->type) {
    case MY_TINY:
    case MY_SHORT:
    case MY_INT24:
    case MY_LONG:
    case MY_LONGLONG:
    case MY_NEWDECIMAL:
    case MY_YEAR:
    case MY_BIT:
    case MY_ENUM:
    case MY_SET:
        return KEY_NUMBER;
    case MY_FLOAT: /* what it shows of them is not what it compares */
    case MY_DOUBLE:
        return KEY_NONE;
    case MY_VARCHAR:
    case MY_VAR_STRING:
    case MY_STRING:
    case MY_BLOB:
        return column->collation == COLLATION_BINARY && !column->special ? KEY_BYTES : KEY_TEXT;
    default:
        return KEY_TEXT;
    }
}

static const MyColumn *key_column(const MyTable *table, size_t i)
{
    return &table->known->map->columns[table->source->schema->key[i]];
}

static bool check_key(const MyTable *table, Error *err)
{
    for (size_t i = 0; i < table->source->schema->key_count; i++)
        if (key_form(key_column(table, i)) == KEY_NONE)
            return error_set(err, ERROR_CONFIG, "UnsupportedKey",
                             "table %s: column %s of its key is a FLOAT or DOUBLE, by which it "
                             "can't be read in chunks; load it with --resnapshot %s",
                             table->name, key_column(table, i)->name, table->name);
    return true;
}

/* "`a` + 0, hex(`b`), `c`" */
static void put_shown(const MyTable *table, Bytes *to)
{
    for (size_t i = 0; i < table->source->schema->key_count; i++) {
        KeyForm form = key_form(key_column(table, i));
        AUTO(mem_free) char *name = my_identifier(key_column(table, i)->name);
        put_text(to, i ? ", " : "");
        put_text(to, form == KEY_BYTES ? "hex(" : "");
        put_text(to, name);
        put_text(to, form == KEY_BYTES ? ")" : form == KEY_NUMBER ? " + 0" : "");
    }
}

/* What is kept comes back from where others may write. NULL: it is no such value. */
static char *literal_of(KeyForm form, const char *text)
{
    if (form == KEY_TEXT)
        return my_literal(text);
    const char *allowed = form == KEY_BYTES ? "0123456789ABCDEF" : "-.0123456789";
    if (strspn(text, allowed) != strlen(text) || (form == KEY_NUMBER && !*text))
        return NULL;
    return form == KEY_BYTES ? mem_format("x'%s'", text) : mem_strdup(text);
}

typedef struct KeyLiterals {
    char **names, **values;
    size_t count;
} KeyLiterals;

static void literals_done(KeyLiterals *key)
{
    for (size_t i = 0; i < key->count; i++) {
        free(key->names[i]);
        free(key->values[i]);
    }
    free(key->names);
    free(key->values);
}

static bool read_key(const MyTable *table, const char *text, KeyLiterals *ret, Error *err)
{
    size_t count = table->source->schema->key_count;
    json_t *values = json_loads(text, 0, NULL);
    bool ok = json_is_array(values) && json_array_size(values) == count;
    *ret = (KeyLiterals){mem_array(count, sizeof(char *)), mem_array(count, sizeof(char *)), 0};
    for (size_t i = 0; ok && i < count; i++) {
        const char *value = json_string_value(json_array_get(values, i));
        ret->names[i] = my_identifier(key_column(table, i)->name);
        ret->values[i] = value ? literal_of(key_form(key_column(table, i)), value) : NULL;
        ret->count++;
        ok = ret->values[i] != NULL;
    }
    json_decref(values);
    return ok ||
           error_set(err, ERROR_RETRY, "ColumnsChanged",
                     "table %s: its key is not the one that its copy has come to", table->name);
}

/* a >= 1 AND (a > 1 OR b > 2): for (a, b) > (1, 2) the server reads no range. The last is compared
 * with `last`, those before with `strict`. */
static void put_behind(const KeyLiterals *key, char strict, const char *last, Bytes *to)
{
    for (size_t i = 0; i < key->count; i++) {
        bool is_last = i + 1 == key->count;
        const char sign[] = {strict, '\0'};
        AUTO(mem_free)
        char *text = is_last ? mem_format("%s %s %s", key->names[i], last, key->values[i])
                             : mem_format("%s %s= %s AND (%s %s %s OR ", key->names[i], sign,
                                          key->values[i], key->names[i], sign, key->values[i]);
        put_text(to, text);
    }
    for (size_t i = 1; i < key->count; i++)
        put_text(to, ")");
}

static bool put_limit(const MyTable *table, const char *text, char strict, const char *last,
                      Bytes *to, Error *err)
{
    KeyLiterals key;
    bool ok = read_key(table, text, &key, err);
    if (ok)
        put_behind(&key, strict, last, to);
    literals_done(&key);
    return ok;
}

/* "" or " WHERE …"; NULL: *err is filled. */
static char *where_of(const MyTable *table, const char *after, const char *until, Error *err)
{
    Bytes text = {0};
    put_text(&text, after || until ? " WHERE " : "");
    bool ok = !after || put_limit(table, after, '>', ">", &text, err);
    put_text(&text, after && until ? " AND " : "");
    ok = ok && (!until || put_limit(table, until, '<', "<=", &text, err));
    bytes_put_u8(&text, 0);
    if (ok)
        return (char *)text.data;
    bytes_done(&text);
    return NULL;
}

/* --- the reader --- */

CopyReader *my_beside_open(Capture *capture, Capture *stream, Error *err)
{
    Mysql *mysql = mysql_of(capture);
    if (!mysql->mariadb && !mysql->gtids) {
        error_set(err, ERROR_CONFIG, "UnsupportedSource",
                  "a copy beside the stream needs gtid_mode = ON at the server, to know what a "
                  "snapshot shows: set it, or load tables again with --resnapshot");
        return NULL;
    }
    AUTO(my_close) MYSQL *connection = mysql_connect(mysql, err);
    if (!connection || !my_command(connection, &mysql->patience,
                                   "SET SESSION TRANSACTION ISOLATION LEVEL REPEATABLE READ", err))
        return NULL;
    CopyReader *base = my_copy_reader_open(capture, err);
    MyReader *reader = (MyReader *)base;
    if (!base)
        return NULL;
    reader->stream = mysql_of(stream);
    reader->session = mem_zalloc(sizeof *reader->session);
    reader->session->connection = TAKE(connection);
    my_packet_init(&reader->session->wire, reader->session->connection, reader->wake_fd);
    return base;
}

/* Of the log's files the stream may know another number (place.h). */
static uint64_t place_in_stream(const MyReader *reader, uint64_t place)
{
    return place_of(place_file(place) + reader->stream->file_shift, place_offset(place));
}

bool my_beside_say(CopyReader *base, const char *text, Error *err)
{
    MyReader *reader = (MyReader *)base;
    Mysql *mysql = reader->mysql;
    uint64_t end;
    if (strcmp(mysql->server, reader->stream->server) != 0)
        return error_set(err, ERROR_RETRY, "ServerChanged", "%s answers now, where %s did",
                         mysql->server, reader->stream->server);
    if (!mysql_query_open(mysql, err) || !check_log_end(mysql, mysql->query, &end, err))
        return false;
    free(TAKE(reader->said_gtids));
    return my_marks_say(&reader->stream->marks, text, place_in_stream(reader, end),
                        &reader->cancelled, &reader->said_at, &reader->said_gtids, err);
}

static bool take_key(size_t count, Reader *row, char **ret, Error *err)
{
    json_t *key = json_array();
    bool ok = true;
    for (size_t i = 0; ok && i < count; i++) {
        const uint8_t *at;
        size_t bytes;
        ok = reader_packed_bytes(row, &at, &bytes);
        json_t *value = ok ? json_stringn((const char *)at, bytes) : NULL;
        ok = value && json_array_append_new(key, value) == 0;
    }
    *ret = ok ? json_text(key, JSON_COMPACT) : NULL;
    json_decref(key);
    return *ret || error_set(err, ERROR_RETRY, "BadMessage", "a key is cut short, or no text");
}

bool my_beside_bound(CopyReader *base, uint32_t number, const char *after, uint32_t rows,
                     char **ret, Error *err)
{
    MyReader *reader = (MyReader *)base;
    const MyTable *table = &reader->mysql->tables[number];
    Bytes shown = {0};
    size_t columns;
    Reader row;
    bool end;
    ASSERT(table->source->schema->key_count && rows);
    *ret = NULL;
    if (!check_key(table, err))
        return false;
    AUTO(mem_free) char *where = where_of(table, after, NULL, err);
    if (!where)
        return false;
    put_shown(table, &shown);
    bytes_put_u8(&shown, 0);
    AUTO(mem_free) char *keys = (char *)shown.data;
    Bytes order = {0};
    for (size_t i = 0; i < table->source->schema->key_count; i++) {
        AUTO(mem_free) char *name = my_identifier(key_column(table, i)->name);
        put_text(&order, i ? ", " : "");
        put_text(&order, name);
    }
    bytes_put_u8(&order, 0);
    AUTO(mem_free) char *ordered = (char *)order.data;
    AUTO(mem_free)
    char *sql = mem_format("SELECT %s FROM %s%s ORDER BY %s LIMIT 1 OFFSET %u", keys, table->quoted,
                           where, ordered, rows - 1);
    if (!my_reader_ask(reader, sql, &columns, err) || !my_reader_row(reader, &row, &end, err))
        return error_wrap(err, "table %s", table->name);
    if (end)
        return true;
    if (!take_key(table->source->schema->key_count, &row, ret, err))
        return error_wrap(err, "table %s", table->name);
    if (my_reader_row(reader, &row, &end, err) && end)
        return true;
    free(TAKE(*ret));
    return error_wrap(err, "table %s", table->name);
}

/* --- a snapshot that shows enough --- */

static bool read_place(MyReader *reader, uint64_t *ret, Error *err)
{
    size_t columns, base;
    Reader row;
    bool end = false;
    uint64_t file = 0, offset = 0;
    if (!my_reader_ask(reader, "SHOW STATUS LIKE 'binlog_snapshot_%'", &columns, err))
        return false;
    for (;;) {
        const uint8_t *at[2];
        size_t bytes[2];
        char name[64], value[PLACE_NAME_BYTES];
        if (!my_reader_row(reader, &row, &end, err))
            return false;
        if (end)
            break;
        if (!reader_packed_bytes(&row, &at[0], &bytes[0]) ||
            !reader_packed_bytes(&row, &at[1], &bytes[1]))
            return error_set(err, ERROR_RETRY, "BadMessage", "a status is cut short");
        snprintf(name, sizeof name, "%.*s", (int)bytes[0], (const char *)at[0]);
        snprintf(value, sizeof value, "%.*s", (int)bytes[1], (const char *)at[1]);
        if (strcasecmp(name, "binlog_snapshot_position") == 0)
            offset = strtoull(value, NULL, 10);
        else if (strcasecmp(name, "binlog_snapshot_file") == 0 &&
                 !place_parse_file(value, strlen(value), &file, &base, err))
            return false;
    }
    if (!file || !offset)
        return error_set(err, ERROR_RETRY, "NoSnapshot",
                         "the server does not say which place of its binlog a snapshot stands for");
    return my_place(reader->mysql, file, offset, ret, err);
}

static bool mariadb_try(MyReader *reader, bool *ret, Error *err)
{
    uint64_t place;
    if (!my_reader_command(reader, "START TRANSACTION WITH CONSISTENT SNAPSHOT, READ ONLY", err) ||
        !read_place(reader, &place, err))
        return false;
    reader->mysql->copy_at = (RowPosition){.major = place_in_stream(reader, place)};
    *ret = reader->mysql->copy_at.major >= reader->said_at;
    return *ret || my_reader_command(reader, "COMMIT", err);
}

/* The snapshot is taken by the first query that reads, once the table is held. */
static bool mysql_try(MyReader *reader, bool *ret, Error *err)
{
    Mysql *mysql = reader->mysql;
    AUTO(gtid_set_done) GtidSet executed = gtid_set_new(false);
    AUTO(gtid_set_done) GtidSet wanted = gtid_set_new(false);
    if (!reader->said_gtids)
        return error_set(err, ERROR_RETRY, "GtidsUnknown",
                         "nobody knows which transactions the stream has read, until the binlog's "
                         "next file begins");
    AUTO(mem_free)
    char *text = my_value(mysql->query, &mysql->patience, "SELECT @@GLOBAL.gtid_executed", err);
    if (!text || !gtid_set_parse(text, false, &executed, err) ||
        !gtid_set_parse(reader->said_gtids, false, &wanted, err))
        return false;
    *ret = gtid_set_contains(&executed, &wanted);
    mysql->copy_at = (RowPosition){.major = reader->said_at};
    return !*ret || my_reader_command(reader, "START TRANSACTION READ ONLY", err);
}

static bool take_snapshot(MyReader *reader, Error *err)
{
    Mysql *mysql = reader->mysql;
    bool shows = false;
    for (int i = 0; i < TRIES && !shows; i++) {
        if (atomic_load(&reader->cancelled))
            return error_set(err, ERROR_RETRY, "Cancelled", "a chunk was cancelled");
        if (i)
            clock_sleep_us(PAUSE_US);
        if (!(mysql->mariadb ? mariadb_try(reader, &shows, err) : mysql_try(reader, &shows, err)))
            return false;
    }
    if (!shows)
        return error_set(err, ERROR_RETRY, "NoSnapshot",
                         "the server does not come to show what stands in its binlog");
    mysql->copy_us = clock_wall_us();
    return place_format_file(mysql->base_name,
                             place_file(mysql->copy_at.major) - reader->stream->file_shift,
                             mysql->copy_file) ||
           error_set(err, ERROR_DATA, "BadPlace", "a place without a file");
}

bool my_beside_begin(CopyReader *base, uint32_t number, const char *after, const char *until,
                     Unseen *ret, Error *err)
{
    MyReader *reader = (MyReader *)base;
    const MyTable *table = &reader->mysql->tables[number];
    ASSERT(!reader->table);
    *ret = (Unseen){0}; /* it shows all */
    AUTO(mem_free) char *where = where_of(table, after, until, err);
    return (where && take_snapshot(reader, err) && my_reader_hold(reader, table, err) &&
            my_reader_start(reader, number, where, err)) ||
           error_wrap(err, "copying table %s", table->name);
}
