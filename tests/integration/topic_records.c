/* links: firn_topic firn_capture */
/* For test_topic_debezium.py: captures a database, then encodes what it read, as often as asked, in
 * the forms asked for. What capture does not hand on yet (the columns' types at the source, the
 * facts of each row, old images) comes from the catalog, from the test, and from the row before.
 *
 *   topic_records PORT DATABASE     user and password: PGUSER, PGPASSWORD
 *
 * Says "copied" when the tables are copied, and waits for a line; then "streamed" when a row of the
 * table public.finish came. Then each line "OUT FACTS name=value …" encodes everything into the
 * file OUT, a JSON object a line, with the facts of the file FACTS, and says "encoded":
 *
 *   TABLE LSN TRANSACTION COMMIT_US LAST_COMMIT NOW_US SNAPSHOT TOTAL_ORDER TABLE_ORDER
 *
 * a line for each row of the table and each TRUNCATE, in the table's order. */
#include <inttypes.h>
#include <libpq-fe.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "agent/capture/capture.h"
#include "agent/topic/name.h"
#include "agent/topic/registry.h"
#include "agent/topic/topic.h"
#include "common/mem.h"

#define EVENTS_MAX 4096
#define TABLES_MAX 64
#define LINE_BYTES 4096

typedef struct Event {
    uint32_t table;
    Batch *batch; /* NULL: TRUNCATE */
    RowPosition at;
} Event;

static Event events[EVENTS_MAX];
static size_t event_count;
static Arena *arena; /* of what the catalog says */

static void fail(const char *doing, const Error *err)
{
    fprintf(stderr, "%s: %s %s: %s\n", doing, error_kind_name(err->kind), err->code, err->message);
    exit(1);
}

/* --- the catalog --- */

static PGresult *ask(PGconn *connection, const char *sql, const char *value)
{
    PGresult *result = PQexecParams(connection, sql, 1, NULL, &value, NULL, NULL, 0);
    if (PQresultStatus(result) != PGRES_TUPLES_OK) {
        fprintf(stderr, "%s: %s\n", sql, PQerrorMessage(connection));
        exit(1);
    }
    return result;
}

static char *kept(const char *text)
{
    return arena_strndup(arena, text, strlen(text));
}

static ColumnType load_type(PGconn *connection, const char *oid, int32_t modifier)
{
    PGresult *row =
        ask(connection,
            "select typname, typtype, typbasetype, typtypmod, "
            "case when typcategory = 'A' and typlen = -1 then typelem else 0 end, typrelid, "
            "case typname when 'int2vector' then 21 when 'oidvector' then 26 else 0 end "
            "from pg_type where oid = $1",
            oid);
    ColumnType type = {.name = kept(PQgetvalue(row, 0, 0)), .modifier = modifier};
    char kind = PQgetvalue(row, 0, 1)[0];
    const char *element = PQgetvalue(row, 0, 4);
    if (strcmp(element, "0") == 0)
        element = PQgetvalue(row, 0, 6);
    if (kind == 'd') {
        type = load_type(connection, PQgetvalue(row, 0, 2),
                         (int32_t)strtol(PQgetvalue(row, 0, 3), NULL, 10));
    } else if (kind == 'e') {
        PGresult *labels =
            ask(connection,
                "select enumlabel from pg_enum where enumtypid = $1 order by enumsortorder", oid);
        type.is_enum = true;
        type.label_count = (size_t)PQntuples(labels);
        const char **texts = arena_take(arena, type.label_count * sizeof *texts);
        for (int i = 0; i < PQntuples(labels); i++)
            texts[i] = kept(PQgetvalue(labels, i, 0));
        type.labels = texts;
        PQclear(labels);
    } else if (kind == 'c') {
        PGresult *attributes = ask(
            connection,
            "select atttypid, atttypmod from pg_attribute where attrelid = $1 and attnum > 0 and "
            "not attisdropped order by attnum",
            PQgetvalue(row, 0, 5));
        type.child_count = (size_t)PQntuples(attributes);
        ColumnType *children = arena_take(arena, type.child_count * sizeof *children);
        for (int i = 0; i < PQntuples(attributes); i++)
            children[i] = load_type(connection, PQgetvalue(attributes, i, 0),
                                    (int32_t)strtol(PQgetvalue(attributes, i, 1), NULL, 10));
        type.children = children;
        PQclear(attributes);
    } else if (strcmp(type.name, "vector") == 0) {
        ;
    } else if (strcmp(element, "0") != 0) {
        ColumnType *child = arena_take(arena, sizeof *child);
        *child = load_type(connection, element, modifier);
        type.child_count = 1;
        type.children = child;
    }
    PQclear(row);
    return type;
}

/* As many as the schema has, by name. */
static SourceColumn *load_columns(PGconn *connection, const SourceTable *table, bool *ret_whole)
{
    char name[256];
    snprintf(name, sizeof name, "\"%s\".\"%s\"", table->schema_name, table->table_name);
    SourceColumn *columns = arena_take(arena, (table->schema->field_count + 1) * sizeof *columns);
    PGresult *found =
        ask(connection,
            "select a.attname, a.atttypid, a.atttypmod, pg_get_expr(d.adbin, d.adrelid), "
            "c.relreplident from pg_attribute a join pg_class c on c.oid = a.attrelid "
            "left join pg_attrdef d on d.adrelid = a.attrelid and d.adnum = a.attnum "
            "where a.attrelid = $1::regclass and a.attnum > 0 and not a.attisdropped",
            name);
    *ret_whole = PQgetvalue(found, 0, 4)[0] == 'f';
    for (int i = 0; i < PQntuples(found); i++) {
        int at = schema_find(table->schema, PQgetvalue(found, i, 0));
        ASSERT(at >= 0);
        columns[at] = (SourceColumn){
            .type = load_type(connection, PQgetvalue(found, i, 1),
                              (int32_t)strtol(PQgetvalue(found, i, 2), NULL, 10)),
            .default_expression = PQgetisnull(found, i, 3) ? NULL : kept(PQgetvalue(found, i, 3))};
    }
    PQclear(found);
    return columns;
}

/* --- capturing --- */

static void keep(uint32_t table, Batch *batch, RowPosition at)
{
    ASSERT(event_count < EVENTS_MAX);
    events[event_count++] = (Event){table, batch, at};
}

static void read_copy(Capture *capture, size_t tables)
{
    Error err = {0};
    CopyReader *reader = capture_copy_reader_open(capture, &err);
    if (!reader)
        fail("copy reader", &err);
    for (uint32_t table = 0; table < tables; table++) {
        CopyRange *ranges;
        size_t count;
        if (!capture_copy_plan(capture, table, (uint64_t)1 << 30, NULL, &ranges, &count, &err))
            fail("plan", &err);
        for (size_t i = 0; i < count; i++) {
            if (!capture_copy_begin(reader, &ranges[i], &err))
                fail("copy", &err);
            for (Batch *batch;;) {
                if (!capture_copy_next(reader, &batch, &err))
                    fail("copy", &err);
                if (!batch)
                    break;
                keep(table, batch, (RowPosition){0});
            }
        }
        free(ranges);
    }
    capture_copy_reader_free(reader);
    if (!capture_copy_done(capture, &err))
        fail("copy", &err);
    for (uint32_t table = 0; table < tables; table++) {
        capture_copied(capture, table);
        capture_fills(capture, table); /* so that values left out stay unchanged */
    }
}

static void read_stream(Capture *capture, const SourceTable *tables)
{
    Error err = {0};
    if (!capture_stream_start(capture, &err))
        fail("stream", &err);
    for (bool finished = false; !finished;) {
        Change change;
        if (!capture_next(capture, 500, &change, &err))
            fail("stream", &err);
        if (change.kind == CHANGE_BATCH) {
            finished = strcmp(tables[change.table].table_name, "finish") == 0;
            keep(change.table, change.batch, (RowPosition){0});
        } else if (change.kind == CHANGE_TRUNCATE) {
            keep(change.table, NULL, change.row);
        } else if (change.kind == CHANGE_MESSAGE) {
            log_message_free(change.message);
        }
    }
}

/* --- encoding --- */

typedef struct Fact {
    TransactionOrigin transaction;
    RowOrigin row;
    TopicSnapshot snapshot;
    int64_t now_us;
} Fact;

typedef struct Facts {
    Fact *items;
    size_t count, next;
} Facts;

static void read_facts(const char *path, const SourceTable *tables, size_t count, Facts *facts)
{
    FILE *file = fopen(path, "r");
    ASSERT(file);
    char line[LINE_BYTES];
    while (fgets(line, sizeof line, file)) {
        char name[256];
        Fact fact = {.row.before = ORIGIN_NO_BEFORE};
        unsigned snapshot;
        int got = sscanf(line,
                         "%255[^\t] %" SCNu64 " %" SCNu64 " %" SCNd64 " %" SCNu64 " %" SCNd64
                         " %u %" SCNu64 " %" SCNu64,
                         name, &fact.row.lsn, &fact.transaction.id, &fact.transaction.commit_us,
                         &fact.transaction.last_commit_lsn, &fact.now_us, &snapshot,
                         &fact.row.total_order, &fact.row.table_order);
        ASSERT(got == 9);
        fact.snapshot = (TopicSnapshot)snapshot;
        for (size_t i = 0; i < count; i++)
            if (strcmp(tables[i].table_name, name) == 0) {
                facts[i].items =
                    mem_regrow(facts[i].items, facts[i].count + 1, sizeof *facts[i].items);
                facts[i].items[facts[i].count++] = fact;
            }
    }
    fclose(file);
}

static Fact next_fact(Facts *facts)
{
    if (facts->next == facts->count)
        return (Fact){.row.before = ORIGIN_NO_BEFORE};
    return facts->items[facts->next++];
}

static void put_hex(FILE *out, const char *name, const Bytes *bytes, TopicSpan span)
{
    if (!span.bytes) {
        fprintf(out, "\"%s\": null, ", name);
        return;
    }
    fprintf(out, "\"%s\": \"", name);
    for (size_t i = 0; i < span.bytes; i++)
        fprintf(out, "%02x", bytes->data[span.at + i]);
    fprintf(out, "\", ");
}

static void put_records(FILE *out, const char *topic, TopicRecords *records)
{
    for (size_t i = 0; i < records->count; i++) {
        const TopicRecord *record = &records->items[i];
        fprintf(out, "{\"topic\": \"%s\", ", topic);
        put_hex(out, "key", &records->bytes, record->key);
        put_hex(out, "value", &records->bytes, record->value);
        put_hex(out, "header", &records->bytes, record->header);
        if (record->other_name)
            put_hex(out, record->other_name, &records->bytes, record->other);
        fprintf(out, "\"everywhere\": %s, \"hash\": \"%016" PRIx64 "\"}\n",
                record->everywhere ? "true" : "false", record->hash);
    }
    topic_records_clear(records);
}

typedef struct Form {
    TopicOptions options;
    char connector[64];
    char registry[256];
} Form;

static Form parse_form(char *words)
{
    static const struct {
        const char *name;
        size_t at;
    } numbers[] = {{"format", offsetof(TopicOptions, format)},
                   {"time", offsetof(TopicOptions, time)},
                   {"decimal", offsetof(TopicOptions, decimal)},
                   {"binary", offsetof(TopicOptions, binary)},
                   {"interval", offsetof(TopicOptions, interval)},
                   {"hstore", offsetof(TopicOptions, hstore)},
                   {"unknown", offsetof(TopicOptions, unknown)},
                   {"schema_names", offsetof(TopicOptions, schema_names)},
                   {"field_names", offsetof(TopicOptions, field_names)}};
    Form form = {0};
    for (char *at; (at = strsep(&words, " \n"));) {
        char *value = strchr(at, '=');
        if (!value)
            continue;
        *value++ = '\0';
        int number = (int)strtol(value, NULL, 10);
        if (strcmp(at, "connector") == 0)
            snprintf(form.connector, sizeof form.connector, "%s", value);
        else if (strcmp(at, "registry") == 0)
            snprintf(form.registry, sizeof form.registry, "%s", value);
        else if (strcmp(at, "no_tombstones") == 0)
            form.options.no_tombstones = number;
        else if (strcmp(at, "transactions") == 0)
            form.options.transactions = number;
        else if (strcmp(at, "nulls_as_defaults") == 0)
            form.options.nulls_as_defaults = number;
        for (size_t i = 0; i < ARRAY_LEN(numbers); i++)
            if (strcmp(at, numbers[i].name) == 0)
                memcpy((char *)&form.options + numbers[i].at, &number, sizeof number);
    }
    return form;
}

static void put_ids(TopicTable *table, const char *topic, Registry *registry)
{
    uint32_t key = 0, value;
    Error err = {0};
    char subject[512];
    snprintf(subject, sizeof subject, "%s-key", topic);
    if (topic_table_key_schema(table) &&
        !registry_register(registry, subject, topic_table_key_schema(table), &key, &err))
        fail("register", &err);
    snprintf(subject, sizeof subject, "%s-value", topic);
    if (!registry_register(registry, subject, topic_table_value_schema(table), &value, &err))
        fail("register", &err);
    topic_table_set_ids(table, key, value);
}

/* Rows one by one, as each has its own time; but a pair together. */
static void encode_batch(TopicTable *table, Batch *batch, Facts *facts, bool whole, Batch **last,
                         uint32_t *last_row, TopicRecords *records)
{
    Fact fact[2];
    RowOrigin *about = mem_array(batch->row_count, sizeof *about);
    TopicSnapshot *snapshots = mem_array(batch->row_count, sizeof *snapshots);
    TransactionOrigin *transactions = mem_array(batch->row_count, sizeof *transactions);
    for (uint32_t row = 0; row < batch->row_count;) {
        uint32_t count = batch->ops[row] == ROW_MOVE ? 2 : 1, from = row;
        Batch *before = *last;
        for (uint32_t i = 0; i < count; i++) {
            fact[i] = next_fact(facts);
            about[row + i] = fact[i].row;
            about[row + i].transaction = row + i;
            transactions[row + i] = fact[i].transaction;
            snapshots[row + i] = fact[i].snapshot;
        }
        bool has_before = batch->ops[row] >= ROW_UPDATE && whole && before;
        about[row].before = has_before ? *last_row : ORIGIN_NO_BEFORE;
        const Origins origins = {.rows = about, .transactions = transactions, .before = before};
        TopicRows rows = {batch, &origins, snapshots, fact[count - 1].now_us};
        Error err = {0};
        while (from < row + count) {
            /* one row (or pair) at a time: the limit is reached by whatever is there */
            if (!topic_encode(table, &rows, &from, records->bytes.used + 1, records, &err))
                fail("encode", &err);
        }
        row += count;
        *last = batch;
        *last_row = row - 1;
    }
    free(about);
    free(snapshots);
    free(transactions);
}

static void encode_all(const char *path, const Form *form, PGconn *connection,
                       const SourceTable *tables, size_t count, Facts *facts)
{
    TopicTable *made[TABLES_MAX] = {0};
    char *topics[TABLES_MAX];
    bool whole[TABLES_MAX];
    Batch *last[TABLES_MAX] = {0};
    uint32_t last_row[TABLES_MAX] = {0};
    Error err = {0};
    ASSERT(count <= TABLES_MAX);
    RegistryOptions registry_options = {.url = form->registry};
    AUTO(registry_free)
    Registry *registry = form->registry[0] ? registry_new(&registry_options, &err) : NULL;
    FILE *out = fopen(path, "w");
    ASSERT(out);
    for (size_t i = 0; i < count; i++) {
        TopicTableSpec spec = {.connector = form->connector,
                               .database = PQdb(connection),
                               .schema_name = tables[i].schema_name,
                               .table_name = tables[i].table_name,
                               .schema = tables[i].schema,
                               .columns = load_columns(connection, &tables[i], &whole[i])};
        spec.topic = topics[i] = topic_name(NULL, &spec, &err);
        made[i] = spec.topic ? topic_table_new(&spec, &form->options, &err) : NULL;
        if (!made[i])
            fail("table", &err);
        if (registry)
            put_ids(made[i], topics[i], registry);
    }
    TopicRecords records = {0};
    for (size_t i = 0; i < event_count; i++) {
        uint32_t table = events[i].table;
        if (events[i].batch) {
            encode_batch(made[table], events[i].batch, &facts[table], whole[table], &last[table],
                         &last_row[table], &records);
        } else {
            Fact fact = next_fact(&facts[table]);
            topic_encode_truncate(made[table], &fact.transaction, &fact.row, events[i].at, 1,
                                  fact.now_us, &records);
        }
        put_records(out, topics[table], &records);
    }
    topic_records_done(&records);
    for (size_t i = 0; i < count; i++) {
        topic_table_free(made[i]);
        free(topics[i]);
    }
    fclose(out);
}

int main(int count, char **arguments)
{
    if (count != 3)
        return 2;
    char *host = (char[]){"127.0.0.1"}, *all = (char[]){"public.*"};
    char *postgis = (char[]){"public.spatial_ref_sys"};
    ConnectorSpec spec = {.meta = {.name = (char[]){"topics"}},
                          .source_type = SOURCE_POSTGRESQL,
                          .hosts = {.texts = &host, .count = 1},
                          .port = (uint16_t)strtol(arguments[1], NULL, 10),
                          .database = arguments[2],
                          .include = {.texts = &all, .count = 1},
                          .exclude = {.texts = &postgis, .count = 1},
                          .tls_mode = TLS_PREFER,
                          .pg_slot = (char[]){"firn_topics"},
                          .pg_publication = (char[]){"firn_topics"},
                          .pg_manage = true,
                          .username = getenv("PGUSER"),
                          .password = getenv("PGPASSWORD")};
    Error err = {0};
    arena = arena_new(65536);
    AUTO(capture_close)
    Capture *capture = capture_open(&spec, &(CaptureOptions){.origins = true}, &err);
    if (!capture)
        fail("open", &err);
    size_t table_count;
    const SourceTable *tables = capture_tables(capture, &table_count);
    AUTO(mem_free) bool *complete = mem_array(table_count, sizeof *complete);
    Position at;
    if (!capture_prepare(capture, &(CaptureState){.complete = complete}, &at, &err))
        fail("prepare", &err);
    read_copy(capture, table_count);
    printf("copied\n");
    fflush(stdout);
    char line[LINE_BYTES];
    if (!fgets(line, sizeof line, stdin))
        return 1;
    read_stream(capture, tables);
    printf("streamed\n");
    fflush(stdout);
    char dsn[512];
    snprintf(dsn, sizeof dsn, "host=127.0.0.1 port=%s dbname=%s", arguments[1], arguments[2]);
    PGconn *connection = PQconnectdb(dsn);
    ASSERT(PQstatus(connection) == CONNECTION_OK);
    while (fgets(line, sizeof line, stdin)) {
        char *words = line, *out = strsep(&words, " "), *path = strsep(&words, " ");
        Form form = parse_form(words);
        Facts facts[TABLES_MAX] = {0};
        read_facts(path, tables, table_count, facts);
        encode_all(out, &form, connection, tables, table_count, facts);
        for (size_t i = 0; i < table_count; i++)
            free(facts[i].items);
        printf("encoded\n");
        fflush(stdout);
    }
    PQfinish(connection);
    for (size_t i = 0; i < event_count; i++)
        batch_free(events[i].batch);
    arena_free(arena);
    return 0;
}
