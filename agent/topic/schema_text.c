/* See schema_text.h. */
#include "agent/topic/schema_text.h"

#include <string.h>

#include "agent/topic/literal.h"
#include "agent/topic/scalar.h"
#include "agent/topic/values.h"

static void put_string(Bytes *to, const char *text)
{
    scalar_json_string(to, text, strlen(text));
}

/* `,"name":` or `"name":` */
static void put_member(Bytes *to, const char *name)
{
    uint8_t last = to->used ? to->data[to->used - 1] : 0;
    if (last != '{' && last != '[')
        bytes_put_u8(to, ',');
    put_string(to, name);
    bytes_put_u8(to, ':');
}

static void put_parameters(Bytes *to, const ConnectSchema *schema)
{
    bytes_put_u8(to, '{');
    for (size_t i = 0; i + 1 < ARRAY_LEN(schema->parameters) && schema->parameters[i]; i += 2) {
        put_member(to, schema->parameters[i]);
        put_string(to, schema->parameters[i + 1]);
    }
    bytes_put_u8(to, '}');
}

/* --- JSON --- */

static void json_children(const ConnectSchema *schema, Bytes *to)
{
    if (schema->kind == CONNECT_ARRAY) {
        put_member(to, "items");
        schema_text_json(&schema->children[0], to);
    } else if (schema->kind == CONNECT_MAP) {
        put_member(to, "keys");
        schema_text_json(&schema->children[0], to);
        put_member(to, "values");
        schema_text_json(&schema->children[1], to);
    } else if (schema->kind == CONNECT_STRUCT) {
        put_member(to, "fields");
        bytes_put_u8(to, '[');
        for (uint32_t i = 0; i < schema->child_count; i++) {
            if (i)
                bytes_put_u8(to, ',');
            schema_text_json(&schema->children[i], to);
        }
        bytes_put_u8(to, ']');
    }
}

void schema_text_json(const ConnectSchema *schema, Bytes *to)
{
    static const char *const kinds[] = {"int16",  "int32", "int64", "float", "double", "boolean",
                                        "string", "bytes", "array", "map",   "struct"};
    bytes_put_u8(to, '{');
    put_member(to, "type");
    put_string(to, kinds[schema->kind]);
    json_children(schema, to);
    put_member(to, "optional");
    scalar_put_text(to, schema->optional ? "true" : "false");
    if (schema->name) {
        put_member(to, "name");
        put_string(to, schema->name);
    }
    if (schema->version) {
        put_member(to, "version");
        scalar_put_i64(to, schema->version);
    }
    if (schema->doc) {
        put_member(to, "doc");
        put_string(to, schema->doc);
    }
    if (schema->parameters[0]) {
        put_member(to, "parameters");
        put_parameters(to, schema);
    }
    if (schema->fallback) {
        put_member(to, "default");
        ConnectSchema bare = *schema;
        bare.optional = false;
        json_put_literal(&bare, schema->fallback, to);
    }
    if (schema->field) {
        put_member(to, "field");
        put_string(to, schema->field);
    }
    bytes_put_u8(to, '}');
}

/* --- Avro --- */

typedef struct AvroNames { /* of the records that were written out */
    const char **known;
    size_t count;
} AvroNames;

/* A namespace: what stands before the last dot. */
typedef struct Space {
    const char *at;
    size_t bytes;
} Space;

static Space space_of(const char *name)
{
    const char *dot = strrchr(name, '.');
    return dot ? (Space){name, (size_t)(dot - name)} : (Space){"", 0};
}

static bool space_equal(Space a, Space b)
{
    return a.bytes == b.bytes && memcmp(a.at, b.at, a.bytes) == 0;
}

static const char *last_of(const char *name)
{
    const char *dot = strrchr(name, '.');
    return dot ? dot + 1 : name;
}

static void avro_schema(const ConnectSchema *schema, Space space, AvroNames *names, Bytes *to);

/* A default: JSON, but bytes are a string of their codes. */
static void avro_default(const ConnectSchema *schema, Bytes *to)
{
    if (schema->kind != CONNECT_BYTES) {
        ConnectSchema bare = *schema;
        bare.optional = false;
        json_put_literal(&bare, schema->fallback, to);
        return;
    }
    Bytes text = {0};
    for (size_t i = 0; i < schema->fallback->bytes.bytes; i++) {
        uint8_t byte = schema->fallback->bytes.at[i];
        if (byte >= 0x80)
            bytes_put_u8(&text, (uint8_t)(0xc0 | byte >> 6));
        bytes_put_u8(&text, byte < 0x80 ? byte : (uint8_t)(0x80 | (byte & 0x3f)));
    }
    scalar_json_string(to, text.used ? (const void *)text.data : "", text.used);
    bytes_done(&text);
}

static bool is_plain(const ConnectSchema *schema)
{
    return !schema->name && !schema->version && !schema->fallback && !schema->parameters[0] &&
           !schema->doc && schema->kind != CONNECT_INT16 && schema->kind < CONNECT_ARRAY;
}

static void avro_record(const ConnectSchema *schema, Space space, AvroNames *names, Bytes *to)
{
    Space own = space_of(schema->name);
    put_member(to, "name");
    put_string(to, last_of(schema->name));
    if (!space_equal(own, space)) {
        put_member(to, "namespace");
        scalar_json_string(to, own.at, own.bytes);
    }
    put_member(to, "fields");
    bytes_put_u8(to, '[');
    for (uint32_t i = 0; i < schema->child_count; i++) {
        const ConnectSchema *child = &schema->children[i];
        scalar_put_text(to, i ? ",{" : "{");
        put_member(to, "name");
        put_string(to, child->field);
        put_member(to, "type");
        avro_schema(child, own, names, to);
        if (child->fallback) {
            put_member(to, "default");
            avro_default(child, to);
        } else if (child->optional) {
            put_member(to, "default");
            scalar_put_text(to, "null");
        }
        bytes_put_u8(to, '}');
    }
    bytes_put_u8(to, ']');
}

/* Connect's own logical types that Avro has, too. */
static const char *avro_logical(const ConnectSchema *schema)
{
    static const char *const both[][2] = {
        {"org.apache.kafka.connect.data.Decimal", "decimal"},
        {"org.apache.kafka.connect.data.Date", "date"},
        {"org.apache.kafka.connect.data.Time", "time-millis"},
        {"org.apache.kafka.connect.data.Timestamp", "timestamp-millis"}};
    for (size_t i = 0; schema->name && i < ARRAY_LEN(both); i++)
        if (strcmp(both[i][0], schema->name) == 0)
            return both[i][1];
    return NULL;
}

static void avro_extras(const ConnectSchema *schema, Bytes *to)
{
    const char *logical = avro_logical(schema);
    if (logical && strcmp(logical, "decimal") == 0) {
        put_member(to, "scale");
        scalar_put_text(to, schema->parameters[1]);
        put_member(to, "precision");
        scalar_put_text(to, schema->parameters[2] ? schema->parameters[3] : "64");
    }
    if (schema->doc) {
        put_member(to, "connect.doc");
        put_string(to, schema->doc);
    }
    if (schema->version) {
        put_member(to, "connect.version");
        scalar_put_i64(to, schema->version);
    }
    if (schema->parameters[0]) {
        put_member(to, "connect.parameters");
        put_parameters(to, schema);
    }
    if (schema->fallback) {
        put_member(to, "connect.default");
        avro_default(schema, to);
    }
    if (schema->name) {
        put_member(to, "connect.name");
        put_string(to, schema->name);
    }
    if (schema->kind == CONNECT_INT16) {
        put_member(to, "connect.type");
        put_string(to, "int16");
    }
    if (logical) {
        put_member(to, "logicalType");
        put_string(to, logical);
    }
}

/* Without the union. */
static void avro_type(const ConnectSchema *schema, Space space, AvroNames *names, Bytes *to)
{
    static const char *const kinds[] = {"int",    "int",   "long",  "float", "double", "boolean",
                                        "string", "bytes", "array", "map",   "record"};
    bool is_record = schema->kind == CONNECT_STRUCT;
    for (size_t i = 0; is_record && i < names->count; i++)
        if (strcmp(names->known[i], schema->name) == 0) {
            bool near = space_equal(space_of(schema->name), space);
            put_string(to, near ? last_of(schema->name) : schema->name);
            return;
        }
    if (is_record) {
        names->known = mem_regrow(names->known, names->count + 1, sizeof *names->known);
        names->known[names->count++] = schema->name;
    }
    if (is_plain(schema)) {
        put_string(to, kinds[schema->kind]);
        return;
    }
    bytes_put_u8(to, '{');
    put_member(to, "type");
    put_string(to, kinds[schema->kind]);
    if (is_record) {
        avro_record(schema, space, names, to);
    } else if (schema->kind == CONNECT_ARRAY || schema->kind == CONNECT_MAP) {
        put_member(to, schema->kind == CONNECT_ARRAY ? "items" : "values");
        avro_schema(&schema->children[schema->kind == CONNECT_MAP], space, names, to);
    }
    avro_extras(schema, to);
    bytes_put_u8(to, '}');
}

static void avro_schema(const ConnectSchema *schema, Space space, AvroNames *names, Bytes *to)
{
    if (!schema->optional) {
        avro_type(schema, space, names, to);
        return;
    }
    scalar_put_text(to, schema->fallback ? "[" : "[\"null\",");
    avro_type(schema, space, names, to);
    scalar_put_text(to, schema->fallback ? ",\"null\"]" : "]");
}

void schema_text_avro(const ConnectSchema *schema, Bytes *to)
{
    AvroNames names = {.count = 0};
    ConnectSchema bare = *schema;
    bare.optional = false;
    avro_schema(&bare, (Space){"", 0}, &names, to);
    free(names.known);
}
