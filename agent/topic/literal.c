/* See literal.h. Defaults are read as Debezium reads them (its PostgresDefaultValueConverter): a
 * constant is what stands in the first quotes, or all of it; what is computed by a function is a
 * stand-in of its type; other types have none. */
#include "agent/topic/literal.h"

#include <openssl/evp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "agent/topic/numeric.h"
#include "agent/topic/parse.h"
#include "agent/topic/scalar.h"

static Piece piece_copy(Arena *arena, const void *at, size_t bytes)
{
    return (Piece){(const uint8_t *)arena_strndup(arena, at, bytes), bytes};
}

static Piece piece_text(const char *text)
{
    return (Piece){(const uint8_t *)text, strlen(text)};
}

/* --- empty --- */

static Literal empty_struct(Arena *arena, const ConnectSchema *schema)
{
    Literal literal = {.items = arena_take(arena, schema->child_count * sizeof *literal.items),
                       .item_count = schema->child_count};
    /* EWKB: a point at 0,0; an empty collection */
    static const uint8_t point[21] = {1, 1}, collection[9] = {1, 7};
    memset(literal.items, 0, schema->child_count * sizeof *literal.items);
    bool is_point = schema->form == AS_POINT || schema->form == AS_MYSQL_POINT;
    bool is_geometry = schema->form == AS_GEOMETRY || schema->form == AS_MYSQL_GEOMETRY;
    if (is_point)
        literal.items[2].bytes = (Piece){point, sizeof point};
    else if (is_geometry)
        literal.items[0].bytes = (Piece){collection, sizeof collection};
    else if (schema->form == AS_NUMERIC_VARIABLE)
        literal.items[1].bytes = (Piece){(const uint8_t *)"", 1};
    else
        for (uint32_t i = 0; i < schema->child_count; i++)
            literal.items[i].none = true;
    if (is_point || is_geometry)
        literal.items[schema->child_count - 1].none = true; /* the SRID */
    return literal;
}

Literal literal_empty(Arena *arena, const ConnectSchema *schema)
{
    unsigned scale = schema->scale > 0 ? (unsigned)schema->scale : 0;
    switch (schema->form) {
    case AS_DECIMAL_BYTES:
    case AS_NUMERIC_BYTES:
        return (Literal){.bytes = {(const uint8_t *)"", 1}}; /* one zero byte */
    case AS_DECIMAL_TEXT: {
        char text[NUMERIC_TEXT_BYTES];
        return (Literal){.bytes = piece_copy(arena, text, numeric_text(text, 0, scale))};
    }
    case AS_ZONED_TIMESTAMP:
        return (Literal){.bytes = piece_text("1970-01-01T00:00:00Z")};
    case AS_ZONED_TIME:
        return (Literal){.bytes = piece_text("00:00:00Z")};
    case AS_INTERVAL_TEXT:
        return (Literal){.bytes = piece_text("P0Y0M0DT0H0M0S")};
    case AS_PAIRS_TEXT:
        return (Literal){.bytes = piece_text("{}")};
    case AS_TEXT:
        if (schema->is_number && scale < NUMERIC_TEXT_BYTES - 2) {
            char text[NUMERIC_TEXT_BYTES];
            return (Literal){.bytes = piece_copy(arena, text, numeric_text(text, 0, scale))};
        }
        return (Literal){.bytes = piece_text(schema->is_number ? "0" : "")};
    default:
        if (schema->kind == CONNECT_STRUCT)
            return empty_struct(arena, schema);
        return (Literal){.bytes = piece_text("")};
    }
}

/* --- left out by an update --- */

/* Java's UUID.nameUUIDFromBytes: MD5, marked as version 3. */
static Piece name_uuid(Arena *arena, const char *name)
{
    uint8_t digest[EVP_MAX_MD_SIZE] = {0};
    unsigned bytes = 0;
    if (!EVP_Digest(name, strlen(name), digest, &bytes, EVP_md5(), NULL))
        memset(digest, 0, sizeof digest); /* a library that forbids MD5: the nil UUID */
    digest[6] = (uint8_t)((digest[6] & 0x0f) | 0x30);
    digest[8] = (uint8_t)((digest[8] & 0x3f) | 0x80);
    char text[36];
    scalar_uuid(text, digest);
    return piece_copy(arena, text, sizeof text);
}

static bool unavailable_list(Arena *arena, const ConnectSchema *element, const char *placeholder,
                             Literal *ret)
{
    size_t count = 1;
    bool codes = element->form == AS_INTEGER && !element->name;
    if (codes)
        count = strlen(placeholder);
    *ret = (Literal){.items = arena_take(arena, (count + 1) * sizeof *ret->items),
                     .item_count = (uint32_t)count};
    memset(ret->items, 0, (count + 1) * sizeof *ret->items);
    if (codes) {
        for (size_t i = 0; i < count; i++)
            ret->items[i].integer = (unsigned char)placeholder[i];
        return true;
    }
    if (element->form == AS_UUID_TEXT) {
        ret->items[0].bytes = name_uuid(arena, placeholder);
        return true;
    }
    if (element->kind == CONNECT_ARRAY)
        return false;
    return literal_unavailable(arena, element, placeholder, &ret->items[0]);
}

bool literal_unavailable(Arena *arena, const ConnectSchema *schema, const char *placeholder,
                         Literal *ret)
{
    Piece text = piece_copy(arena, placeholder, strlen(placeholder));
    *ret = (Literal){.bytes = text};
    switch (schema->form) {
    case AS_TEXT:
        return !schema->is_number;
    case AS_BINARY:
    case AS_BINARY_BASE64:
    case AS_BINARY_BASE64_URL:
    case AS_BINARY_HEX:
        return true;
    case AS_PAIRS_TEXT: {
        Bytes json = {0};
        bytes_put_u8(&json, '{');
        scalar_json_string(&json, text.at, text.bytes);
        bytes_put_u8(&json, ':');
        scalar_json_string(&json, text.at, text.bytes);
        bytes_put_u8(&json, '}');
        ret->bytes = piece_copy(arena, json.data, json.used);
        bytes_done(&json);
        return true;
    }
    case AS_PAIRS:
        ret->items = arena_take(arena, 2 * sizeof *ret->items);
        ret->items[0] = ret->items[1] = (Literal){.bytes = text};
        ret->item_count = 2;
        return true;
    case AS_ELEMENTS:
        return unavailable_list(arena, &schema->children[0], placeholder, ret);
    default:
        return false;
    }
}

/* --- a column's default --- */

/* "now()", "(pg_catalog.nextval('s'::regclass))::int4", CURRENT_DATE … */
static bool is_computed(const char *expression)
{
    static const char *const words[] = {"current_timestamp", "current_time", "current_date",
                                        "localtime", "localtimestamp"};
    for (size_t i = 0; i < ARRAY_LEN(words); i++)
        if (strcasecmp(expression, words[i]) == 0)
            return true;
    expression += *expression == '(';
    size_t name =
        strspn(expression, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_.");
    return name && expression[name] == '(' && strchr(expression + name, ')');
}

/* What the expression says, or the stand-in; NULL: null. */
static const char *constant(Arena *arena, const char *expression, const char *computed)
{
    if (computed && is_computed(expression))
        return computed;
    const char *quote = strchr(expression, '\'');
    if (!quote)
        return strncmp(expression, "NULL::", 6) == 0 ? NULL : expression;
    char *text = arena_strndup(arena, quote + 1, strlen(quote + 1)), *to = text;
    for (const char *at = text; *at; at++) {
        if (*at == '\'' && at[1] != '\'')
            break;
        at += *at == '\'';
        *to++ = *at;
    }
    *to = '\0';
    return text;
}

static bool integer_default(const char *text, Literal *ret)
{
    char *end;
    if (strcmp(text, "true") == 0 || strcmp(text, "false") == 0) {
        ret->integer = *text == 't';
        return true;
    }
    ret->integer = strtoll(text, &end, 10);
    return end != text && *end == '\0';
}

static bool numeric_default(Arena *arena, const ConnectSchema *schema, const char *text,
                            Literal *ret)
{
    char *end;
    ret->real = strtod(text, &end);
    if (end == text || *end)
        return false;
    if (schema->kind == CONNECT_DOUBLE)
        return true;
    if (schema->kind == CONNECT_STRUCT)
        return false; /* Connect takes no struct as a default */
    Bytes scratch = {0}, bytes = {0};
    int32_t scale;
    bool fits = numeric_unscaled_text(text, strlen(text), schema->scale, &scratch, &bytes, &scale);
    if (fits && schema->kind == CONNECT_BYTES) {
        ret->bytes = piece_copy(arena, bytes.data, bytes.used);
    } else if (fits) { /* text, at the column's scale */
        size_t point = strcspn(text, "."), used = strlen(text);
        size_t fraction = used > point ? used - point - 1 : 0;
        Bytes whole = {0};
        scalar_put_text(&whole, text);
        if (schema->scale > 0 && used == point)
            bytes_put_u8(&whole, '.');
        for (; fraction < (size_t)schema->scale; fraction++)
            bytes_put_u8(&whole, '0');
        ret->bytes = piece_copy(arena, whole.data, whole.used);
        bytes_done(&whole);
    }
    bytes_done(&scratch);
    bytes_done(&bytes);
    return fits;
}

static bool time_default(Arena *arena, const ConnectSchema *schema, const ColumnType *source,
                         const char *text, Literal *ret)
{
    int64_t micros;
    if (strcmp(source->name, "date") == 0)
        return parse_date(text, &ret->integer);
    if (strcmp(source->name, "time") == 0) {
        if (!parse_time(text, &micros))
            return false;
        ret->integer = micros / schema->divisor;
        return true;
    }
    if (!parse_timestamp(text, &micros))
        return false;
    if (schema->form == AS_MICROS) {
        ret->integer = scalar_floor(micros, schema->divisor);
        return true;
    }
    char zoned[SCALAR_TIMESTAMP_BYTES];
    unsigned bytes = scalar_timestamp(zoned, micros, schema->digits);
    ret->bytes = piece_copy(arena, zoned, bytes);
    return true;
}

static bool interval_default(Arena *arena, const ConnectSchema *schema, const char *text,
                             Literal *ret)
{
    Interval interval = {0};
    if (strcmp(text, "epoch") != 0 && !parse_interval(text, strlen(text), &interval))
        return false;
    ret->integer = interval_micros(&interval);
    if (schema->form == AS_INTERVAL_TEXT) {
        Bytes iso = {0};
        interval_put_iso(&interval, &iso);
        ret->bytes = piece_copy(arena, iso.data, iso.used);
        bytes_done(&iso);
    }
    return true;
}

static bool bit_default(Arena *arena, const ConnectSchema *schema, const char *text, Literal *ret)
{
    if (!text[0] || strspn(text, "01") != strlen(text))
        return false;
    ret->integer = text[strlen(text) - 1] == '1';
    if (schema->form == AS_BITS) {
        Bytes bits = {0};
        parse_bits(text, strlen(text), &bits);
        ret->bytes = piece_copy(arena, bits.used ? (const char *)bits.data : "", bits.used);
        bytes_done(&bits);
    }
    return true;
}

typedef enum DefaultKind {
    DEFAULT_INTEGER,
    DEFAULT_REAL,
    DEFAULT_NUMERIC,
    DEFAULT_TEXT,
    DEFAULT_TIME,
    DEFAULT_INTERVAL,
    DEFAULT_BIT,
} DefaultKind;

static const struct {
    const char *source;
    const char *computed;
    DefaultKind kind;
} defaults[] = {
    {"bit", "00", DEFAULT_BIT},
    {"varbit", "0", DEFAULT_BIT},
    {"bool", "false", DEFAULT_INTEGER},
    {"bpchar", "", DEFAULT_TEXT},
    {"varchar", "", DEFAULT_TEXT},
    {"text", "", DEFAULT_TEXT},
    {"numeric", "0.0", DEFAULT_NUMERIC},
    {"float4", "0.0", DEFAULT_REAL},
    {"float8", "0.0", DEFAULT_REAL},
    {"int2", "0", DEFAULT_INTEGER},
    {"int4", "0", DEFAULT_INTEGER},
    {"int8", "0", DEFAULT_INTEGER},
    {"json", "{}", DEFAULT_TEXT},
    {"jsonb", "{}", DEFAULT_TEXT},
    {"xml", "", DEFAULT_TEXT},
    {"uuid", "00000000-0000-0000-0000-000000000000", DEFAULT_TEXT},
    {"date", "1970-01-01", DEFAULT_TIME},
    {"time", "00:00", DEFAULT_TIME},
    {"timestamp", "1970-01-01", DEFAULT_TIME},
    {"timestamptz", "1970-01-01", DEFAULT_TIME},
    {"interval", "epoch", DEFAULT_INTERVAL},
};

static bool default_of(Arena *arena, const ConnectSchema *schema, const ColumnType *source,
                       DefaultKind kind, const char *text, Literal *ret)
{
    char *end;
    switch (kind) {
    case DEFAULT_INTEGER:
        return integer_default(text, ret);
    case DEFAULT_REAL:
        ret->real = strtod(text, &end);
        if (schema->kind == CONNECT_FLOAT)
            ret->real = (double)strtof(text, &end);
        return end != text && *end == '\0' && ret->real - ret->real == 0;
    case DEFAULT_NUMERIC:
        return numeric_default(arena, schema, text, ret);
    case DEFAULT_TEXT:
        ret->bytes = piece_text(text);
        return true;
    case DEFAULT_TIME:
        return time_default(arena, schema, source, text, ret);
    case DEFAULT_INTERVAL:
        return interval_default(arena, schema, text, ret);
    case DEFAULT_BIT:
        return bit_default(arena, schema, text, ret);
    }
    return false;
}

/* MySQL's and MariaDB's: constants alone, and of moments the one that stands for a computed one and
 * for zero dates; where null is allowed these are none. */
static bool mysql_default(Arena *arena, const ConnectSchema *schema, const ColumnType *source,
                          const char *text, Literal *ret)
{
    bool is_date = schema->form == AS_INTEGER && strcmp(source->name, "date") == 0;
    if (is_date || schema->form == AS_MICROS || schema->form == AS_ZONED_TIMESTAMP) {
        bool none = strcmp(text, "CURRENT_TIMESTAMP") == 0 || strncmp(text, "0000-", 5) == 0 ||
                    strstr(text, "-00");
        if (none && schema->optional)
            return false;
        if (none && schema->form == AS_ZONED_TIMESTAMP) { /* without the column's digits */
            ret->bytes = piece_text("1970-01-01T00:00:00Z");
            return true;
        }
        return time_default(arena, schema, source, none ? "1970-01-01" : text, ret);
    }
    if (strncmp(text, "b'", 2) == 0)
        text = arena_strndup(arena, text + 2, strcspn(text + 2, "'"));
    switch (schema->form) {
    case AS_BOOLEAN:
    case AS_INTEGER:
        return integer_default(text, ret);
    case AS_REAL:
        return default_of(arena, schema, source, DEFAULT_REAL, text, ret);
    case AS_DECIMAL_BYTES:
    case AS_DECIMAL_DOUBLE:
    case AS_DECIMAL_TEXT:
    case AS_NUMERIC_BYTES:
    case AS_NUMERIC_DOUBLE:
        return numeric_default(arena, schema, text, ret);
    case AS_BITS:
        return bit_default(arena, schema, text, ret);
    case AS_TEXT:
        ret->bytes = piece_text(text);
        return true;
    default:
        return false;
    }
}

static const Literal *keep(Arena *arena, const Literal *literal)
{
    Literal *kept = arena_take(arena, sizeof *kept);
    *kept = *literal;
    return kept;
}

const Literal *literal_default(Arena *arena, TopicSource from, const ConnectSchema *schema,
                               const ColumnType *source, const char *expression)
{
    Literal literal = {0};
    if (!expression || schema->kind == CONNECT_ARRAY)
        return NULL;
    bool found = false;
    if (from != TOPIC_POSTGRESQL) {
        const char *text = arena_text(arena, "%s", expression);
        return mysql_default(arena, schema, source, text, &literal) ? keep(arena, &literal) : NULL;
    }
    if (source->is_enum) { /* 'sad'::mood; anything computed is none */
        const char *text = expression[0] == '\'' ? constant(arena, expression, NULL) : NULL;
        found = text != NULL;
        if (found)
            literal.bytes = piece_text(text);
    }
    for (size_t i = 0; !source->is_enum && !found && i < ARRAY_LEN(defaults); i++) {
        if (strcmp(defaults[i].source, source->name) != 0)
            continue;
        const char *text =
            constant(arena, arena_text(arena, "%s", expression), defaults[i].computed);
        if (!text || !default_of(arena, schema, source, defaults[i].kind, text, &literal))
            return NULL;
        found = true;
    }
    return found ? keep(arena, &literal) : NULL;
}
