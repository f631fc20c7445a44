/* Table maps: see table_map.h. */
#include "agent/capture/mysql/table_map.h"

#include "common/arena.h"
#include "common/mem.h"

enum {
    FIELD_UNSIGNED = 1,
    FIELD_CHARSET,
    FIELD_CHARSETS,
    FIELD_NAMES,
    FIELD_SET_LABELS,
    FIELD_ENUM_LABELS,
    FIELD_GEOMETRY,
    FIELD_KEY,
    FIELD_PREFIXED_KEY,
    FIELD_LABEL_CHARSET,
    FIELD_LABEL_CHARSETS,
    FIELD_VISIBLE,
    FIELD_DIMENSIONS,
};
#define ID_BYTES 6

void table_map_free(TableMap *map)
{
    if (!map)
        return;
    arena_free(map->arena);
    free(map);
}

bool table_map_id(const BinlogEvent *event, uint64_t *ret)
{
    Reader in = event->content;
    return reader_le(&in, ID_BYTES, ret);
}

bool table_map_same(const TableMap *map, const BinlogEvent *event)
{
    size_t bytes = reader_left(&event->content);
    return bytes == map->raw_bytes && bytes > ID_BYTES &&
           memcmp(map->raw + ID_BYTES, event->content.at + ID_BYTES, bytes - ID_BYTES) == 0;
}

/* --- types --- */

/* Bytes of metadata that a type has. */
static unsigned meta_bytes(uint8_t type)
{
    switch (type) {
    case MY_FLOAT:
    case MY_DOUBLE:
    case MY_BLOB:
    case MY_JSON:
    case MY_GEOMETRY:
    case MY_VECTOR:
    case MY_TIMESTAMP2:
    case MY_DATETIME2:
    case MY_TIME2:
    case MY_BLOB_COMPRESSED:
        return 1;
    case MY_VARCHAR:
    case MY_VAR_STRING:
    case MY_VARCHAR_COMPRESSED:
    case MY_BIT:
    case MY_NEWDECIMAL:
    case MY_STRING:
        return 2;
    default:
        return 0;
    }
}

/* Two bytes: the real type and the length, whose upper bits are in the type's, turned round (only
 * lengths above 255 have any). */
static bool set_string(MyColumn *column, const uint8_t *meta)
{
    if ((meta[0] & 0x30) != 0x30) {
        column->type = meta[0] | 0x30;
        column->bytes = (((meta[0] & 0x30u) ^ 0x30u) << 4) | meta[1];
    } else {
        column->type = meta[0];
        column->bytes = meta[1];
    }
    if (column->type == MY_ENUM)
        return column->bytes == 1 || column->bytes == 2;
    if (column->type == MY_SET)
        return column->bytes >= 1 && column->bytes <= 8;
    return column->type == MY_STRING;
}

static bool set_meta(MyColumn *column, const uint8_t *meta)
{
    switch (column->type) {
    case MY_FLOAT:
        return meta[0] == 4;
    case MY_DOUBLE:
        return meta[0] == 8;
    case MY_BLOB:
    case MY_JSON:
    case MY_GEOMETRY:
    case MY_VECTOR:
        column->length_bytes = meta[0];
        return meta[0] >= 1 && meta[0] <= 4;
    case MY_TIMESTAMP2:
    case MY_DATETIME2:
    case MY_TIME2:
        column->scale = meta[0];
        return meta[0] <= 6;
    case MY_VARCHAR:
    case MY_VAR_STRING:
        column->bytes = (uint32_t)le_uint(meta, 2);
        column->length_bytes = column->bytes > 255 ? 2 : 1;
        return true;
    case MY_BIT:
        column->bytes = meta[1] * 8u + meta[0];
        return meta[0] < 8 && column->bytes >= 1 && column->bytes <= 64;
    case MY_NEWDECIMAL:
        column->precision = meta[0];
        column->scale = meta[1];
        return meta[0] >= 1 && meta[0] <= 65 && meta[1] <= 38 && meta[1] <= meta[0];
    case MY_STRING:
        if (!set_string(column, meta))
            return false;
        column->length_bytes = column->type != MY_STRING ? 0 : column->bytes > 255 ? 2 : 1;
        return true;
    default:
        return true;
    }
}

static bool is_known(uint8_t type)
{
    switch (type) {
    case MY_TINY ... MY_DOUBLE:
    case MY_TIMESTAMP ... MY_YEAR:
    case MY_VARCHAR ... MY_TIME2:
    case MY_VECTOR:
    case MY_JSON:
    case MY_NEWDECIMAL:
    case MY_BLOB ... MY_GEOMETRY:
        return true;
    default:
        return false;
    }
}

static bool read_types(TableMap *map, const BinlogEvent *event, const uint8_t *types, Reader meta,
                       const uint8_t *nullable, Error *err)
{
    for (uint32_t i = 0; i < map->column_count; i++) {
        MyColumn *column = &map->columns[i];
        const uint8_t *at;
        column->type = types[i];
        column->nullable = nullable[i / 8] >> i % 8 & 1;
        if (!is_known(types[i]))
            return error_set(err, ERROR_CONFIG, "UnsupportedType",
                             "table %s.%s: column %u has a type (%u) that the log can't be read "
                             "of%s; exclude the table (spec.source.tables.exclude)",
                             map->schema_name, map->table_name, i + 1, types[i],
                             types[i] == MY_BLOB_COMPRESSED || types[i] == MY_VARCHAR_COMPRESSED
                                 ? ": it is declared COMPRESSED"
                                 : "");
        if (!reader_take(&meta, meta_bytes(types[i]), &at) || !set_meta(column, at))
            return binlog_bad(event, "a column's metadata is not its type's", err);
    }
    return reader_left(&meta) == 0 || binlog_bad(event, "it has too much metadata", err);
}

/* --- optional fields --- */

static bool is_number(const MyColumn *column)
{
    switch (column->type) {
    case MY_TINY:
    case MY_SHORT:
    case MY_INT24:
    case MY_LONG:
    case MY_LONGLONG:
    case MY_NEWDECIMAL:
    case MY_FLOAT:
    case MY_DOUBLE:
    case MY_YEAR:
        return true;
    default:
        return false;
    }
}
static bool has_labels(const MyColumn *column)
{
    return column->type == MY_ENUM || column->type == MY_SET;
}
static bool is_text(const MyColumn *column, bool mariadb)
{
    return column->type == MY_STRING || column->type == MY_VAR_STRING ||
           column->type == MY_VARCHAR || column->type == MY_BLOB ||
           column->type == (mariadb ? MY_GEOMETRY : MY_VECTOR);
}

typedef enum Among { AMONG_TEXT, AMONG_LABELS } Among;

static bool is_among(const MyColumn *column, Among among, bool mariadb)
{
    return among == AMONG_TEXT ? is_text(column, mariadb) : has_labels(column);
}

static bool read_signs(TableMap *map, Reader in)
{
    uint32_t number = 0;
    for (uint32_t i = 0; i < map->column_count; i++) {
        if (!is_number(&map->columns[i]))
            continue;
        if (number / 8 >= reader_left(&in))
            return false;
        map->columns[i].is_unsigned = in.at[number / 8] >> (7 - number % 8) & 1;
        number++;
    }
    map->has_signs = true;
    return true;
}

static bool read_charset(TableMap *map, Reader in, Among among, bool mariadb)
{
    uint64_t usual, number = 0, at = UINT64_MAX, collation = 0;
    if (!reader_packed(&in, &usual) || usual > UINT16_MAX)
        return false;
    for (uint32_t i = 0; i < map->column_count; i++) {
        if (!is_among(&map->columns[i], among, mariadb))
            continue;
        if (at == UINT64_MAX && reader_left(&in) &&
            (!reader_packed(&in, &at) || !reader_packed(&in, &collation) || at < number ||
             collation > UINT16_MAX))
            return false;
        bool own = at == number++;
        map->columns[i].collation = (uint32_t)(own ? collation : usual);
        if (own)
            at = UINT64_MAX;
    }
    return at == UINT64_MAX && reader_left(&in) == 0;
}

static bool read_charsets(TableMap *map, Reader in, Among among, bool mariadb)
{
    for (uint32_t i = 0; i < map->column_count; i++) {
        uint64_t collation;
        if (!is_among(&map->columns[i], among, mariadb))
            continue;
        if (!reader_packed(&in, &collation) || collation > UINT16_MAX)
            return false;
        map->columns[i].collation = (uint32_t)collation;
    }
    return reader_left(&in) == 0;
}

static bool read_names(TableMap *map, Reader in)
{
    for (uint32_t i = 0; i < map->column_count; i++) {
        const uint8_t *at;
        size_t bytes;
        if (!reader_packed_bytes(&in, &at, &bytes) || !bytes || memchr(at, 0, bytes))
            return false;
        map->columns[i].name = arena_strndup(map->arena, (const char *)at, bytes);
    }
    map->has_names = true;
    return reader_left(&in) == 0;
}

static bool read_labels(TableMap *map, Reader in, uint8_t type)
{
    for (uint32_t i = 0; i < map->column_count; i++) {
        MyColumn *column = &map->columns[i];
        uint64_t count;
        if (column->type != type)
            continue;
        if (!reader_packed(&in, &count) || count > reader_left(&in) || count > UINT16_MAX ||
            (type == MY_SET && count > 64))
            return false;
        column->labels = arena_take(map->arena, (count + 1) * sizeof *column->labels);
        column->label_bytes = arena_take(map->arena, (count + 1) * sizeof *column->label_bytes);
        column->label_count = (uint32_t)count;
        for (uint64_t j = 0; j < count; j++) {
            const uint8_t *at;
            size_t bytes;
            if (!reader_packed_bytes(&in, &at, &bytes))
                return false;
            column->labels[j] = arena_strndup(map->arena, (const char *)at, bytes);
            column->label_bytes[j] = (uint32_t)bytes;
        }
    }
    return reader_left(&in) == 0;
}

static bool read_key(TableMap *map, Reader in, bool prefixed)
{
    size_t max = reader_left(&in);
    map->key = arena_take(map->arena, (max + 1) * sizeof *map->key);
    map->key_count = 0;
    while (reader_left(&in)) {
        uint64_t column, characters = 0;
        if (!reader_packed(&in, &column) || column >= map->column_count ||
            (prefixed && !reader_packed(&in, &characters)))
            return false;
        map->key[map->key_count++] = (uint32_t)column;
        map->key_prefixed |= characters != 0;
    }
    return true;
}

static bool read_visible(TableMap *map, Reader in)
{
    if (reader_left(&in) < (map->column_count + 7) / 8)
        return false;
    for (uint32_t i = 0; i < map->column_count; i++)
        map->columns[i].invisible = !(in.at[i / 8] >> (7 - i % 8) & 1);
    return true;
}

static bool read_dimensions(TableMap *map, Reader in)
{
    for (uint32_t i = 0; i < map->column_count; i++) {
        uint64_t dimensions;
        if (map->columns[i].type != MY_VECTOR)
            continue;
        if (!reader_packed(&in, &dimensions) || dimensions > UINT16_MAX)
            return false;
        map->columns[i].dimensions = (uint32_t)dimensions;
    }
    return true;
}

static bool read_field(TableMap *map, uint8_t kind, Reader in, bool mariadb)
{
    switch (kind) {
    case FIELD_UNSIGNED:
        return read_signs(map, in);
    case FIELD_CHARSET:
    case FIELD_LABEL_CHARSET:
        return read_charset(map, in, kind == FIELD_CHARSET ? AMONG_TEXT : AMONG_LABELS, mariadb);
    case FIELD_CHARSETS:
    case FIELD_LABEL_CHARSETS:
        return read_charsets(map, in, kind == FIELD_CHARSETS ? AMONG_TEXT : AMONG_LABELS, mariadb);
    case FIELD_NAMES:
        return read_names(map, in);
    case FIELD_SET_LABELS:
        return read_labels(map, in, MY_SET);
    case FIELD_ENUM_LABELS:
        return read_labels(map, in, MY_ENUM);
    case FIELD_KEY:
    case FIELD_PREFIXED_KEY:
        return read_key(map, in, kind == FIELD_PREFIXED_KEY);
    case FIELD_VISIBLE:
        return read_visible(map, in);
    case FIELD_DIMENSIONS:
        return read_dimensions(map, in);
    default:
        return true; /* a kind of geometry; what later servers may add */
    }
}

/* --- the whole --- */

static bool read_name(Reader *in, Arena *arena, const char **ret)
{
    uint8_t bytes;
    const uint8_t *at;
    if (!reader_u8(in, &bytes) || !reader_take(in, (size_t)bytes + 1, &at) || at[bytes] ||
        memchr(at, 0, bytes))
        return false;
    *ret = arena_strndup(arena, (const char *)at, bytes);
    return true;
}

static bool read_map(TableMap *map, const BinlogEvent *event, bool mariadb, Error *err)
{
    Reader in = event->content;
    uint64_t flags, count;
    const uint8_t *types, *meta, *nullable, *field;
    size_t bytes;
    if (!reader_le(&in, ID_BYTES, &map->id) || !reader_le(&in, 2, &flags) ||
        !read_name(&in, map->arena, &map->schema_name) ||
        !read_name(&in, map->arena, &map->table_name) || !reader_packed(&in, &count) ||
        count == 0 || count > TABLE_COLUMNS_MAX || !reader_take(&in, count, &types) ||
        !reader_packed_bytes(&in, &meta, &bytes) || !reader_take(&in, (count + 7) / 8, &nullable))
        return binlog_bad(event, "it is too short for its columns", err);
    map->column_count = (uint32_t)count;
    map->columns = arena_take(map->arena, count * sizeof *map->columns);
    memset(map->columns, 0, count * sizeof *map->columns);
    if (!read_types(map, event, types, reader_over(meta, bytes), nullable, err))
        return false;
    while (reader_left(&in)) {
        uint8_t kind;
        if (!reader_u8(&in, &kind) || !reader_packed_bytes(&in, &field, &bytes))
            return binlog_bad(event, "a field is longer than it", err);
        if (!read_field(map, kind, reader_over(field, bytes), mariadb))
            return binlog_bad(event, "a field is not its columns'", err);
    }
    return true;
}

TableMap *table_map_read(const BinlogEvent *event, const BinlogFormat *format, Error *err)
{
    AUTO(table_map_free) TableMap *map = mem_zalloc(sizeof *map);
    map->arena = arena_new(4096);
    map->raw_bytes = reader_left(&event->content);
    map->raw = arena_take(map->arena, map->raw_bytes + 1);
    memcpy(map->raw, event->content.at, map->raw_bytes);
    if (format->fixed_bytes[EVENT_TABLE_MAP] != ID_BYTES + 2) {
        (void)binlog_bad(event, "its server numbers tables otherwise", err);
        return NULL;
    }
    return read_map(map, event, format->mariadb, err) ? TAKE(map) : NULL;
}
