/* A table `public.t` of an id and one other column, and its records, for the tests of agent/topic.
 */
#pragma once

#include "tests/unit/unit.h"

#include "agent/topic/topic.h"
#include "common/mem.h"

#define UNUSED __attribute__((unused))

typedef struct OneTable {
    Schema *schema;
    SourceColumn columns[2];
    Batch *batch;
    TopicTable *table;
    RowOrigin row[8];
    TopicSnapshot snapshot[8];
    TransactionOrigin transaction;
    Origins origins;
    TopicRecords records;
} OneTable;

UNUSED static TopicTableSpec one_spec(const OneTable *one)
{
    return (TopicTableSpec){.topic = "c.public.t",
                            .connector = "c",
                            .database = "d",
                            .schema_name = "public",
                            .table_name = "t",
                            .schema = one->schema,
                            .columns = one->columns,
                            .version = 3};
}

/* The type is taken over. */
UNUSED static void one_make(OneTable *one, Type type, ColumnType source,
                            const TopicOptions *options)
{
    Error err = {0};
    *one = (OneTable){.schema = schema_new(2, 1)};
    one->schema->fields[0] =
        (Field){.name = mem_strdup("id"), .type.kind = TYPE_INT64, .required = true};
    one->schema->fields[1] = (Field){.name = mem_strdup("v"), .type = type};
    one->schema->key[0] = 0;
    one->columns[0].type = (ColumnType){.name = "int8", .modifier = -1};
    one->columns[1].type = source;
    one->batch = batch_new(one->schema, 0, 8);
    for (size_t i = 0; i < 8; i++)
        one->row[i] = (RowOrigin){.lsn = 200 + i, .before = ORIGIN_NO_BEFORE};
    one->transaction =
        (TransactionOrigin){.id = 77, .last_commit_lsn = 100, .commit_us = 1700000000123456};
    TopicTableSpec spec = one_spec(one);
    one->table = topic_table_new(&spec, options, &err);
    if (!one->table)
        fail_msg("%s: %s", err.code, err.message);
    if (options->format == TOPIC_AVRO)
        topic_table_set_ids(one->table, 7, 0x01020304);
}

UNUSED static void one_done(OneTable *one)
{
    topic_table_free(one->table);
    topic_records_done(&one->records);
    batch_free(one->batch);
    schema_free(one->schema);
}

/* The next row's id; its other value is to be put. */
UNUSED static Column *one_row(OneTable *one, RowOp op, int64_t id)
{
    uint32_t row = one->batch->row_count;
    RowPosition at = {0x1000, row + (row && one->batch->ops[row - 1] == ROW_MOVE ? 0 : 1)};
    batch_row_begin(one->batch, op, at);
    column_put_i64(one->batch, &one->batch->columns[0], id);
    return &one->batch->columns[1];
}

/* Without old images. */
UNUSED static TopicRows one_rows(OneTable *one)
{
    one->origins = (Origins){.rows = one->row, .transactions = &one->transaction};
    return (TopicRows){one->batch, &one->origins, one->snapshot, 1700000001000001};
}

UNUSED static bool one_encode(OneTable *one, Error *err)
{
    TopicRows rows = one_rows(one);
    one->origins.before = one->batch;
    uint32_t from = 0;
    topic_records_clear(&one->records);
    bool done = topic_encode(one->table, &rows, &from, SIZE_MAX, &one->records, err);
    if (done)
        assert_int_equal(from, one->batch->row_count);
    return done;
}

/* A NUL behind it; valid until the next call. */
UNUSED static const char *one_text(const OneTable *one, TopicSpan span)
{
    static char text[65536];
    assert_true(span.bytes < sizeof text && span.at + span.bytes <= one->records.bytes.used);
    memcpy(text, one->records.bytes.data + span.at, span.bytes);
    text[span.bytes] = '\0';
    return text;
}
