/* links: firn_topic */
/* topic_encode_bench TABLE FORMAT ROWS [OUT]: encodes so many changes (four updates to one insert,
 * transactions of 100) of a table and prints "cpu seconds, bytes of keys and values, memory at its
 * highest". The batch is made before the clock starts; it is the same one again and again, as its
 * bytes are the encoders' cost, not its making.
 *
 *   TABLE   accounts  the 144-byte row of the other benches, seven columns
 *           mixed     ten columns: bigint, int, float8, numeric(12,2), timestamptz, date, three
 *                     texts, boolean
 *   FORMAT  json, schema, avro
 *
 * OUT: the first 1,000 records' values, each behind 4 bytes of length, for the peer to write the
 * same. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

#include "agent/topic/topic.h"
#include "common/mem.h"

#define BATCH_ROWS 5000
#define OUT_RECORDS 1000
#define BYTES_MAX ((size_t)1 << 20) /* of records at a time, as a producer would take them */

typedef struct BenchColumn {
    const char *name;
    Type type;
    bool required;
    ColumnType source;
} BenchColumn;

#define NUMERIC_12_2 ((12 << 16 | 2) + 4)

static const BenchColumn accounts[] = {
    {"id", {.kind = TYPE_INT64}, true, {.name = "int8", .modifier = -1}},
    {"bid", {.kind = TYPE_INT32}, true, {.name = "int4", .modifier = -1}},
    {"abalance", {.kind = TYPE_INT32}, true, {.name = "int4", .modifier = -1}},
    {"name", {.kind = TYPE_STRING}, true, {.name = "text", .modifier = -1}},
    {"note", {.kind = TYPE_STRING}, false, {.name = "text", .modifier = -1}},
    {"amount",
     {.kind = TYPE_DECIMAL, .precision = 12, .scale = 2},
     true,
     {.name = "numeric", .modifier = NUMERIC_12_2}},
    {"updated", {.kind = TYPE_TIMESTAMPTZ}, true, {.name = "timestamptz", .modifier = -1}},
};

static const BenchColumn mixed[] = {
    {"id", {.kind = TYPE_INT64}, true, {.name = "int8", .modifier = -1}},
    {"qty", {.kind = TYPE_INT32}, false, {.name = "int4", .modifier = -1}},
    {"price", {.kind = TYPE_FLOAT64}, false, {.name = "float8", .modifier = -1}},
    {"amount",
     {.kind = TYPE_DECIMAL, .precision = 12, .scale = 2},
     false,
     {.name = "numeric", .modifier = NUMERIC_12_2}},
    {"ts", {.kind = TYPE_TIMESTAMPTZ}, false, {.name = "timestamptz", .modifier = -1}},
    {"day", {.kind = TYPE_DATE}, false, {.name = "date", .modifier = -1}},
    {"status", {.kind = TYPE_STRING}, false, {.name = "text", .modifier = -1}},
    {"email", {.kind = TYPE_STRING}, false, {.name = "text", .modifier = -1}},
    {"token", {.kind = TYPE_STRING}, false, {.name = "text", .modifier = -1}},
    {"flag", {.kind = TYPE_BOOL}, false, {.name = "bool", .modifier = -1}},
};

static uint64_t next_random(void)
{
    static uint64_t seed = 42;
    seed = seed * 6364136223846793005u + 1442695040888963407u;
    return seed >> 20;
}

static void put_text(Batch *batch, Column *column, uint32_t row)
{
    static const char *const states[] = {"new", "paid", "shipped", "returned"};
    char text[80];
    const char *name = column->field->name;
    int bytes;
    if (strcmp(name, "status") == 0)
        bytes = snprintf(text, sizeof text, "%s", states[next_random() % 4]);
    else if (strcmp(name, "name") == 0)
        bytes = snprintf(text, sizeof text, "customer %012u", row);
    else if (strcmp(name, "email") == 0)
        bytes = snprintf(text, sizeof text, "user%u@example.com", row);
    else if (strcmp(name, "token") == 0)
        bytes = snprintf(text, sizeof text, "%08x%08x", (unsigned)next_random(),
                         (unsigned)next_random());
    else /* 64, as two MD5s */
        bytes = snprintf(text, sizeof text, "%016" PRIx64 "%016" PRIx64 "%016" PRIx64 "%016" PRIx64,
                         next_random(), next_random(), next_random(), next_random());
    column_put_bytes(batch, column, text, (size_t)bytes);
}

static void put_value(Batch *batch, Column *column, uint32_t row)
{
    switch (column->field->type.kind) {
    case TYPE_INT64:
        column_put_i64(batch, column, 1000000 + row);
        break;
    case TYPE_INT32:
        column_put_i32(batch, column, (int32_t)(next_random() % 100000));
        break;
    case TYPE_DATE:
        column_put_i32(batch, column, 19000 + (int32_t)(next_random() % 1000));
        break;
    case TYPE_FLOAT64: {
        double value = (double)(next_random() % 10000000) / 100;
        memcpy(column_put_fixed(batch, column), &value, sizeof value);
        break;
    }
    case TYPE_DECIMAL:
        column_put_i128(batch, column, (__int128)(next_random() % 100000000));
        break;
    case TYPE_TIMESTAMPTZ:
        column_put_i64(batch, column, 1700000000000000 + (int64_t)(next_random() % 1000000000000));
        break;
    case TYPE_BOOL:
        column_put_bool(batch, column, next_random() % 2);
        break;
    default:
        put_text(batch, column, row);
    }
}

static void write_out(const char *path, const TopicRecords *records)
{
    FILE *file = fopen(path, "wb");
    ASSERT(file);
    for (size_t i = 0; i < records->count && i < OUT_RECORDS; i++) {
        uint32_t bytes = (uint32_t)records->items[i].value.bytes;
        fwrite(&bytes, sizeof bytes, 1, file);
        fwrite(records->bytes.data + records->items[i].value.at, 1, bytes, file);
    }
    fclose(file);
}

/* In KiB, of this program alone: what getrusage says includes who started it. */
static long peak_memory(void)
{
    char line[256];
    long peak = 0;
    FILE *file = fopen("/proc/self/status", "r");
    while (file && fgets(line, sizeof line, file))
        if (strncmp(line, "VmHWM:", 6) == 0)
            peak = strtol(line + 6, NULL, 10);
    if (file)
        fclose(file);
    return peak;
}

static double cpu_seconds(void)
{
    struct rusage usage;
    getrusage(RUSAGE_SELF, &usage);
    return (double)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) +
           (double)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) / 1e6;
}

static Schema *make_schema(const BenchColumn *columns, size_t count, SourceColumn *sources)
{
    Schema *schema = schema_new(count, 1);
    for (size_t i = 0; i < count; i++) {
        schema->fields[i] = (Field){.name = mem_strdup(columns[i].name),
                                    .type = columns[i].type,
                                    .required = columns[i].required};
        sources[i].type = columns[i].source;
    }
    return schema;
}

int main(int argument_count, char **arguments)
{
    if (argument_count < 4)
        return 2;
    bool wide = strcmp(arguments[1], "mixed") == 0;
    size_t count = wide ? ARRAY_LEN(mixed) : ARRAY_LEN(accounts);
    uint64_t wanted = strtoull(arguments[3], NULL, 10), done = 0, bytes = 0;
    TopicOptions options = {.format = strcmp(arguments[2], "avro") == 0     ? TOPIC_AVRO
                                      : strcmp(arguments[2], "schema") == 0 ? TOPIC_JSON_WITH_SCHEMA
                                                                            : TOPIC_JSON};
    SourceColumn sources[16] = {0};
    AUTO(schema_free) Schema *schema = make_schema(wide ? mixed : accounts, count, sources);
    AUTO(batch_free) Batch *batch = batch_new(schema, 0, BATCH_ROWS);
    RowOrigin *about = mem_array(BATCH_ROWS, sizeof *about);
    TransactionOrigin transactions[BATCH_ROWS / 100];
    for (uint32_t row = 0; row < BATCH_ROWS; row++) {
        batch_row_begin(batch, row % 5 ? ROW_UPDATE : ROW_INSERT,
                        (RowPosition){100000 + row / 100, row});
        for (size_t i = 0; i < count; i++)
            put_value(batch, &batch->columns[i], row);
        about[row] = (RowOrigin){.lsn = 37754896 + 320 * (uint64_t)row,
                                 .transaction = row / 100,
                                 .before = ORIGIN_NO_BEFORE};
        transactions[row / 100] = (TransactionOrigin){.id = 70000 + row / 100,
                                                      .last_commit_lsn = 37754896,
                                                      .commit_us = 1700000000000000 + row};
    }
    TopicTableSpec spec = {.topic = "shop.public.accounts",
                           .connector = "shop",
                           .database = "postgres",
                           .schema_name = "public",
                           .table_name = "accounts",
                           .schema = schema,
                           .columns = sources};
    Error err = {0};
    AUTO(topic_table_free) TopicTable *table = topic_table_new(&spec, &options, &err);
    ASSERT(table);
    if (options.format == TOPIC_AVRO)
        topic_table_set_ids(table, 1, 2);
    if (argument_count > 4 && options.format != TOPIC_JSON)
        fprintf(stderr, "%s\n", topic_table_value_schema(table));
    TopicRecords records = {0};
    const Origins origins = {.rows = about, .transactions = transactions};
    TopicRows rows = {batch, &origins, NULL, 1700000001000000};
    double cpu = cpu_seconds();
    for (uint32_t from = 0; done < wanted;) {
        topic_records_clear(&records);
        uint32_t begun = from;
        if (!topic_encode(table, &rows, &from, BYTES_MAX, &records, &err))
            return 1;
        done += from - begun;
        bytes += records.bytes.used;
        if (argument_count > 4 && begun == 0)
            write_out(arguments[4], &records);
        from = from == BATCH_ROWS ? 0 : from;
        rows.now_us++;
    }
    cpu = cpu_seconds() - cpu;
    printf("%.6f %" PRIu64 " %ld\n", cpu * (double)wanted / (double)done, bytes,
           peak_memory() << 10);
    topic_records_done(&records);
    free(about);
    return 0;
}
