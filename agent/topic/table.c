/* A table's records: what is made once. rows.c appends them. */
#include "agent/topic/table_private.h"

#include <string.h>

#include "agent/topic/name.h"
#include "agent/topic/scalar.h"
#include "common/mem.h"

void topic_table_free(TopicTable *table)
{
    if (!table)
        return;
    frame_done(&table->key_frame);
    frame_done(&table->value_frame);
    source_block_done(&table->source);
    value_scratch_done(&table->scratch);
    bytes_done(&table->key_text);
    bytes_done(&table->value_text);
    bytes_done(&table->partition_key);
    bytes_done(&table->times);
    bytes_done(&table->open_new);
    bytes_done(&table->open_old);
    for (size_t i = 0; i < TABLE_OPS; i++)
        bytes_done(&table->endings[i]);
    arena_free(table->arena);
    free(table);
}

static Piece piece_of(Arena *arena, Bytes *made)
{
    Piece piece = {(const uint8_t *)arena_strndup(arena, made->used ? (const char *)made->data : "",
                                                  made->used),
                   made->used};
    bytes_clear(made);
    return piece;
}

static Piece literal_piece(const TopicTable *table, const ConnectSchema *column,
                           const Literal *literal, Bytes *made)
{
    if (table->avro)
        avro_put_literal(column, literal, made);
    else
        json_put_literal(column, literal, made);
    return piece_of(table->arena, made);
}

/* What stands for a value that isn't there. */
static void make_stand_ins(const TopicTable *table, ConnectSchema *column, bool required)
{
    Bytes made = {0};
    const Literal none = {.none = true};
    Literal empty = literal_empty(table->arena, column), unavailable;
    const Literal *fallback = column->fallback;
    bool as_default = fallback && table->options.nulls_as_defaults;
    if (column->optional)
        column->null = literal_piece(table, column, as_default ? fallback : &none, &made);
    column->absent = !required ? column->null
                               : literal_piece(table, column, fallback ? fallback : &empty, &made);
    bool known =
        literal_unavailable(table->arena, column, table->options.placeholder, &unavailable);
    column->unavailable =
        known ? literal_piece(table, column, &unavailable, &made) : column->absent;
    bytes_done(&made);
}

static void make_prefix(const TopicTable *table, ConnectSchema *column, bool first)
{
    Bytes made = {0};
    bytes_put_u8(&made, first ? '{' : ',');
    scalar_json_string(&made, column->field, strlen(column->field));
    bytes_put_u8(&made, ':');
    size_t bytes = made.used;
    bytes_put(&made, (const char[SCALAR_PADDING]){0}, SCALAR_PADDING);
    column->prefix = piece_of(table->arena, &made);
    column->prefix.bytes = bytes;
    bytes_done(&made);
}

static const char *adjusted(Arena *arena, const char *name, TopicAdjust adjust, bool field)
{
    AUTO(mem_free) char *text = topic_adjust(name, adjust, field);
    return arena_text(arena, "%s", text);
}

static bool name_taken(const ConnectSchema *value, const char *name, const TopicTableSpec *spec,
                       Error *err)
{
    for (uint32_t i = 0; i < value->child_count; i++)
        if (strcmp(value->children[i].field, name) == 0)
            return !error_set(err, ERROR_CONFIG, "NameTaken",
                              "table %s.%s: two columns would be called %s in Avro; rename one, or "
                              "set the adjustment of names to unicode",
                              spec->schema_name, spec->table_name, name);
    return false;
}

/* All columns, in their order. */
static bool make_value(TopicTable *table, const TopicTableSpec *spec, Error *err)
{
    const Schema *schema = spec->schema;
    const TopicOptions *options = &table->options;
    ConnectSchema *value =
        connect_struct(table->arena,
                       adjusted(table->arena, arena_text(table->arena, "%s.Value", spec->topic),
                                options->schema_names, false),
                       0, (uint32_t)schema->field_count);
    value->child_count = 0;
    value->optional = true;
    table->value = value;
    for (uint32_t i = 0; i < schema->field_count; i++) {
        const Field *field = &schema->fields[i];
        ConnectSchema *column = &value->children[value->child_count];
        const ColumnType *source = &spec->columns[i].type;
        const char *path = arena_text(table->arena, "%s.columns.%s", spec->topic, field->name);
        bool known;
        if (!connect_column(table->arena, field, source, options, path, column, &known, err))
            return error_wrap(err, "table %s.%s", spec->schema_name, spec->table_name);
        if (!known && options->unknown == TOPIC_UNKNOWN_OMIT)
            continue;
        const char *name = adjusted(table->arena, field->name, options->field_names, true);
        if (name_taken(value, name, spec, err))
            return false;
        column->field = name;
        column->column = i;
        column->fallback = literal_default(table->arena, options->source, column, source,
                                           spec->columns[i].default_expression);
        if (column->fallback && column->optional) {
            column->there = 0;
            column->none = 2;
        }
        make_prefix(table, column, value->child_count == 0);
        make_stand_ins(table, column, field->required);
        value->child_count++;
    }
    return true;
}

static bool make_key(TopicTable *table, const TopicTableSpec *spec, Error *err)
{
    const uint32_t *key = spec->key ? spec->key : spec->schema->key;
    size_t count = spec->key ? spec->key_count : spec->schema->key_count;
    table->is_key = arena_take(table->arena, spec->schema->field_count + 1);
    memset(table->is_key, 0, spec->schema->field_count + 1);
    /* What an old row has is told by the schema's key, whatever the record's key is. */
    for (size_t i = 0; i < spec->schema->key_count; i++)
        table->is_key[spec->schema->key[i]] = true;
    if (!count)
        return true;
    ConnectSchema *schema =
        connect_struct(table->arena,
                       adjusted(table->arena, arena_text(table->arena, "%s.Key", spec->topic),
                                table->options.schema_names, false),
                       0, (uint32_t)count);
    for (size_t i = 0; i < count; i++) {
        const ConnectSchema *column = NULL;
        for (uint32_t k = 0; k < table->value->child_count; k++)
            if (table->value->children[k].column == key[i])
                column = &table->value->children[k];
        if (!column)
            return error_set(err, ERROR_CONFIG, "NoSuchType",
                             "table %s.%s: the key's column %s has a type that is left out",
                             spec->schema_name, spec->table_name,
                             spec->schema->fields[key[i]].name);
        schema->children[i] = *column;
        make_prefix(table, &schema->children[i], i == 0);
    }
    table->key = schema;
    return true;
}

/* What stands before the new row where there is no old one, and before the old one. */
static void make_openings(TopicTable *table)
{
    const Bytes *open = &table->value_frame.open;
    bytes_clear(&table->open_new);
    bytes_clear(&table->open_old);
    bytes_put(&table->open_new, open->data, open->used);
    bytes_put(&table->open_old, open->data, open->used);
    if (table->avro) {
        bytes_put_u8(&table->open_new, 0);
        return;
    }
    scalar_put_text(&table->open_new, "{\"before\":null,\"after\":");
    scalar_put_text(&table->open_old, "{\"before\":");
}

TopicTable *topic_table_new(const TopicTableSpec *spec, const TopicOptions *options, Error *err)
{
    TopicTable *table = mem_zalloc(sizeof *table);
    table->arena = arena_new(16384);
    table->options = *options;
    TopicOptions *own = &table->options;
    table->avro = own->format == TOPIC_AVRO;
    own->placeholder =
        arena_text(table->arena, "%s", own->placeholder ? own->placeholder : TOPIC_PLACEHOLDER);
    own->version =
        arena_text(table->arena, "%s", own->version ? own->version : TOPIC_DEBEZIUM_VERSION);
    if (table->avro && own->schema_names == TOPIC_ADJUST_NONE)
        own->schema_names = TOPIC_ADJUST_AVRO;
    if (table->avro && own->field_names == TOPIC_ADJUST_NONE)
        own->field_names = TOPIC_ADJUST_AVRO;
    table->schema = spec->schema;
    table->version = spec->version;
    table->name = arena_text(table->arena, "%s.%s", spec->schema_name, spec->table_name);
    if (!make_value(table, spec, err) || !make_key(table, spec, err)) {
        topic_table_free(table);
        return NULL;
    }
    const char *name = adjusted(table->arena, arena_text(table->arena, "%s.Envelope", spec->topic),
                                own->schema_names, false);
    envelope_schema_text(own->format,
                         envelope_schema(table->arena, own->source, name, table->value),
                         &table->value_text);
    if (table->key) {
        envelope_schema_text(own->format, table->key, &table->key_text);
        frame_init(&table->key_frame, own->format, (const char *)table->key_text.data);
    }
    frame_init(&table->value_frame, own->format, (const char *)table->value_text.data);
    source_block_init(&table->source, own->source, table->avro, own->version, spec->connector,
                      spec->database, spec->schema_name, spec->table_name);
    make_openings(table);
    return table;
}

const char *topic_table_key_schema(const TopicTable *table)
{
    return table->key ? (const char *)table->key_text.data : NULL;
}

const char *topic_table_value_schema(const TopicTable *table)
{
    return (const char *)table->value_text.data;
}

void topic_table_set_ids(TopicTable *table, uint32_t key_id, uint32_t value_id)
{
    if (table->key)
        frame_set_id(&table->key_frame, key_id);
    frame_set_id(&table->value_frame, value_id);
    make_openings(table);
}
