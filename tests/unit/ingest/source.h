/* A topic of librdkafka's mock cluster, filled by agent/topic, a process that takes it into a table
 * of a folder, and what that table holds. */
#pragma once

#include "tests/unit/kafka/cluster.h"

#include <stdio.h>
#include <unistd.h>

#include "agent/ingest/ingest.h"
#include "agent/lake/lake.h"
#include "agent/relay/state.h"
#include "agent/table/iceberg/iceberg.h"
#include "agent/topic/partition.h"
#include "agent/topic/topic.h"
#include "common/clock.h"
#include "common/log.h"
#include "common/thread.h"

#define PARTITIONS 3
#define TOPIC "shop.public.t"
#define SOON_US INT64_C(60000000)
#define LETTERS "t.dead"

/* What a real cluster takes its time for, and a mock one, too, unless it is told: a process that
 * died is missed for a session, and each one that comes or goes makes all wait for nearly as long.
 * Two seconds are enough for who is only slow. Topic ids and settings it never tells. */
static inline void setup_quick(void)
{
    setenv("FIRN_TOPIC_ID_MS", "0", 1);
    setenv("FIRN_SETTINGS_MS", "0", 1);
    setenv("FIRN_SESSION_MS", "2000", 1);
    log_setup(getenv("FIRN_TEST_LOG") ? LOG_DEBUG : LOG_ERROR, LOG_LOGFMT);
    cmocka_set_test_filter(getenv("FIRN_TEST_ONLY"));
}

typedef struct Source {
    Cluster cluster;
    KafkaProducer *producer;
    KafkaTopic *topic, *state_topic;
    char folder[64];
    Manifest *manifest;
    Schema *schema;
    SourceColumn columns[3];
    uint32_t version;
    TopicTable *table;
    Batch *batch;
    RowOrigin rows[128];
    uint64_t lsn, flights;
    const char *looked_at; /* the table that is read; NULL: t */
    /* Gets the rows that are read, in place of sums of them; NULL: nobody. */
    void (*visit)(void *context, const Batch *batch, uint32_t row);
    void *visit_context;
} Source;

/* Stand in the unit's spec and in the table's, with their lines' ends. */
static const char *unit_extra = "", *table_extra = "";
/* Stands in the unit's metadata, behind a comma. */
static const char *unit_notes = "";

static inline void parse_manifest(Source *source)
{
    char text[2048];
    Findings findings = {0};
    snprintf(text, sizeof text,
             "apiVersion: v1\nkind: Secret\nmetadata: {name: db}\nstringData: {username: u, "
             "password: p}\n---\n"
             "apiVersion: firn.dev/v1alpha1\nkind: Connector\nmetadata: {name: shop}\nspec:\n"
             "  source: {type: PostgreSQL, host: localhost, database: shop, credentialsSecretRef: "
             "{name: db}, tables: {include: [\"public.*\"]}}\n"
             "  stream: {kafka: {bootstrapServers: \"%s\", topicPrefix: shop}, format: Json}\n---\n"
             "apiVersion: firn.dev/v1alpha1\nkind: IngestionUnit\nmetadata: {name: all%s}\nspec:\n"
             "  connectorRef: {name: shop, tables: [\"public.*\"]}\n%s"
             "  outsourcingUnit:\n    table:\n      catalog: {type: Directory, warehouse: %s}\n"
             "      database: \"{schema}\"\n      tableName: \"{table}\"\n"
             "      commitInterval: 300ms\n%s",
             source->cluster.broker, unit_notes, unit_extra, source->folder, table_extra);
    if (!manifest_parse("test", text, strlen(text), &source->manifest, &findings))
        fail_msg("%s: %s", findings.items[0].path, findings.items[0].message);
    findings_done(&findings);
}

static inline void make_table(Source *source)
{
    Error err = {0};
    const TopicOptions options = {.format = TOPIC_JSON};
    source->version++;
    source->schema = schema_new(source->version + 1, 1);
    if (source->version == 2) { /* one more, and v is wider */
        source->schema->fields[2] = (Field){.name = mem_strdup("w"), .type.kind = TYPE_INT32};
        source->columns[2].type = (ColumnType){.name = "int4", .modifier = -1};
    }
    source->schema->fields[0] =
        (Field){.name = mem_strdup("id"), .type.kind = TYPE_INT64, .required = true};
    source->schema->fields[1] = (Field){.name = mem_strdup("v"), .type.kind = TYPE_INT32};
    if (source->version == 2)
        source->schema->fields[1].type.kind = TYPE_INT64;
    source->columns[0].type = (ColumnType){.name = "int8", .modifier = -1};
    source->columns[1].type =
        (ColumnType){.name = source->version == 2 ? "int8" : "int4", .modifier = -1};
    const TopicTableSpec spec = {.topic = TOPIC,
                                 .connector = "shop",
                                 .database = "shop",
                                 .schema_name = "public",
                                 .table_name = "t",
                                 .schema = source->schema,
                                 .columns = source->columns,
                                 .version = source->version};
    source->table = topic_table_new(&spec, &options, &err);
    if (!source->table)
        fail_msg("%s", err.message);
    source->batch = batch_new(source->schema, 0, 128);
}

static inline void send_records(Source *source, KafkaTopic *topic, TopicRecords *from,
                                uint32_t partitions)
{
    Error err = {0};
    KafkaRecord *records = mem_array(from->count * partitions, sizeof *records);
    size_t count = 0;
    for (size_t i = 0; i < from->count; i++) {
        const TopicRecord *record = &from->items[i];
        for (uint32_t k = 0; k < (record->everywhere ? partitions : 1); k++)
            records[count++] = (KafkaRecord){
                .topic = topic,
                .key = record->key.bytes ? from->bytes.data + record->key.at : NULL,
                .key_bytes = (uint32_t)record->key.bytes,
                .value = record->value.bytes ? from->bytes.data + record->value.at : NULL,
                .value_bytes = (uint32_t)record->value.bytes,
                .partition = record->everywhere
                                 ? (int32_t)k
                                 : (int32_t)topic_partition(record->hash, partitions),
                .headers = {{record->header.bytes ? TOPIC_HEADER : NULL,
                             from->bytes.data + record->header.at, (uint32_t)record->header.bytes},
                            {record->other_name, from->bytes.data + record->other.at,
                             (uint32_t)record->other.bytes}}};
    }
    Bytes bytes = from->bytes;
    from->bytes = (Bytes){0};
    if (kafka_producer_send(source->producer, &bytes, records, count, SOON_MS, &source->flights,
                            &err) != KAFKA_SENT)
        fail_msg("%s: %s", err.code, err.message);
    await(source->producer, source->flights);
    free(records);
    topic_records_clear(from);
}

static inline void send_state(Source *source)
{
    State state = {0};
    TopicRecords records = {0};
    TableState *table = state_add(&state, "public.t", TOPIC);
    table_state_begin(table, (RowPosition){1, 0}, "{\"oid\":1}");
    if (source->version == 2)
        assert_int_equal(table_state_learn(table, (RowPosition){source->lsn, 0}, "{}")->version, 2);
    table_state_describe(table, source->version, topic_table_value_schema(source->table),
                         topic_table_key_schema(source->table));
    state_put_table(table, &records);
    send_records(source, source->state_topic, &records, 1);
    topic_records_done(&records);
    state_done(&state);
}

static inline void source_open(Source *source)
{
    Error err = {0};
    *source = (Source){.folder = "/tmp/firn-ingest-XXXXXX", .lsn = 100};
    assert_non_null(mkdtemp(source->folder));
    source->cluster = cluster_up(1, TOPIC, PARTITIONS);
    rd_kafka_mock_group_initial_rebalance_delay_ms(source->cluster.mock, 100);
    static const char *const others[] = {"shop.firn-state", "firn-default-all-public-t-control",
                                         LETTERS};
    for (size_t i = 0; i < ARRAY_LEN(others); i++)
        assert_int_equal(rd_kafka_mock_topic_create(source->cluster.mock, others[i], 1, 1), 0);
    source->cluster.stream.compression = KAFKA_NONE; /* many bytes from few rows */
    parse_manifest(source);
    make_table(source);
    source->producer = producer_on(&source->cluster, NULL, &err);
    if (!source->producer)
        fail_msg("%s", err.message);
    source->topic = kafka_producer_topic(source->producer, TOPIC, 1 << 20, &err);
    source->state_topic = kafka_producer_topic(source->producer, others[0], 1 << 20, &err);
    send_state(source);
}

static inline void source_close(Source *source)
{
    Error err = {0};
    Store *store = store_posix_open(source->folder, &err);
    AUTO(mem_free) char *uri = store_uri(source->folder, &err);
    assert_true(store_delete_all(store, uri, &err));
    store_close(store);
    rmdir(source->folder);
    kafka_producer_free(source->producer);
    topic_table_free(source->table);
    batch_free(source->batch);
    schema_free(source->schema);
    manifest_free(source->manifest);
    cluster_down(&source->cluster);
}

static inline void put(Source *source, RowOp op, int64_t id, int32_t v)
{
    uint32_t row = source->batch->row_count;
    batch_row_begin(source->batch, op,
                    (RowPosition){op == ROW_READ ? 1 : ++source->lsn, op != ROW_READ});
    column_put_i64(source->batch, &source->batch->columns[0], id);
    if (source->version == 2) {
        column_put_i64(source->batch, &source->batch->columns[1], v);
        column_put_i32(source->batch, &source->batch->columns[2], 2 * v);
    } else {
        column_put_i32(source->batch, &source->batch->columns[1], v);
    }
    source->rows[row] = (RowOrigin){.lsn = source->lsn, .before = ORIGIN_NO_BEFORE};
}

static inline void flush(Source *source)
{
    Error err = {0};
    TransactionOrigin transaction = {.id = 7, .commit_us = clock_wall_us()};
    const Origins origins = {.rows = source->rows, .transactions = &transaction};
    const TopicRows rows = {source->batch, &origins, NULL, clock_wall_us()};
    TopicRecords records = {0};
    uint32_t from = 0;
    if (!topic_encode(source->table, &rows, &from, SIZE_MAX, &records, &err))
        fail_msg("%s", err.message);
    send_records(source, source->topic, &records, PARTITIONS);
    topic_records_done(&records);
    batch_free(source->batch);
    source->batch = batch_new(source->schema, 0, 128);
}

static inline void send_marker(Source *source, bool truncates)
{
    TopicRecords records = {0};
    const TransactionOrigin transaction = {.id = 7};
    RowPosition at = {truncates ? ++source->lsn : 1, 0};
    if (truncates)
        topic_encode_truncate(source->table, &transaction, &(RowOrigin){.before = ORIGIN_NO_BEFORE},
                              at, PARTITIONS, 1, &records);
    else
        topic_encode_copied(source->table, at, &records);
    send_records(source, source->topic, &records, PARTITIONS);
    topic_records_done(&records);
}

/* A record as it is, by whomever; header_bytes 0: it has none. */
static inline void send_raw(Source *source, int32_t partition, const void *value, size_t bytes,
                            const void *header, size_t header_bytes)
{
    Error err = {0};
    Bytes held = {0};
    bytes_put(&held, value, bytes);
    bytes_put(&held, header, header_bytes);
    KafkaRecord record = {.topic = source->topic,
                          .value = held.data,
                          .value_bytes = (uint32_t)bytes,
                          .partition = partition,
                          .headers = {{header_bytes ? TOPIC_HEADER : NULL, held.data + bytes,
                                       (uint32_t)header_bytes}}};
    if (kafka_producer_send(source->producer, &held, &record, 1, SOON_MS, &source->flights, &err) !=
        KAFKA_SENT)
        fail_msg("%s: %s", err.code, err.message);
    await(source->producer, source->flights);
}

/* --- the process --- */
typedef struct Process {
    Supervised *flow;
    Thread *thread;
    bool ok;
    Error err;
} Process;

static inline void run(void *argument)
{
    Process *process = argument;
    process->ok = supervised_run(process->flow, &process->err);
    if (!process->ok)
        fprintf(stderr, "%s: %s\n", process->err.code, process->err.message);
}

static inline void process_start(Process *process, const Source *source)
{
    *process =
        (Process){.flow = ingest_new(source->manifest, &source->manifest->connectors[0], NULL)};
    process->thread = thread_start("flow", run, process);
}

static inline void process_stop(Process *process)
{
    supervised_stop(process->flow);
    thread_join(process->thread);
    if (!process->ok)
        fail_msg("%s: %s", process->err.code, process->err.message);
    supervised_free(process->flow);
}

/* --- the table --- */
typedef struct Sums {
    Store *store;
    int64_t ids, values, more;
    uint64_t rows;
    const char *paths[512];
    roaring_bitmap_t *gone[512];
    size_t count;
} Sums;

/* v2: position deletes come behind the data files. */
static inline bool add_file(const DataFile *file, void *context, Error *err)
{
    Sums *sums = context;
    if (file->content == FILE_DATA) {
        sums->paths[sums->count] = mem_strdup(file->path);
        sums->gone[sums->count++] = roaring_bitmap_create();
        return true;
    }
    AUTO(schema_free) Schema *schema = schema_new(2, 0);
    schema->fields[0] = (Field){.name = mem_strdup("file_path"),
                                .type.kind = TYPE_STRING,
                                .id = ICEBERG_POS_DELETE_PATH_FIELD};
    schema->fields[1] = (Field){
        .name = mem_strdup("pos"), .type.kind = TYPE_INT64, .id = ICEBERG_POS_DELETE_POS_FIELD};
    ParquetReader *reader =
        parquet_reader_open(store_reader_open(sums->store, file->path, err), schema, err);
    for (Batch *batch; parquet_reader_next(reader, &batch, err) && batch; batch_free(batch))
        for (uint32_t row = 0; row < batch->row_count; row++) {
            uint32_t bytes;
            const uint8_t *path = column_bytes(&batch->columns[0], row, &bytes);
            for (size_t i = 0; i < sums->count; i++)
                if (strlen(sums->paths[i]) == bytes && memcmp(sums->paths[i], path, bytes) == 0)
                    roaring_bitmap_add(sums->gone[i],
                                       (uint32_t)column_i64(&batch->columns[1], row));
        }
    parquet_reader_free(reader);
    return true;
}

static inline void add_rows(const Source *source, Sums *sums, size_t file, const Schema *schema)
{
    Error err = {0};
    uint32_t at = 0;
    ParquetReader *reader =
        parquet_reader_open(store_reader_open(sums->store, sums->paths[file], &err), schema, &err);
    assert_non_null(reader);
    for (Batch *batch; parquet_reader_next(reader, &batch, &err) && batch; batch_free(batch))
        for (uint32_t row = 0; row < batch->row_count; row++, at++) {
            if (roaring_bitmap_contains(sums->gone[file], at))
                continue;
            sums->rows++;
            if (source->visit) {
                source->visit(source->visit_context, batch, row);
                continue;
            }
            sums->ids += column_i64(&batch->columns[0], row);
            sums->values += batch->columns[1].width == 8 ? column_i64(&batch->columns[1], row)
                                                         : column_i32(&batch->columns[1], row);
            if (batch->column_count > 2 && !column_is_null(&batch->columns[2], row))
                sums->more += column_i32(&batch->columns[2], row);
        }
    parquet_reader_free(reader);
}

/* False: there is no table yet. */
static inline bool read_sums(const Source *source, Sums *ret)
{
    Error err = {0};
    *ret = (Sums){.store = store_posix_open(source->folder, &err)};
    Catalog *catalog = catalog_directory_open(ret->store, &err);
    AUTO(mem_free) char *uri = store_uri(source->folder, &err);
    const char *table_name = source->looked_at ? source->looked_at : "t";
    AUTO(mem_free) char *location = mem_format("%s/public/%s", uri, table_name);
    const TableName name = {.database = "public", .table = table_name, .location = location};
    IcebergTable *table = NULL;
    bool found = iceberg_table_load(catalog, &name, &table, &err) && table;
    if (found && !iceberg_each_file(table, add_file, ret, &err))
        found = false; /* it is being replaced */
    for (size_t i = 0; i < ret->count; i++) {
        if (found)
            add_rows(source, ret, i, iceberg_schema(table));
        free((void *)(uintptr_t)ret->paths[i]);
        roaring_bitmap_free(ret->gone[i]);
    }
    iceberg_table_free(table);
    catalog_close(catalog);
    store_close(ret->store);
    return found;
}

static inline int64_t more_of(const Source *source)
{
    Sums sums = {0};
    assert_true(read_sums(source, &sums));
    return sums.more;
}

static inline void expect(const Source *source, uint64_t rows, int64_t ids, int64_t values)
{
    int64_t until_us = clock_mono_us() + SOON_US;
    Sums sums = {0};
    while (clock_mono_us() < until_us) {
        if (read_sums(source, &sums) && sums.rows == rows && sums.ids == ids &&
            sums.values == values)
            return;
        clock_sleep_us(50000);
    }
    fail_msg("the table has %llu rows, sums %lld and %lld; wanted %llu, %lld, %lld",
             (unsigned long long)sums.rows, (long long)sums.ids, (long long)sums.values,
             (unsigned long long)rows, (long long)ids, (long long)values);
}
