/* From decoded values to a batch's column, with Iceberg's promotions. */
#include "agent/table/parquet/column_reader.h"

/* Dense values go to the rows that have one; the others are null. */
#define PUT_EACH(type, expression)                                                                 \
    for (uint32_t i = 0, k = 0; i < slots; i++) {                                                  \
        if (present && !present[i]) {                                                              \
            column_put_null(batch, column);                                                        \
            continue;                                                                              \
        }                                                                                          \
        type value = (type)(expression);                                                           \
        memcpy(column_put_fixed(batch, column), &value, sizeof value);                             \
        k++;                                                                                       \
    }

static bool decimal_of(const Piece *piece, __int128 *ret)
{
    if (piece->bytes < 1)
        return false;
    unsigned __int128 value = piece->at[0] & 0x80 ? ~(unsigned __int128)0 : 0;
    for (uint32_t i = 0; i < piece->bytes; i++) {
        if (i + 16 < piece->bytes && piece->at[i] != (uint8_t)value)
            return false; /* more than 128 bits */
        value = value << 8 | piece->at[i];
    }
    *ret = (__int128)value;
    return true;
}

static bool put_decimals(ColumnReader *reader, Batch *batch, Column *column, const uint8_t *present,
                         uint32_t slots, Error *err)
{
    if (reader->source.physical == PHYSICAL_INT32) {
        PUT_EACH(__int128, reader->out.i32[k])
        return true;
    }
    if (reader->source.physical == PHYSICAL_INT64) {
        PUT_EACH(__int128, reader->out.i64[k])
        return true;
    }
    for (uint32_t i = 0, k = 0; i < slots; i++) {
        __int128 value;
        if (present && !present[i]) {
            column_put_null(batch, column);
            continue;
        }
        if (!decimal_of(&reader->out.pieces[k++], &value))
            return column_data_error(reader, "a decimal has no or too many bytes", err);
        column_put_i128(batch, column, value);
    }
    return true;
}

static bool put_pieces(ColumnReader *reader, Batch *batch, Column *column, const uint8_t *present,
                       uint32_t slots, Error *err)
{
    const Piece *piece = reader->out.pieces;
    for (uint32_t i = 0; i < slots; i++) {
        if (present && !present[i]) {
            column_put_null(batch, column);
            continue;
        }
        if (column->offsets) {
            if (piece->bytes > COLUMN_BYTES_MAX - (size_t)column->offsets[column->rows])
                return column_data_error(reader, "its values are too large for one batch", err);
            column_put_bytes(batch, column, piece->at, piece->bytes);
        } else {
            memcpy(column_put_fixed(batch, column), piece->at, column->width);
        }
        piece++;
    }
    return true;
}

/* Times in milliseconds become microseconds; what does not fit wraps nowhere, it is an error. */
static bool put_times(ColumnReader *reader, Batch *batch, Column *column, const uint8_t *present,
                      uint32_t slots, Error *err)
{
    bool narrow = reader->source.physical == PHYSICAL_INT32;
    for (uint32_t i = 0, k = 0; i < slots; i++) {
        if (present && !present[i]) {
            column_put_null(batch, column);
            continue;
        }
        int64_t value = narrow ? reader->out.i32[k] : reader->out.i64[k];
        k++;
        if (__builtin_mul_overflow(value, reader->source.multiplier, &value))
            return column_data_error(reader, "a time in milliseconds is out of range", err);
        column_put_i64(batch, column, value);
    }
    return true;
}

bool values_put(ColumnReader *reader, Batch *batch, Column *column, const uint8_t *present,
                uint32_t slots, Error *err)
{
    Physical physical = reader->source.physical;
    switch (reader->wanted->type.kind) {
    case TYPE_BOOL:
        for (uint32_t i = 0, k = 0; i < slots; i++) {
            if (present && !present[i])
                column_put_null(batch, column);
            else
                column_put_bool(batch, column, reader->out.u8[k++]);
        }
        return true;
    case TYPE_INT32:
    case TYPE_DATE:
        PUT_EACH(int32_t, reader->out.i32[k])
        return true;
    case TYPE_INT64:
        if (physical == PHYSICAL_INT32) {
            PUT_EACH(int64_t, reader->out.i32[k])
        } else {
            PUT_EACH(int64_t, reader->out.i64[k])
        }
        return true;
    case TYPE_FLOAT32:
        PUT_EACH(float, reader->out.f32[k])
        return true;
    case TYPE_FLOAT64:
        if (physical == PHYSICAL_FLOAT) {
            PUT_EACH(double, reader->out.f32[k])
        } else {
            PUT_EACH(double, reader->out.f64[k])
        }
        return true;
    case TYPE_DECIMAL:
        return put_decimals(reader, batch, column, present, slots, err);
    case TYPE_TIME:
    case TYPE_TIMESTAMP:
    case TYPE_TIMESTAMPTZ:
        return put_times(reader, batch, column, present, slots, err);
    case TYPE_STRING:
    case TYPE_BINARY:
    case TYPE_UUID:
    case TYPE_FIXED:
        return put_pieces(reader, batch, column, present, slots, err);
    case TYPE_LIST:
    case TYPE_MAP:
    case TYPE_STRUCT:
        break;
    }
    return column_data_error(reader, "a type that is not read", err);
}
