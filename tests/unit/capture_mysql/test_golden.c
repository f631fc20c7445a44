/* links: firn_capture_mysql */
/* Binlogs as real servers wrote them, and the rows that those servers show: tests/golden/binlog
 * (its make.py says how they come about). Each file is read as the stream reads it. */
#include "tests/unit/capture_mysql/log.h"

#include <stdio.h>

#include "agent/capture/mysql/log.h"
#include "agent/capture/mysql/rows.h"
#include "common/mem.h"

#define TABLES_MAX 4
#define COLLATIONS_MAX 2048

typedef struct Golden {
    char *stem;
    bool mariadb;
    Collation items[COLLATIONS_MAX];
    Collations collations;
    char *collation_text, *text; /* what the two above, and the lines below, point into */
    SourceTable sources[TABLES_MAX];
    MyTable tables[TABLES_MAX];
    char *lines[TABLES_MAX]; /* where the next row that is expected begins */
    size_t table_count, rows;
    MyLog *log;
    Error err;
} Golden;

static Bytes read_file(const char *name, const char *end)
{
    Bytes bytes = {0};
    char part[4096];
    AUTO(mem_free) char *path = mem_format(GOLDEN "/binlog/%s%s", name, end);
    FILE *file = fopen(path, "rb");
    if (!file)
        fail_msg("no file %s", path);
    for (size_t got; (got = fread(part, 1, sizeof part, file));)
        bytes_put(&bytes, part, got);
    fclose(file);
    return bytes;
}

static char *read_text(const char *name, const char *end)
{
    Bytes bytes = read_file(name, end);
    bytes_put_u8(&bytes, 0);
    return (char *)bytes.data;
}

static void read_collations(Golden *golden)
{
    golden->collation_text = read_text(golden->mariadb ? "mariadb" : "mysql", ".collations");
    char *rest = golden->collation_text;
    for (char *line; (line = strsep(&rest, "\n")) && *line;) {
        char *number = strsep(&line, "\t");
        assert_true(golden->collations.count < COLLATIONS_MAX);
        golden->items[golden->collations.count++] =
            (Collation){(uint32_t)strtoul(number, NULL, 10), line};
    }
    golden->collations.items = golden->items;
}

static void unescape(char *text)
{
    char *to = text;
    for (const char *at = text; *at; at++) {
        if (*at == '\\')
            at++;
        *to++ = *at;
    }
    *to = '\0';
}

static void read_table(Golden *golden, char *line, char *lines)
{
    assert_true(golden->table_count < TABLES_MAX);
    size_t number = golden->table_count++;
    SourceTable *source = &golden->sources[number];
    MyTable *table = &golden->tables[number];
    source->schema_name = mem_strdup(strsep(&line, "\t"));
    source->table_name = mem_strdup(strsep(&line, "\t"));
    unescape(line);
    table->source = source;
    table->name = mem_format("%s.%s", source->schema_name, source->table_name);
    atomic_store(&table->fills, true);
    table->known = known_parse(line, source->schema_name, source->table_name, &golden->collations,
                               &golden->err);
    if (table->known)
        source->schema = rows_schema(table->known->map, &golden->collations, &golden->err);
    if (!source->schema)
        fail_msg("%s: %s", golden->stem, golden->err.message);
    golden->lines[number] = lines;
}

static void read_expected(Golden *golden)
{
    golden->text = read_text(golden->stem, ".txt");
    for (char *rest = golden->text; *rest;) {
        char *line = strsep(&rest, "\n");
        assert_non_null(rest);
        if (strncmp(line, "table\t", 6) == 0)
            read_table(golden, line + 6, rest);
    }
    /* Lines end in NUL by now; a table's end at the next one's, or at the text's. */
}

/* --- a row as the file has it --- */

static void put_hex(Bytes *to, const uint8_t *at, size_t bytes)
{
    char digits[3];
    for (size_t i = 0; i < bytes; i++) {
        snprintf(digits, sizeof digits, "%02x", at[i]);
        bytes_put(to, digits, 2);
    }
}

static void put_number(Bytes *to, __int128 value)
{
    char digits[48], *at = digits + sizeof digits;
    unsigned __int128 left = value < 0 ? -(unsigned __int128)value : (unsigned __int128)value;
    do
        *--at = (char)('0' + (int)(left % 10));
    while (left /= 10);
    if (value < 0)
        *--at = '-';
    bytes_put(to, at, (size_t)(digits + sizeof digits - at));
}

static void put_text(Bytes *to, const uint8_t *at, size_t bytes)
{
    for (size_t i = 0; i < bytes; i++) {
        const char *escaped = at[i] == '\\'   ? "\\\\"
                              : at[i] == '\t' ? "\\t"
                              : at[i] == '\n' ? "\\n"
                                              : NULL;
        if (escaped)
            bytes_put(to, escaped, 2);
        else
            bytes_put_u8(to, at[i]);
    }
}

static void put_value(Bytes *to, const Column *column, uint32_t row)
{
    const uint8_t *at = column->values + (size_t)row * column->width;
    uint32_t bytes;
    __int128 wide;
    switch (column->field->type.kind) {
    case TYPE_BOOL:
        bytes_put(to, bit_get(column->values, row) ? "true" : "false",
                  bit_get(column->values, row) ? 4 : 5);
        return;
    case TYPE_INT32:
    case TYPE_DATE:
        put_number(to, column_i32(column, row));
        return;
    case TYPE_INT64:
    case TYPE_TIME:
    case TYPE_TIMESTAMP:
    case TYPE_TIMESTAMPTZ:
        put_number(to, column_i64(column, row));
        return;
    case TYPE_DECIMAL:
        memcpy(&wide, at, sizeof wide);
        put_number(to, wide);
        return;
    case TYPE_STRING:
        at = column_bytes(column, row, &bytes);
        put_text(to, at, bytes);
        return;
    case TYPE_BINARY:
        at = column_bytes(column, row, &bytes);
        put_hex(to, at, bytes);
        return;
    case TYPE_LIST: /* of floats */
        at = column->child->values + (size_t)column->offsets[row] * 4;
        put_hex(to, at, (size_t)(column->offsets[row + 1] - column->offsets[row]) * 4);
        return;
    default:
        put_hex(to, at, column->width);
    }
}

static char *row_text(const Batch *batch, uint32_t row)
{
    static const char *const ops[] = {[ROW_INSERT] = "insert",
                                      [ROW_UPDATE] = "update",
                                      [ROW_DELETE] = "delete",
                                      [ROW_MOVE] = "move"};
    const char *op = ops[batch->ops[row]];
    Bytes text = {0};
    bytes_put(&text, op, strlen(op));
    for (uint32_t i = 0; i < batch->column_count; i++) {
        const Column *column = &batch->columns[i];
        bytes_put_u8(&text, '\t');
        if (column_is_unchanged(column, row))
            bytes_put_u8(&text, '~');
        else if (column_is_null(column, row))
            bytes_put(&text, "\\N", 2);
        else
            put_value(&text, column, row);
    }
    bytes_put_u8(&text, 0);
    return (char *)text.data;
}

/* The first value that differs, for whoever has to find out why. */
static void expect_line(const Golden *golden, uint32_t table, const char *got, const char *wanted)
{
    if (strcmp(got, wanted) == 0)
        return;
    AUTO(mem_free) char *ours = mem_strdup(got);
    AUTO(mem_free) char *theirs = mem_strdup(wanted);
    char *a = ours, *b = theirs;
    const Schema *schema = golden->sources[table].schema;
    for (size_t i = 0; a && b; i++) {
        const char *mine = strsep(&a, "\t"), *other = strsep(&b, "\t");
        if (strcmp(mine, other) != 0)
            fail_msg("%s, %.60s: %s: '%s', not '%s'", golden->stem, wanted,
                     i ? schema->fields[i - 1].name : "op", mine, other);
    }
    fail_msg("%s: '%s', not '%s'", golden->stem, got, wanted);
}

static void take_changes(Golden *golden)
{
    Change change;
    while (mylog_take(golden->log, &change)) {
        assert_true(change.kind == CHANGE_BATCH || change.kind == CHANGE_CHECKPOINT);
        for (uint32_t i = 0; change.batch && i < change.batch->row_count; i++) {
            AUTO(mem_free) char *got = row_text(change.batch, i);
            char **line = &golden->lines[change.table];
            expect_line(golden, change.table, got, *line);
            *line += strlen(*line) + 1;
            golden->rows++;
        }
        change_done(&change);
    }
}

/* --- a file --- */

static bool no_learning(void *context, uint32_t table, const TableMap *map, const Ddl *ddl,
                        bool *ret_changed, Error *err)
{
    (void)context, (void)table, (void)map, (void)ddl;
    *ret_changed = false;
    return error_set(err, ERROR_CONFIG, "Learned", "the table's columns are those of before");
}

static void begin(Golden *golden, const char *stem)
{
    *golden = (Golden){.stem = mem_strdup(stem), .mariadb = strncmp(stem, "mariadb", 7) == 0};
    read_collations(golden);
    read_expected(golden);
    golden->log = mylog_new(&(MyLogOptions){.tables = golden->tables,
                                            .table_count = golden->table_count,
                                            .collations = &golden->collations,
                                            .learn = no_learning,
                                            .context = golden,
                                            .transaction_bytes = 1 << 30});
    Bytes event = log_event(false, EVENT_ROTATE, BINLOG_FLAG_ARTIFICIAL,
                            TEXT("\4\0\0\0\0\0\0\0binlog.000001"));
    assert_true(mylog_event(golden->log, event.data, event.used, &golden->err));
    bytes_done(&event);
}

static void end(Golden *golden)
{
    mylog_free(golden->log);
    for (size_t i = 0; i < golden->table_count; i++)
        my_table_done(&golden->tables[i]);
    free(golden->collation_text);
    free(golden->text);
    free(golden->stem);
}

/* *ret_types: which types of event there were. */
static bool read_events(Golden *golden, bool ret_types[256])
{
    bool ok = true;
    Bytes file = read_file(golden->stem, ".binlog");
    assert_memory_equal(file.data,
                        "\xfe"
                        "bin",
                        4);
    for (size_t at = 4; ok && at < file.used;) {
        uint32_t bytes;
        assert_true(file.used - at >= BINLOG_HEADER_BYTES);
        memcpy(&bytes, file.data + at + 9, sizeof bytes);
        assert_true(bytes >= BINLOG_HEADER_BYTES && bytes <= file.used - at);
        uint8_t *exact = malloc(bytes); /* a byte too far is seen */
        memcpy(exact, file.data + at, bytes);
        ret_types[exact[4]] = true;
        ok = mylog_event(golden->log, exact, bytes, &golden->err);
        while (ok && mylog_unpacking(golden->log))
            ok = mylog_unpack(golden->log, &golden->err);
        free(exact);
        if (ok && mylog_can_checkpoint(golden->log))
            mylog_checkpoint(golden->log);
        take_changes(golden);
        at += bytes;
    }
    bytes_done(&file);
    return ok;
}

static void every_row_is_as_the_server_shows_it(void **state)
{
    (void)state;
    static const struct {
        const char *stem;
        size_t rows;
        uint8_t type; /* an event that the file is about */
    } files[] = {
        {"mysql-full", 10, EVENT_WRITE},
        {"mysql-compressed", 12, EVENT_PAYLOAD},
        {"mysql-images", 41, EVENT_UPDATE},
        {"mariadb-full", 10, EVENT_WRITE_V1},
        {"mariadb-compressed", 12, EVENT_WRITE_V1_COMPRESSED},
        {"mariadb-images", 41, EVENT_UPDATE_V1},
    };
    for (size_t i = 0; i < ARRAY_LEN(files); i++) {
        Golden golden;
        bool types[256] = {false};
        begin(&golden, files[i].stem);
        if (!read_events(&golden, types))
            fail_msg("%s: %s: %s", files[i].stem, golden.err.code, golden.err.message);
        assert_true(types[files[i].type]);
        assert_int_equal(golden.rows, files[i].rows);
        for (size_t k = 0; k < golden.table_count; k++) /* no row that did not come */
            assert_true(!*golden.lines[k] || strncmp(golden.lines[k], "table", 5) == 0);
        end(&golden);
    }
}

/* What a session switched on that the server as a whole has not: only a change of a document. */
static void a_change_of_a_document_is_refused(void **state)
{
    (void)state;
    Golden golden;
    bool types[256] = {false};
    begin(&golden, "mysql-partial");
    assert_false(read_events(&golden, types));
    assert_true(types[EVENT_PARTIAL_UPDATE]);
    assert_int_equal(golden.err.kind, ERROR_CONFIG);
    assert_string_equal(golden.err.code, "PartialJson");
    assert_non_null(strstr(golden.err.message, "table shop.j"));
    assert_int_equal(golden.rows, 1); /* what came before */
    end(&golden);
}

/* A bit that fell over anywhere is noticed, in whatever event. */
static void damage_is_noticed(void **state)
{
    (void)state;
    Bytes file = read_file("mysql-images", ".binlog");
    size_t damaged = 0;
    for (size_t at = 4; at < file.used;) {
        uint32_t bytes;
        memcpy(&bytes, file.data + at + 9, sizeof bytes);
        BinlogFormat format = {.checksums = true, .known = true};
        BinlogEvent event;
        Error err = {0};
        size_t where = at + 17 + damaged * 7 % (bytes - 17);
        if (file.data[at + 4] != EVENT_FORMAT) {
            file.data[where] ^= 1;
            assert_false(binlog_event(&format, file.data + at, bytes, &event, &err));
            assert_string_equal(err.code, "BadChecksum");
            file.data[where] ^= 1;
            assert_true(binlog_event(&format, file.data + at, bytes, &event, &err));
            damaged++;
        }
        at += bytes;
    }
    assert_true(damaged > 50);
    bytes_done(&file);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_row_is_as_the_server_shows_it),
        cmocka_unit_test(a_change_of_a_document_is_refused),
        cmocka_unit_test(damage_is_noticed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
