/* See partition.h. */
#include "agent/topic/partition.h"

#include <xxhash.h>

#include "agent/topic/numeric.h"

enum {
    TAG_NULL,
    TAG_BOOLEAN,
    TAG_INTEGER,
    TAG_REAL,
    TAG_NUMBER,
    TAG_TEXT,
    TAG_BINARY,
    TAG_LIST,
    TAG_STRUCT,
};

static void put_span(Bytes *to, uint8_t tag, const void *at, size_t bytes)
{
    bytes_put_u8(to, tag);
    bytes_put_u32(to, (uint32_t)bytes);
    bytes_put(to, at, bytes);
}

static void put_integer(Bytes *to, int64_t value)
{
    bytes_put_u8(to, TAG_INTEGER);
    bytes_put_u64(to, (uint64_t)value);
}

static void put_real(Bytes *to, double value)
{
    uint64_t bits;
    if (value == 0)
        value = 0;
    memcpy(&bits, &value, sizeof bits);
    bytes_put_u8(to, TAG_REAL);
    bytes_put_u64(to, value != value ? 0x7ff8000000000000 : bits);
}

/* "-012.50" → "-12.5", "0.00" → "0", "NaN" as it is */
static void put_number(Bytes *to, const char *text, size_t bytes)
{
    bool negative = bytes && text[0] == '-';
    size_t at = negative;
    if (memchr(text, '.', bytes)) {
        while (text[bytes - 1] == '0')
            bytes--;
        bytes -= text[bytes - 1] == '.';
    }
    while (at + 1 < bytes && text[at] == '0' && text[at + 1] != '.')
        at++;
    bool zero = bytes - at == 1 && text[at] == '0';
    size_t sign = negative && !zero;
    bytes_put_u8(to, TAG_NUMBER);
    bytes_put_u32(to, (uint32_t)(sign + bytes - at));
    bytes_put(to, "-", sign);
    bytes_put(to, text + at, bytes - at);
}

static void put_nested(Bytes *to, const Column *column, uint32_t row)
{
    const Type *type = &column->field->type;
    if (type->kind == TYPE_STRUCT) {
        bytes_put_u8(to, TAG_STRUCT);
        for (uint32_t i = 0; i < type->field_count; i++)
            partition_put(to, &column->child[i], row, false);
        return;
    }
    uint32_t from = (uint32_t)column->offsets[row], end = (uint32_t)column->offsets[row + 1];
    bytes_put_u8(to, TAG_LIST);
    bytes_put_u32(to, end - from);
    for (uint32_t i = from; i < end; i++)
        for (uint32_t child = 0; child < type_child_count(type); child++)
            partition_put(to, &column->child[child], i, false);
}

void partition_put(Bytes *to, const Column *column, uint32_t row, bool is_number)
{
    if (column_is_null(column, row)) {
        bytes_put_u8(to, TAG_NULL);
        return;
    }
    uint32_t bytes;
    const uint8_t *at;
    switch (column->field->type.kind) {
    case TYPE_BOOL:
        bytes_put_u8(to, TAG_BOOLEAN);
        bytes_put_u8(to, bit_get(column->values, row));
        break;
    case TYPE_INT32:
    case TYPE_DATE:
        put_integer(to, column_i32(column, row));
        break;
    case TYPE_INT64:
    case TYPE_TIME:
    case TYPE_TIMESTAMP:
    case TYPE_TIMESTAMPTZ:
        put_integer(to, column_i64(column, row));
        break;
    case TYPE_FLOAT32: {
        float value;
        memcpy(&value, column->values + (size_t)row * 4, sizeof value);
        put_real(to, (double)value);
        break;
    }
    case TYPE_FLOAT64: {
        double value;
        memcpy(&value, column->values + (size_t)row * 8, sizeof value);
        put_real(to, value);
        break;
    }
    case TYPE_DECIMAL: {
        char text[NUMERIC_TEXT_BYTES];
        __int128 value;
        memcpy(&value, column->values + (size_t)row * 16, sizeof value);
        bytes = numeric_text(text, value, column->field->type.scale);
        put_number(to, text, bytes);
        break;
    }
    case TYPE_STRING:
        at = column_bytes(column, row, &bytes);
        if (is_number)
            put_number(to, (const char *)at, bytes);
        else
            put_span(to, TAG_TEXT, at, bytes);
        break;
    case TYPE_BINARY:
        at = column_bytes(column, row, &bytes);
        put_span(to, TAG_BINARY, at, bytes);
        break;
    case TYPE_UUID:
    case TYPE_FIXED:
        put_span(to, TAG_BINARY, column->values + (size_t)row * column->width, column->width);
        break;
    case TYPE_LIST:
    case TYPE_MAP:
    case TYPE_STRUCT:
        put_nested(to, column, row);
        break;
    }
}

uint64_t topic_hash(const Bytes *key)
{
    return XXH64(key->used ? key->data : (const uint8_t *)"", key->used, 0);
}
