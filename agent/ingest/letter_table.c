/* A table of dead letters: one row for each record that could not be read, known by its place. See
 * agent/topic/letter.h for what its topic holds. */
#include <jansson.h>
#include <string.h>

#include "agent/ingest/flow.h"
#include "agent/topic/letter.h"
#include "common/mem.h"

enum LetterColumn {
    COLUMN_TOPIC,
    COLUMN_SOURCE,
    COLUMN_PARTITION,
    COLUMN_OFFSET,
    COLUMN_WRITTEN,
    COLUMN_CODE,
    COLUMN_REASON,
    COLUMN_KEY,
    COLUMN_VALUE,
    COLUMN_HEADERS,
    LETTER_COLUMNS
};

static const struct {
    const char *name, *doc;
    TypeKind kind;
    bool is_key;
} columns[LETTER_COLUMNS] = {
    [COLUMN_TOPIC] = {"topic", "the topic that the record was read from", TYPE_STRING, false},
    [COLUMN_SOURCE] = {"topic_source", "cluster, topic and the topic's id", TYPE_STRING, true},
    [COLUMN_PARTITION] = {"topic_partition", "its partition", TYPE_INT32, true},
    [COLUMN_OFFSET] = {"topic_offset", "its offset", TYPE_INT64, true},
    [COLUMN_WRITTEN] = {"written_at", "the record's own time", TYPE_TIMESTAMPTZ, false},
    [COLUMN_CODE] = {"code", "what kind of reason", TYPE_STRING, false},
    [COLUMN_REASON] = {"reason", "why it is no row", TYPE_STRING, false},
    [COLUMN_KEY] = {"key", "the record's key, as it was", TYPE_BINARY, false},
    [COLUMN_VALUE] = {"value", "its value, as it was", TYPE_BINARY, false},
    [COLUMN_HEADERS] = {"headers", "its headers, in their order", TYPE_LIST, false}};

char *feed_letters_topic(const IngestionUnitSpec *unit)
{
    return mem_format("firn-%s-%s-letters", unit->meta.namespace_name, unit->meta.name);
}

static Type type_of_headers(void)
{
    Type list = type_nested(TYPE_LIST, 1);
    list.element->type = type_nested(TYPE_STRUCT, 2);
    Field *fields = list.element->type.fields;
    fields[0].name = mem_strdup("name");
    fields[0].type.kind = TYPE_STRING;
    fields[1].name = mem_strdup("value");
    fields[1].type.kind = TYPE_BINARY;
    return list;
}

Schema *feed_letter_columns(void)
{
    Schema *schema = schema_new(LETTER_COLUMNS, 3);
    size_t keys = 0;
    for (uint32_t i = 0; i < LETTER_COLUMNS; i++) {
        Field *field = &schema->fields[i];
        field->name = mem_strdup(columns[i].name);
        field->doc = mem_strdup(columns[i].doc);
        field->type =
            columns[i].kind == TYPE_LIST ? type_of_headers() : (Type){.kind = columns[i].kind};
        field->required = columns[i].is_key;
        if (columns[i].is_key)
            schema->key[keys++] = i;
    }
    ASSERT(keys == schema->key_count);
    return schema;
}

static void put_text(Batch *batch, enum LetterColumn at, const json_t *head, const char *name)
{
    const json_t *text = json_object_get(head, name);
    Column *column = &batch->columns[at];
    if (json_is_string(text))
        column_put_bytes(batch, column, json_string_value(text), json_string_length(text));
    else
        column_put_null(batch, column);
}

static void put_binary(Batch *batch, Column *column, const void *value, size_t bytes)
{
    if (value)
        column_put_bytes(batch, column, value, bytes);
    else
        column_put_null(batch, column);
}

/* A header's name is any bytes; a text is UTF-8. */
static void put_name(Batch *batch, Column *column, const char *name)
{
    json_t *text = json_string(name);
    AUTO(mem_free) char *plain = mem_strdup(name);
    for (char *at = plain; !text && *at; at++)
        if ((uint8_t)*at >= 0x80)
            *at = '?';
    column_put_bytes(batch, column, plain, strlen(plain));
    json_decref(text);
}

static void put_headers(Batch *batch, const KafkaHeard *heard)
{
    Column *list = &batch->columns[COLUMN_HEADERS], *each = list->child;
    const char *name;
    const void *value;
    size_t bytes;
    for (size_t i = 0; kafka_heard_header_at(heard, i, &name, &value, &bytes); i++) {
        if (strcmp(name, LETTER_HEADER) == 0)
            continue;
        column_element_room(batch, each);
        put_name(batch, &each->child[0], name);
        put_binary(batch, &each->child[1], value, bytes);
        column_put_struct(batch, each);
    }
    column_put_list(batch, list);
}

static bool is_letter(const json_t *head)
{
    json_int_t partition = json_integer_value(json_object_get(head, "partition"));
    return json_is_string(json_object_get(head, "topic")) &&
           json_is_string(json_object_get(head, "source")) &&
           json_is_integer(json_object_get(head, "partition")) && partition >= 0 &&
           partition <= INT32_MAX && json_is_integer(json_object_get(head, "offset"));
}

bool feed_letter_row(const KafkaHeard *heard, Batch *batch)
{
    size_t bytes = 0;
    const char *text = kafka_heard_header(heard, LETTER_HEADER, &bytes);
    json_t *head = text ? json_loadb(text, bytes, 0, NULL) : NULL;
    bool ok = is_letter(head);
    if (ok) {
        const json_t *written = json_object_get(head, "written");
        (void)batch_row_begin(batch, ROW_INSERT, (RowPosition){heard->offset, heard->partition});
        put_text(batch, COLUMN_TOPIC, head, "topic");
        put_text(batch, COLUMN_SOURCE, head, "source");
        column_put_i32(batch, &batch->columns[COLUMN_PARTITION],
                       (int32_t)json_integer_value(json_object_get(head, "partition")));
        column_put_i64(batch, &batch->columns[COLUMN_OFFSET],
                       json_integer_value(json_object_get(head, "offset")));
        if (json_is_integer(written) && llabs(json_integer_value(written)) < INT64_MAX / 1000)
            column_put_i64(batch, &batch->columns[COLUMN_WRITTEN],
                           json_integer_value(written) * 1000);
        else
            column_put_null(batch, &batch->columns[COLUMN_WRITTEN]);
        put_text(batch, COLUMN_CODE, head, "code");
        put_text(batch, COLUMN_REASON, head, "reason");
        put_binary(batch, &batch->columns[COLUMN_KEY], heard->key, heard->key_bytes);
        put_binary(batch, &batch->columns[COLUMN_VALUE], heard->value, heard->value_bytes);
        put_headers(batch, heard);
    }
    json_decref(head);
    return ok;
}
