/* See known.h. */
#include "agent/capture/mysql/known.h"

#include <ctype.h>
#include <jansson.h>
#include <stdio.h>
#include <string.h>

#include "common/arena.h"
#include "common/bytes.h"
#include "common/json/text.h"
#include "common/mem.h"

#define LABELS_MAX 65535

/* --- types in words --- */

typedef struct TypeWord {
    const char *word;
    uint8_t type;         /* MyType */
    uint8_t length_bytes; /* BLOB and what is like it */
    bool binary;
    uint8_t special; /* MySpecial */
    uint8_t bytes;
} TypeWord;

static const TypeWord words[] = {
    {.word = "tinyint", .type = MY_TINY},
    {.word = "smallint", .type = MY_SHORT},
    {.word = "mediumint", .type = MY_INT24},
    {.word = "int", .type = MY_LONG},
    {.word = "bigint", .type = MY_LONGLONG},
    {.word = "float", .type = MY_FLOAT},
    {.word = "double", .type = MY_DOUBLE},
    {.word = "decimal", .type = MY_NEWDECIMAL},
    {.word = "bit", .type = MY_BIT},
    {.word = "year", .type = MY_YEAR},
    {.word = "date", .type = MY_DATE},
    {.word = "time", .type = MY_TIME2},
    {.word = "datetime", .type = MY_DATETIME2},
    {.word = "timestamp", .type = MY_TIMESTAMP2},
    {.word = "char", .type = MY_STRING},
    {.word = "varchar", .type = MY_VARCHAR},
    {.word = "binary", .type = MY_STRING, .binary = true},
    {.word = "varbinary", .type = MY_VARCHAR, .binary = true},
    {.word = "tinytext", .type = MY_BLOB, .length_bytes = 1},
    {.word = "text", .type = MY_BLOB, .length_bytes = 2},
    {.word = "mediumtext", .type = MY_BLOB, .length_bytes = 3},
    {.word = "longtext", .type = MY_BLOB, .length_bytes = 4},
    {.word = "tinyblob", .type = MY_BLOB, .length_bytes = 1, .binary = true},
    {.word = "blob", .type = MY_BLOB, .length_bytes = 2, .binary = true},
    {.word = "mediumblob", .type = MY_BLOB, .length_bytes = 3, .binary = true},
    {.word = "longblob", .type = MY_BLOB, .length_bytes = 4, .binary = true},
    {.word = "enum", .type = MY_ENUM},
    {.word = "set", .type = MY_SET},
    {.word = "json", .type = MY_JSON, .length_bytes = 4},
    {.word = "vector", .type = MY_VECTOR, .length_bytes = 4},
    {.word = "geometry", .type = MY_GEOMETRY, .length_bytes = 4},
    {.word = "point", .type = MY_GEOMETRY, .length_bytes = 4},
    {.word = "linestring", .type = MY_GEOMETRY, .length_bytes = 4},
    {.word = "polygon", .type = MY_GEOMETRY, .length_bytes = 4},
    {.word = "multipoint", .type = MY_GEOMETRY, .length_bytes = 4},
    {.word = "multilinestring", .type = MY_GEOMETRY, .length_bytes = 4},
    {.word = "multipolygon", .type = MY_GEOMETRY, .length_bytes = 4},
    {.word = "geometrycollection", .type = MY_GEOMETRY, .length_bytes = 4},
    {.word = "geomcollection", .type = MY_GEOMETRY, .length_bytes = 4},
    {.word = "uuid", .type = MY_STRING, .binary = true, .special = MY_SPECIAL_UUID, .bytes = 16},
    {.word = "inet6", .type = MY_STRING, .binary = true, .special = MY_SPECIAL_INET6, .bytes = 16},
    {.word = "inet4", .type = MY_STRING, .binary = true, .special = MY_SPECIAL_INET4, .bytes = 4},
};

/* "'a','it''s'": as the server shows labels. */
static bool parse_labels(const char *at, Arena *arena, MyColumn *ret)
{
    uint32_t held = 0;
    ret->labels_utf8 = true;
    while (*at == '\'') {
        char *label = arena_take(arena, strlen(at) + 1), *to = label;
        for (at++; *at && !(at[0] == '\'' && at[1] != '\''); at++) {
            at += at[0] == '\'' || (at[0] == '\\' && strchr("\\0nr'", at[1]) && at[1]);
            *to++ = at[-1] != '\\' ? *at
                    : *at == '0'   ? '\0'
                    : *at == 'n'   ? '\n'
                    : *at == 'r'   ? '\r'
                                   : *at;
        }
        if (*at++ != '\'' || ret->label_count == LABELS_MAX)
            return false;
        if (ret->label_count == held) {
            uint32_t more = held ? held * 2 : 8;
            ret->labels = arena_regrow(arena, ret->labels, held * sizeof *ret->labels,
                                       more * sizeof *ret->labels);
            ret->label_bytes =
                arena_regrow(arena, ret->label_bytes, held * sizeof *ret->label_bytes,
                             more * sizeof *ret->label_bytes);
            held = more;
        }
        *to = '\0';
        ret->label_bytes[ret->label_count] = (uint32_t)(to - label);
        ret->labels[ret->label_count++] = label;
        at += *at == ',';
    }
    uint32_t count = ret->label_count;
    ret->bytes = ret->type == MY_ENUM ? (count > 255 ? 2 : 1) : count > 32 ? 8 : (count + 7) / 8;
    return *at == ')' && count;
}

bool my_column_parse(const char *type, Arena *arena, MyColumn *ret)
{
    size_t length = strspn(type, "abcdefghijklmnopqrstuvwxyz0123456789_");
    const TypeWord *word = NULL;
    for (size_t i = 0; i < ARRAY_LEN(words) && !word; i++)
        if (strlen(words[i].word) == length && memcmp(words[i].word, type, length) == 0)
            word = &words[i];
    if (!word)
        return false;
    *ret = (MyColumn){.type = word->type,
                      .length_bytes = word->length_bytes,
                      .special = word->special,
                      .bytes = word->bytes,
                      .collation = word->binary ? COLLATION_BINARY : 0};
    unsigned first = 0, second = 0;
    const char *open = type + length;
    if (word->type == MY_ENUM || word->type == MY_SET)
        return *open == '(' && parse_labels(open + 1, arena, ret);
    if (*open == '(')
        (void)!sscanf(open, "(%u,%u)", &first, &second);
    ret->is_unsigned =
        strstr(open, "unsigned") || strstr(open, "zerofill") || word->type == MY_YEAR;
    switch (word->type) {
    case MY_NEWDECIMAL:
        ret->precision = (uint8_t)(first ? first : 10);
        ret->scale = (uint8_t)second;
        return first <= 65 && second <= first;
    case MY_TIME2:
    case MY_DATETIME2:
    case MY_TIMESTAMP2:
        ret->scale = (uint8_t)first;
        return first <= 6;
    case MY_BIT:
        ret->bytes = first ? first : 1;
        return ret->bytes <= 64;
    case MY_VECTOR:
        ret->dimensions = first;
        return true;
    case MY_STRING:
    case MY_VARCHAR:
        if (!word->special)
            ret->bytes = first;
        return true;
    default:
        return true;
    }
}

/* Types of before 5.6 and of now are the same column's. */
static uint8_t kind_of(uint8_t type)
{
    switch (type) {
    case MY_TIME:
        return MY_TIME2;
    case MY_DATETIME:
        return MY_DATETIME2;
    case MY_TIMESTAMP:
        return MY_TIMESTAMP2;
    case MY_VAR_STRING:
        return MY_VARCHAR;
    default:
        return type;
    }
}

static const char *word_of(const MyColumn *column)
{
    bool binary = column->collation == COLLATION_BINARY;
    for (size_t i = 0; i < ARRAY_LEN(words); i++)
        if (words[i].type == kind_of(column->type) && !words[i].special &&
            (words[i].length_bytes == column->length_bytes || column->type != MY_BLOB) &&
            (words[i].binary == binary || (column->type != MY_BLOB && column->type != MY_STRING &&
                                           kind_of(column->type) != MY_VARCHAR)))
            return words[i].word;
    return "unknown";
}

static void put_labels(const MyColumn *column, Bytes *text)
{
    for (uint32_t i = 0; i < column->label_count; i++) {
        bytes_put(text, i ? ",'" : "('", 2);
        for (uint32_t k = 0; k < column->label_bytes[i]; k++) {
            char letter = column->labels[i][k];
            if (letter == '\'' || letter == '\\')
                bytes_put_u8(text, (uint8_t)letter);
            bytes_put_u8(text, (uint8_t)letter);
        }
        bytes_put_u8(text, '\'');
    }
    bytes_put_u8(text, ')');
}

char *my_column_format(const MyColumn *column, Arena *arena)
{
    Bytes text = {0};
    char numbers[40] = "";
    const char *word = word_of(column);
    bytes_put(&text, word, strlen(word));
    switch (column->type) {
    case MY_NEWDECIMAL:
        snprintf(numbers, sizeof numbers, "(%u,%u)", column->precision, column->scale);
        break;
    case MY_TIME2:
    case MY_DATETIME2:
    case MY_TIMESTAMP2:
        if (column->scale)
            snprintf(numbers, sizeof numbers, "(%u)", column->scale);
        break;
    case MY_BIT:
    case MY_STRING:
    case MY_VARCHAR:
    case MY_VAR_STRING:
        snprintf(numbers, sizeof numbers, "(%u)", column->bytes);
        break;
    case MY_VECTOR:
        snprintf(numbers, sizeof numbers, "(%u)", column->dimensions);
        break;
    case MY_ENUM:
    case MY_SET:
        put_labels(column, &text);
        break;
    default:
        break;
    }
    bytes_put(&text, numbers, strlen(numbers));
    if (column->is_unsigned && column->type != MY_YEAR)
        bytes_put(&text, " unsigned", 9);
    char *kept = arena_strndup(arena, (const char *)text.data, text.used);
    bytes_done(&text);
    return kept;
}

/* --- making and keeping --- */

void known_free(MyKnown *known)
{
    if (!known)
        return;
    table_map_free(known->map); /* all the rest is in its arena */
    free(known);
}

static uint32_t collation_of(const Collations *collations, const char *charset)
{
    for (size_t i = 0; i < collations->count; i++)
        if (strcmp(collations->items[i].charset, charset) == 0)
            return collations->items[i].id;
    return 0;
}

static const char *keep(Arena *arena, const char *text)
{
    return arena_strndup(arena, text, strlen(text));
}

MyKnown *known_new(const char *schema_name, const char *table_name, const KnownColumn *columns,
                   size_t count, const uint32_t *key, size_t key_count,
                   const Collations *collations, Error *err)
{
    AUTO(known_free) MyKnown *known = mem_zalloc(sizeof *known);
    TableMap *map = known->map = mem_zalloc(sizeof *map);
    Arena *arena = map->arena = arena_new(4096);
    map->schema_name = keep(arena, schema_name);
    map->table_name = keep(arena, table_name);
    map->has_names = map->has_signs = true;
    map->column_count = (uint32_t)count;
    map->columns = arena_take(arena, (count + 1) * sizeof *map->columns);
    known->types = arena_take(arena, (count + 1) * sizeof *known->types);
    known->charsets = arena_take(arena, (count + 1) * sizeof *known->charsets);
    known->origins = arena_take(arena, (count + 1) * sizeof *known->origins);
    for (size_t i = 0; i < count; i++) {
        MyColumn *column = &map->columns[i];
        if (!my_column_parse(columns[i].type, arena, column)) {
            error_set(err, ERROR_CONFIG, "UnsupportedType",
                      "table %s.%s column %s: type %.60s is not known; exclude the table "
                      "(spec.source.tables.exclude)",
                      schema_name, table_name, columns[i].name, columns[i].type);
            return NULL;
        }
        column->name = keep(arena, columns[i].name);
        column->nullable = !columns[i].required;
        if (!column->collation && *columns[i].charset)
            column->collation = collation_of(collations, columns[i].charset);
        known->types[i] = keep(arena, columns[i].type);
        known->charsets[i] = keep(arena, columns[i].charset);
        known->origins[i] = columns[i].origin ? columns[i].origin : (int32_t)i + 1;
        if (known->origins[i] > known->last)
            known->last = known->origins[i];
    }
    map->key = arena_take(arena, (key_count + 1) * sizeof *map->key);
    map->key_count = (uint32_t)key_count;
    if (key_count)
        memcpy(map->key, key, key_count * sizeof *key);
    return TAKE(known);
}

char *known_format(const MyKnown *known)
{
    json_t *key = json_array(), *columns = json_array();
    for (uint32_t i = 0; i < known->map->key_count; i++)
        json_array_append_new(key, json_integer(known->origins[known->map->key[i]]));
    for (uint32_t i = 0; i < known->map->column_count; i++)
        json_array_append_new(columns,
                              json_pack("[i,s,s,s,b]", known->origins[i],
                                        known->map->columns[i].name, known->types[i],
                                        known->charsets[i], !known->map->columns[i].nullable));
    json_t *json = json_pack("{s:i,s:o,s:o}", "last", known->last, "key", key, "columns", columns);
    ASSERT(json);
    char *text = json_text(json, JSON_COMPACT);
    ASSERT(text);
    json_decref(json);
    return text;
}

static bool read_columns(json_t *json, KnownColumn *columns, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        int origin, required;
        if (json_unpack(json_array_get(json, i), "[i,s,s,s,b]", &origin, &columns[i].name,
                        &columns[i].type, &columns[i].charset, &required) != 0 ||
            origin <= 0)
            return false;
        columns[i].origin = origin;
        columns[i].required = required;
    }
    return true;
}

static bool read_key(json_t *json, const KnownColumn *columns, size_t count, uint32_t *key)
{
    for (size_t i = 0; i < json_array_size(json); i++) {
        size_t at = 0;
        while (at < count &&
               columns[at].origin != (int32_t)json_integer_value(json_array_get(json, i)))
            at++;
        if (at == count)
            return false;
        key[i] = (uint32_t)at;
    }
    return true;
}

MyKnown *known_parse(const char *text, const char *schema_name, const char *table_name,
                     const Collations *collations, Error *err)
{
    json_t *json = json_loads(text, 0, NULL);
    json_t *columns = json_object_get(json, "columns"), *key = json_object_get(json, "key");
    size_t count = json_array_size(columns), key_count = json_array_size(key);
    AUTO(mem_free) KnownColumn *read = mem_array(count + 1, sizeof *read);
    AUTO(mem_free) uint32_t *indices = mem_array(key_count + 1, sizeof *indices);
    MyKnown *known = NULL;
    if (count && read_columns(columns, read, count) && read_key(key, read, count, indices))
        known =
            known_new(schema_name, table_name, read, count, indices, key_count, collations, err);
    else
        error_set(err, ERROR_CONFIG, "BadColumns",
                  "table %s.%s: what the lake's table says of its columns can't be read; load it "
                  "again with --resnapshot",
                  schema_name, table_name);
    int32_t last = (int32_t)json_integer_value(json_object_get(json, "last"));
    if (known && last > known->last)
        known->last = last;
    json_decref(json);
    return known;
}

int known_find(const MyKnown *known, const char *name)
{
    for (uint32_t i = 0; i < known->map->column_count; i++)
        if (strcmp(known->map->columns[i].name, name) == 0)
            return (int)i;
    return -1;
}

/* --- beside a table map --- */

bool my_column_is(const MyColumn *known, const MyColumn *seen, const TableMap *map)
{
    if (kind_of(known->type) != kind_of(seen->type) || known->nullable != seen->nullable)
        return false;
    if (map->has_signs && known->type <= MY_INT24 && known->is_unsigned != seen->is_unsigned &&
        known->type != MY_TIMESTAMP)
        return false;
    switch (known->type) {
    case MY_NEWDECIMAL:
        return known->precision == seen->precision && known->scale == seen->scale;
    case MY_TIME2:
    case MY_DATETIME2:
    case MY_TIMESTAMP2:
        return known->type != seen->type || known->scale == seen->scale;
    case MY_BIT:
        return known->bytes == seen->bytes;
    case MY_BLOB:
        return known->length_bytes == seen->length_bytes;
    case MY_ENUM:
    case MY_SET:
        return !seen->labels || known->label_count == seen->label_count;
    default:
        return true;
    }
}

static bool of_bytes(const MyColumn *column)
{
    uint8_t kind = kind_of(column->type);
    return (kind == MY_STRING || kind == MY_VARCHAR || kind == MY_BLOB) &&
           column->collation == COLLATION_BINARY;
}

bool my_column_alike(const MyColumn *a, const MyColumn *b)
{
    static const TableMap map = {.has_signs = true};
    MyColumn other = *b;
    other.nullable = a->nullable;
    bool padded = a->type == MY_STRING && of_bytes(a);
    return my_column_is(a, &other, &map) && a->special == b->special &&
           of_bytes(a) == of_bytes(b) && (!padded || a->bytes == b->bytes);
}

bool known_fits(const MyKnown *known, const TableMap *map)
{
    if (known->map->column_count != map->column_count)
        return false;
    for (uint32_t i = 0; i < map->column_count; i++) {
        const MyColumn *column = &known->map->columns[i], *seen = &map->columns[i];
        if ((map->has_names && strcmp(column->name, seen->name) != 0) ||
            !my_column_is(column, seen, map))
            return false;
    }
    return true;
}

bool known_covers(const MyKnown *known, const TableMap *map)
{
    for (uint32_t i = 0; i < map->column_count && map->has_names; i++) {
        int at = known_find(known, map->columns[i].name);
        if (at >= 0 && kind_of(known->map->columns[at].type) != kind_of(map->columns[i].type))
            return false;
    }
    return map->has_names;
}

void known_complete(const MyKnown *known, TableMap *map)
{
    for (uint32_t i = 0; i < map->column_count; i++) {
        MyColumn *column = &map->columns[i];
        int at = map->has_names                 ? known_find(known, column->name)
                 : i < known->map->column_count ? (int)i
                                                : -1;
        if (at < 0)
            continue;
        const MyColumn *from = &known->map->columns[at];
        column->name = from->name;
        column->special = from->special;
        if (!map->has_signs)
            column->is_unsigned = from->is_unsigned;
        if (!column->collation)
            column->collation = from->collation;
        if (!column->labels && from->labels) {
            column->labels = from->labels;
            column->label_bytes = from->label_bytes;
            column->label_count = from->label_count;
            column->labels_utf8 = from->labels_utf8;
        }
        if (!column->dimensions)
            column->dimensions = from->dimensions;
    }
    map->has_names = map->has_signs = true;
}
