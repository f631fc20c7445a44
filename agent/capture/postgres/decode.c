/* Values: the byte tables stand in decode.h. One switch per value, which the branch predictor
 * learns from the row's fixed order of columns; nothing is allocated here, the batch's arena grows.
 */
#include "agent/capture/postgres/decode.h"

#include <inttypes.h>
#include <stdio.h>

#include "agent/capture/postgres/bigendian.h"
#include "agent/capture/postgres/ewkb.h"
#include "agent/capture/postgres/numeric.h"
#include "agent/capture/postgres/print.h"
#include "common/mem.h"
#include "common/reader.h"
#include "common/text.h"

#define DAYS_1970_TO_2000 10957
#define US_1970_TO_2000 INT64_C(946684800000000)
#define US_PER_DAY INT64_C(86400000000)
#define TEXT_VERSION 1

/* Keeps a frame of the stack out of decode_value, where the plain numbers need none. */
#define NOINLINE __attribute__((noinline))

/* --- text --- */

NOINLINE static const char *put_text(Batch *batch, Column *column, const uint8_t *text,
                                     uint32_t bytes)
{
    /* A server whose encoding is SQL_ASCII sends what it was given: so every text is looked at. */
    if (UNLIKELY(!text_is_utf8(text, bytes)))
        return "is not UTF-8";
    column_put_bytes(batch, column, text, bytes);
    return NULL;
}

/* --- numeric --- */

NOINLINE static const char *put_decimal(const PgDecoder *decoder, Batch *batch, Column *column,
                                        const uint8_t *value, uint32_t bytes)
{
    Numeric numeric;
    const char *why = numeric_read(value, bytes, &numeric);
    if (UNLIKELY(why != NULL))
        return why;
    if (UNLIKELY(numeric.sign != SIGN_PLUS && numeric.sign != SIGN_MINUS))
        return numeric.sign == SIGN_NAN ? "is NaN, which no decimal holds"
                                        : "is infinite, which no decimal holds";
    __int128 unscaled;
    why = numeric_unscaled(&numeric, decoder->scale, &unscaled);
    if (UNLIKELY(why != NULL))
        return why;
    __int128 size = unscaled < 0 ? -unscaled : unscaled;
    if (UNLIKELY(size >= decoder->limit))
        return numeric_does_not_fit;
    column_put_i128(batch, column, unscaled);
    return NULL;
}

/* --- printed --- */

NOINLINE static const char *put_printed(const PgDecoder *decoder, Batch *batch, Column *column,
                                        const uint8_t *value, uint32_t bytes)
{
    Bytes text = {0};
    const char *why = print_value(decoder, value, bytes, &text);
    /* Of a list's elements: ten bytes of numeric can be 130,000 digits. */
    if (!why && text.used > COLUMN_BYTES_MAX - (size_t)column->offsets[column->rows])
        why = "is larger than 1 GiB as text";
    if (!why)
        why = put_text(batch, column, text.data ? text.data : (const uint8_t *)"",
                       (uint32_t)text.used);
    bytes_done(&text);
    return why;
}

/* --- arrays --- */

static const char *put_element(const PgDecoder *decoder, Batch *batch, Column *column, Reader *in,
                               uint32_t length)
{
    const uint8_t *at;
    if (length == UINT32_MAX) {
        column_put_null(batch, column);
        return NULL;
    }
    if (!reader_take(in, length, &at))
        return "is an array longer than its bytes";
    return decode_value(decoder, batch, column, at, length);
}

static const char *put_array(const PgDecoder *decoder, Batch *batch, Column *column,
                             const uint8_t *value, uint32_t bytes)
{
    Reader in = reader_over(value, bytes);
    uint32_t dimensions, has_nulls, element_oid, size = 0, lower = 1;
    const PgDecoder *element = &decoder->children[0];
    if (!reader_u32be(&in, &dimensions) || !reader_u32be(&in, &has_nulls) ||
        !reader_u32be(&in, &element_oid))
        return "is too short for an array";
    if (element_oid != element->type_oid)
        return "is an array of another type";
    if (dimensions > 1)
        return "is an array of more than one dimension, which no list holds";
    if (dimensions == 1 && (!reader_u32be(&in, &size) || !reader_u32be(&in, &lower)))
        return "is too short for an array";
    if (lower != 1 && !(decoder->from_zero && lower == 0))
        return "is an array whose lower bound is not 1, which no list holds";
    if (size > reader_left(&in) / 4)
        return "is an array longer than its bytes";
    for (uint32_t i = 0; i < size; i++) {
        uint32_t length;
        if (!reader_u32be(&in, &length))
            return "is an array longer than its bytes";
        column_element_room(batch, column->child);
        const char *why = put_element(element, batch, column->child, &in, length);
        if (why)
            return why;
    }
    if (reader_left(&in))
        return "is an array shorter than its bytes";
    column_put_list(batch, column);
    return NULL;
}

const char decode_other_attributes[] = "is a composite with other attributes than are known";

static const char *put_composite(const PgDecoder *decoder, Batch *batch, Column *column,
                                 const uint8_t *value, uint32_t bytes)
{
    Reader in = reader_over(value, bytes);
    uint32_t count, oid, length;
    if (!reader_u32be(&in, &count))
        return decode_other_attributes;
    for (uint32_t i = 0; i < decoder->child_count; i++) {
        const PgDecoder *child = &decoder->children[i];
        if (child->gone) {
            column_put_null(batch, &column->child[i]);
            continue;
        }
        if (!count--)
            return decode_other_attributes;
        if (!reader_u32be(&in, &oid) || !reader_u32be(&in, &length))
            return "is a composite longer than its bytes";
        if (oid != child->type_oid)
            return decode_other_attributes;
        const char *why = put_element(child, batch, &column->child[i], &in, length);
        if (why)
            return why;
    }
    if (count)
        return decode_other_attributes;
    if (reader_left(&in))
        return "is a composite shorter than its bytes";
    column_put_struct(batch, column);
    return NULL;
}

static const char *put_part(Batch *batch, Column *column, Reader *in, bool nullable)
{
    uint32_t length;
    const uint8_t *text;
    column_element_room(batch, column);
    if (!reader_u32be(in, &length))
        return "is an hstore longer than its bytes";
    if (nullable && length == UINT32_MAX) {
        column_put_null(batch, column);
        return NULL;
    }
    if (!reader_take(in, length, &text))
        return "is an hstore longer than its bytes";
    return put_text(batch, column, text, length);
}

static const char *put_hstore(Batch *batch, Column *column, const uint8_t *value, uint32_t bytes)
{
    Reader in = reader_over(value, bytes);
    uint32_t pairs;
    if (!reader_u32be(&in, &pairs) || pairs > reader_left(&in) / 8)
        return "is an hstore longer than its bytes";
    for (uint32_t i = 0; i < pairs; i++) {
        const char *why = put_part(batch, &column->child[0], &in, false);
        if (!why)
            why = put_part(batch, &column->child[1], &in, true);
        if (why)
            return why;
    }
    if (reader_left(&in))
        return "is an hstore shorter than its bytes";
    column_put_list(batch, column);
    return NULL;
}

static const char *put_vector(Batch *batch, Column *column, const uint8_t *value, uint32_t bytes)
{
    if (bytes < 4 || bytes - 4 != 4 * (uint32_t)be16(value))
        return "has a length that is not its vector's";
    for (uint32_t at = 4; at < bytes; at += 4) {
        column_element_room(batch, column->child);
        column_put_i32(batch, column->child, (int32_t)be32(value + at));
    }
    column_put_list(batch, column);
    return NULL;
}

static const char *put_ewkb(Batch *batch, Column *column, const uint8_t *value, uint32_t bytes)
{
    Bytes wkb = {0};
    if (batch->as_sent) {
        column_put_bytes(batch, column, value, bytes);
        return NULL;
    }
    const char *why = ewkb_to_wkb(value, bytes, &wkb);
    if (!why)
        column_put_bytes(batch, column, wkb.data, wkb.used);
    bytes_done(&wkb);
    return why;
}

/* --- the rest --- */

static const char *put_date(Batch *batch, Column *column, const uint8_t *value)
{
    int32_t days = (int32_t)be32(value);
    if (UNLIKELY(days == INT32_MAX || days == INT32_MIN))
        return "is an infinite date, which Iceberg has no value for";
    if (UNLIKELY(days > INT32_MAX - DAYS_1970_TO_2000))
        return "is a date out of Iceberg's range";
    column_put_i32(batch, column, days + DAYS_1970_TO_2000);
    return NULL;
}

static const char *put_timestamp(Batch *batch, Column *column, const uint8_t *value)
{
    int64_t us = (int64_t)be64(value);
    if (UNLIKELY(us == INT64_MAX || us == INT64_MIN))
        return "is an infinite timestamp, which Iceberg has no value for";
    if (UNLIKELY(us > INT64_MAX - US_1970_TO_2000))
        return "is a timestamp out of Iceberg's range (year 294246 and on)";
    column_put_i64(batch, column, us + US_1970_TO_2000);
    return NULL;
}

static const char wrong_length[] = "has a length that is not its type's";

NOINLINE static const char *decode_rare(const PgDecoder *decoder, Batch *batch, Column *column,
                                        const uint8_t *value, uint32_t bytes)
{
    if (UNLIKELY(bytes > PG_VALUE_BYTES_MAX))
        return "is larger than 512 MiB";
    switch (decoder->form) {
    case FORM_UINT4:
    case FORM_REG:
        if (bytes != 4)
            return wrong_length;
        column_put_i64(batch, column, be32(value));
        return NULL;
    case FORM_UINT8:
    case FORM_MONEY:
        if (bytes != 8)
            return wrong_length;
        column_put_i128(batch, column,
                        decoder->form == FORM_MONEY ? (__int128)(int64_t)be64(value)
                                                    : (__int128)be64(value));
        return NULL;
    case FORM_SERVER_TEXT:
        return put_text(batch, column, value, bytes);
    case FORM_EWKB:
        return put_ewkb(batch, column, value, bytes);
    case FORM_ARRAY:
        return put_array(decoder, batch, column, value, bytes);
    case FORM_COMPOSITE:
        return put_composite(decoder, batch, column, value, bytes);
    case FORM_HSTORE:
        return put_hstore(batch, column, value, bytes);
    case FORM_VECTOR:
        return put_vector(batch, column, value, bytes);
    default:
        return put_printed(decoder, batch, column, value, bytes);
    }
}

const char *decode_value(const PgDecoder *decoder, Batch *batch, Column *column,
                         const uint8_t *value, uint32_t bytes)
{
    switch (decoder->form) {
    case FORM_INT4:
        if (UNLIKELY(bytes != 4))
            return wrong_length;
        column_put_i32(batch, column, (int32_t)be32(value));
        return NULL;
    case FORM_INT8:
        if (UNLIKELY(bytes != 8))
            return wrong_length;
        column_put_i64(batch, column, (int64_t)be64(value));
        return NULL;
    case FORM_TEXT:
        if (UNLIKELY(bytes > PG_VALUE_BYTES_MAX))
            return "is larger than 512 MiB";
        return put_text(batch, column, value, bytes);
    case FORM_DECIMAL:
        return put_decimal(decoder, batch, column, value, bytes);
    case FORM_TIMESTAMP:
    case FORM_TIMESTAMPTZ:
        return UNLIKELY(bytes != 8) ? wrong_length : put_timestamp(batch, column, value);
    case FORM_INT2:
        if (UNLIKELY(bytes != 2))
            return wrong_length;
        column_put_i32(batch, column, (int16_t)be16(value));
        return NULL;
    case FORM_BOOL:
        if (UNLIKELY(bytes != 1 || value[0] > 1))
            return wrong_length;
        column_put_bool(batch, column, value[0]);
        return NULL;
    case FORM_FLOAT4: {
        if (UNLIKELY(bytes != 4))
            return wrong_length;
        column_put_i32(batch, column, (int32_t)be32(value)); /* the same bits */
        return NULL;
    }
    case FORM_FLOAT8:
        if (UNLIKELY(bytes != 8))
            return wrong_length;
        column_put_i64(batch, column, (int64_t)be64(value));
        return NULL;
    case FORM_DATE:
        return UNLIKELY(bytes != 4) ? wrong_length : put_date(batch, column, value);
    case FORM_TIME:
        if (UNLIKELY(bytes != 8))
            return wrong_length;
        if (UNLIKELY(be64(value) >= (uint64_t)US_PER_DAY))
            return "is 24:00:00 or no time of day, which Iceberg has no value for";
        column_put_i64(batch, column, (int64_t)be64(value));
        return NULL;
    case FORM_UUID:
        if (UNLIKELY(bytes != 16))
            return wrong_length;
        memcpy(column_put_fixed(batch, column), value, 16);
        return NULL;
    case FORM_BYTEA:
        if (UNLIKELY(bytes > PG_VALUE_BYTES_MAX))
            return "is larger than 512 MiB";
        column_put_bytes(batch, column, value, bytes);
        return NULL;
    case FORM_CHAR:
        if (UNLIKELY(bytes != 1))
            return wrong_length;
        if (UNLIKELY(value[0] > 127))
            return put_printed(decoder, batch, column, value, bytes);
        column_put_bytes(batch, column, value, value[0] ? 1 : 0);
        return NULL;
    case FORM_VERSIONED_TEXT:
        if (UNLIKELY(bytes < 1 || bytes > PG_VALUE_BYTES_MAX || value[0] != TEXT_VERSION))
            return "has an unknown version of its type's format";
        return put_text(batch, column, value + 1, bytes - 1);
    default:
        return decode_rare(decoder, batch, column, value, bytes);
    }
}

/* --- for messages --- */

void decode_describe(const PgDecoder *decoder, const Type *type, const uint8_t *value,
                     uint32_t bytes, char *to, size_t to_bytes)
{
    ASSERT(to_bytes > 0);
    to[0] = '\0';
    if (type_is_nested(type) || bytes > PG_VALUE_BYTES_MAX)
        return;
    Field field = {.name = (char[]){""}, .type = *type};
    Schema schema = {.fields = &field, .field_count = 1};
    AUTO(batch_free) Batch *batch = batch_new(&schema, 0, 1);
    Column *column = &batch->columns[0];
    batch_row_begin(batch, ROW_READ, (RowPosition){0});
    if (decode_value(decoder, batch, column, value, bytes)) {
        snprintf(to, to_bytes, "(unreadable)");
        return;
    }
    switch (type->kind) {
    case TYPE_STRING: {
        uint32_t length;
        const char *text = (const char *)column_bytes(column, 0, &length);
        snprintf(to, to_bytes, "'%.*s'", length > 60 ? 60 : (int)length, text);
        break;
    }
    case TYPE_BOOL:
        snprintf(to, to_bytes, "%s", bit_get(column->values, 0) ? "true" : "false");
        break;
    case TYPE_INT32:
    case TYPE_DATE:
        snprintf(to, to_bytes, "%" PRId32, column_i32(column, 0));
        break;
    default: {
        if (column->width == 8 && type->kind == TYPE_INT64) {
            snprintf(to, to_bytes, "%" PRId64, column_i64(column, 0));
            break;
        }
        size_t used = 0;
        for (uint32_t i = 0; i < bytes && i < 24 && used + 3 < to_bytes; i++)
            used +=
                (size_t)snprintf(to + used, to_bytes - used, "%s%02x", i ? "" : "\\x", value[i]);
    }
    }
}
