/* links: firn_event */
/* A record as anybody may write it: JSON without its schema, of columns that are known or declared,
 * and with it, Avro, Protobuf, a schema of theirs that a registry gives, our header. The first byte
 * says which. Whatever comes, the batch is left with a row or without one, every column alike. */
#include <stdlib.h>

#include "agent/event/event.h"
#include "common/manifest/manifest.h"
#include "common/mem.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define COLUMNS                                                                                    \
    "{\"type\":\"int32\",\"field\":\"id\"},{\"type\":\"string\",\"optional\":true,\"field\":"      \
    "\"s\"},{\"type\":\"double\",\"optional\":true,\"field\":\"d\"},{\"type\":\"bytes\","          \
    "\"optional\":true,\"name\":\"org.apache.kafka.connect.data.Decimal\",\"parameters\":{"        \
    "\"scale\":\"2\",\"connect.decimal.precision\":\"9\"},\"field\":\"n\"},{\"type\":\"string\","  \
    "\"optional\":true,\"name\":\"io.debezium.time.ZonedTimestamp\",\"field\":\"t\"},{\"type\":"   \
    "\"array\",\"items\":{\"type\":\"struct\",\"optional\":true,\"fields\":[{\"type\":\"int64\","  \
    "\"optional\":true,\"field\":\"x\"},{\"type\":\"map\",\"keys\":{\"type\":\"string\"},"         \
    "\"values\":{\"type\":\"boolean\",\"optional\":true},\"optional\":true,\"field\":\"m\"}]},"    \
    "\"optional\":true,\"field\":\"a\"},{\"type\":\"struct\",\"name\":"                            \
    "\"io.debezium.data.VariableScaleDecimal\",\"fields\":[{\"type\":\"int32\",\"field\":"         \
    "\"scale\"},{\"type\":\"bytes\",\"field\":\"value\"}],\"optional\":true,\"field\":\"v\"}"
#define IMAGE(name)                                                                                \
    "{\"type\":\"struct\",\"optional\":true,\"field\":\"" name "\",\"fields\":[" COLUMNS "]}"

static const char value_schema[] = "{\"type\":\"struct\",\"fields\":[" IMAGE("before") "," IMAGE(
    "after") ",{\"type\":\"string\",\"field\":\"op\"}]}";
static const char key_schema[] =
    "{\"type\":\"struct\",\"fields\":[{\"type\":\"int32\",\"field\":\"id\"}]}";

#define AVRO_ROW                                                                                   \
    "{\"type\":\"record\",\"name\":\"V\",\"fields\":[{\"name\":\"id\",\"type\":\"int\"},{"         \
    "\"name\":\"s\",\"type\":[\"null\",\"string\"]},{\"name\":\"e\",\"type\":{\"type\":\"enum\","  \
    "\"name\":\"E\",\"symbols\":[\"a\",\"b\"]}},{\"name\":\"f\",\"type\":{\"type\":\"fixed\","     \
    "\"name\":\"F\",\"size\":3}},{\"name\":\"l\",\"type\":{\"type\":\"array\",\"items\":["         \
    "\"null\","                                                                                    \
    "\"double\"]}},{\"name\":\"m\",\"type\":{\"type\":\"map\",\"values\":\"bytes\"}},{\"name\":"   \
    "\"n\",\"type\":{\"type\":\"bytes\",\"logicalType\":\"decimal\",\"precision\":40,\"scale\":3}" \
    "}"                                                                                            \
    "]}"
static const char avro_schema[] =
    "{\"type\":\"record\",\"name\":\"Envelope\",\"fields\":[{\"name\":\"before\",\"type\":["
    "\"null\"," AVRO_ROW "]},{\"name\":\"after\",\"type\":[\"null\",\"V\"]},{\"name\":\"source\","
    "\"type\":{\"type\":\"record\",\"name\":\"S\",\"fields\":[{\"name\":\"ts_ms\",\"type\":"
    "\"long\"}]}},{\"name\":\"op\",\"type\":\"string\"}]}";

static const char proto_schema[] =
    "syntax = \"proto3\"; message M { int32 a = 1; string s = 2; repeated sint64 l = 3; "
    "map<string, "
    "M2> m = 4; oneof o { bytes x = 5; M2 n = 6; } google.protobuf.Timestamp t = 7; "
    "google.protobuf.StringValue w = 8; enum E { A = 0; B = 5; } repeated E e = 9; message M2 { "
    "optional double d = 1; repeated M3 deep = 2; } message M3 { uint64 u = 1; fixed32 f = 2; } }";

static const uint8_t *given;
static size_t given_bytes;

static bool fetch(void *context, uint32_t id, WriterSchema *ret, Error *err)
{
    (void)context;
    if (id == 404)
        return error_set(err, ERROR_DATA, "UnknownSchemaId", "none");
    ret->text = id == 1   ? mem_strdup(avro_schema)
                : id == 3 ? mem_strdup(proto_schema)
                          : mem_strndup((const char *)given, given_bytes);
    return true;
}

static void check(const Batch *batch)
{
    for (uint32_t i = 0; i < batch->column_count; i++)
        if (batch->columns[i].rows != batch->row_count)
            abort();
}

static void decode(EventReader *reader, const Schema *columns, const EventRecord *record)
{
    Event event;
    Error err = {0};
    AUTO(batch_free) Batch *batch = batch_new(columns, 0, 4);
    for (int i = 0; i < 2; i++) {
        bool ok = event_decode(reader, record, batch, &event, &err);
        if (batch->row_count != (ok && event.kind == EVENT_ROW ? 1u : 0u))
            abort();
        check(batch);
        if (batch->row_count)
            batch_row_undo(batch);
        check(batch);
    }
}

static void try_reader(const EventOptions *options, const EventRecord *first,
                       const EventRecord *record)
{
    Error err = {0};
    AUTO(event_reader_free) EventReader *reader = event_reader_new(options, &err);
    AUTO(schema_free) Schema *columns = NULL;
    if (!reader || !event_wanted(reader, first, &columns, &err) || !columns ||
        !columns->field_count)
        return;
    event_reader_target(reader, columns);
    decode(reader, columns, record);
}

/* An envelope without its schema, with the columns' forms that are this reader's alone; and where
 * its key counts. */
static void try_declared(const EventRecord *record)
{
    static const RecordsSpec records[] = {{.time = RECORD_TIME_CONNECT},
                                          {.time = RECORD_TIME_NANOSECONDS,
                                           .decimal = RECORD_DECIMAL_STRING,
                                           .binary = RECORD_BINARY_HEX}};
    static const Type types[] = {{.kind = TYPE_INT64},
                                 {.kind = TYPE_DECIMAL, .precision = 9, .scale = 2},
                                 {.kind = TYPE_TIMESTAMP},
                                 {.kind = TYPE_BINARY},
                                 {.kind = TYPE_STRING}};
    for (size_t i = 0; i < ARRAY_LEN(records); i++) {
        AUTO(schema_free) Schema *columns = schema_new(ARRAY_LEN(types), i);
        for (size_t k = 0; k < columns->field_count; k++) {
            columns->fields[k].name = mem_format("%c", (char)('a' + k));
            columns->fields[k].type = types[k];
        }
        try_reader(
            &(EventOptions){.format = EVENT_JSON, .columns = columns, .records = &records[i]}, NULL,
            record);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (!size)
        return 0;
    uint8_t which = *data++ % 8;
    size--;
    const EventOptions fixed = {
        .format = EVENT_JSON, .value_schema = value_schema, .key_schema = key_schema};
    const EventOptions avro = {.format = EVENT_AVRO, .fetch = fetch};
    const EventOptions proto = {.format = EVENT_PROTOBUF, .plain = true, .fetch = fetch};
    EventRecord record = {.key = data, .key_bytes = size, .value = data, .value_bytes = size};
    if (which == 0)
        try_reader(&fixed, NULL, &record);
    if (which == 1)
        try_reader(&(EventOptions){.format = EVENT_JSON}, &record, &record);
    if (which == 2) {
        uint8_t *framed = mem_alloc(size + 5);
        memcpy(framed, "\0\0\0\0\1", 5);
        if (size)
            memcpy(framed + 5, data, size);
        const EventRecord first = {.value = framed, .value_bytes = 5};
        record = (EventRecord){.value = framed, .value_bytes = size + 5};
        try_reader(&avro, &first, &record);
        free(framed);
    }
    if (which == 3) { /* the input is the schema */
        given = data;
        given_bytes = size;
        static const uint8_t framed[32] = {0, 0, 0, 0, 2, 0, 2, 2, 2, 2};
        record = (EventRecord){.value = framed, .value_bytes = sizeof framed};
        try_reader(&avro, &record, &record);
    }
    if (which == 5) { /* the input is a message */
        uint8_t *framed = mem_alloc(size + 6);
        memcpy(framed, "\0\0\0\0\3\0", 6);
        if (size)
            memcpy(framed + 6, data, size);
        record = (EventRecord){.value = framed, .value_bytes = size + 6};
        try_reader(&proto, &record, &record);
        free(framed);
    }
    if (which == 6) { /* … a .proto file */
        given = data;
        given_bytes = size;
        static const uint8_t framed[] = {0, 0, 0,    0, 2,   0,    8,    1,    0x12, 2,
                                         8, 1, 0x1a, 1, 65,  8,    2,    0x22, 0,    9,
                                         1, 2, 3,    4, 0x5, 0x6f, 0x70, 0x71};
        record = (EventRecord){.value = framed, .value_bytes = sizeof framed};
        try_reader(&proto, &record, &record);
    }
    if (which == 7)
        try_declared(&record);
    if (which == 4) {
        record.header = data;
        record.header_bytes = size < 25 ? size : 25;
        try_reader(&fixed, NULL, &record);
    }
    return 0;
}
