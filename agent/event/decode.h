/* What json.c, avro.c and proto.c share: a record's values into the columns of the batch's latest
 * row. */
#pragma once

#include "agent/event/value.h"
#include "agent/event/wire.h"
#include "common/json/scan.h"
#include "common/reader.h"

#define PLACEHOLDER "__debezium_unavailable_value"
#define PLACEHOLDER_BASE64 "X19kZWJleml1bV91bmF2YWlsYWJsZV92YWx1ZQ=="

/* A writer's schema, as far as rows go. */
typedef struct EventPlan {
    WireSchema wire;
    WireType *envelope;     /* NULL: the schema is a row's alone (a key's) */
    WireType *before, *row; /* `row` is after's */
    uint32_t before_at, after_at, op_at, source_at; /* of the envelope's fields; COLUMN_NONE */
    uint32_t ts_at;                                 /* of source's fields */
    bool covers; /* every field of the row is a column of the target, of its type */
} EventPlan;

/* Protobuf: where one piece of a field is. */
typedef struct ProtoSpot {
    const uint8_t *at; /* of a span */
    uint64_t value;    /* the number; of a span its bytes */
    uint32_t next;     /* the field's next one, counted from 1; 0: it is the last */
    uint8_t type;
} ProtoSpot;

/* A field's pieces, counted from 1; 0: it has none. */
typedef struct ProtoSlot {
    uint32_t first, last;
} ProtoSlot;

typedef struct Decode {
    Batch *batch;
    const char *why;       /* what is wrong with the value … */
    const WireType *field; /* … of this field; NULL: of the record */
    Bytes text, bytes;
    uint64_t *seen; /* bit per column of the target */
    size_t seen_words;
    /* Bit per field of the row: the update left it out, as the header says. NULL: there is no
     * header, and the placeholder tells. */
    const uint64_t *unchanged;
    bool has_unchanged; /* some bit is set */
    bool may_leave_out; /* it is an update's row */
    /* Protobuf: of the messages that are being read, the outermost first. */
    ProtoSpot *spots;
    ProtoSlot *slots;
    uint32_t spot_count, spots_held, slot_count, slots_held, values;
} Decode;

static inline bool decode_bad(Decode *decode, const char *why)
{
    if (!decode->why)
        decode->why = why;
    return false;
}
static inline bool field_bit(const uint64_t *bits, uint32_t at)
{
    return bits[at / 64] >> at % 64 & 1;
}

static inline bool event_put_integer(Decode *decode, Column *column, int64_t value)
{
    if (column->width == 8)
        column_put_i64(decode->batch, column, value);
    else if (LIKELY(value >= INT32_MIN && value <= INT32_MAX))
        column_put_i32(decode->batch, column, (int32_t)value);
    else
        return decode_bad(decode, "does not fit its column");
    return true;
}
/* value.c's conversions, put. */
MUST_CHECK bool event_put_micros(Decode *decode, const WireType *wire, Column *column,
                                 int64_t value);
MUST_CHECK bool event_put_real(Decode *decode, Column *column, double value);
/* Of a text that is UTF-8: FORM_TEXT, FORM_ZONED, FORM_UUID. */
MUST_CHECK bool event_put_text(Decode *decode, const WireType *wire, Column *column,
                               const char *text, size_t bytes);
/* FORM_BINARY, FORM_DECIMAL, FORM_DECIMAL_TEXT, FORM_BITS */
MUST_CHECK bool event_put_bytes(Decode *decode, const WireType *wire, Column *column,
                                const uint8_t *at, size_t bytes);
MUST_CHECK bool event_put_variable(Decode *decode, Column *column, const uint8_t *at, size_t bytes,
                                   int64_t scale);
/* A null; not of a column that is required. */
MUST_CHECK bool event_put_null(Decode *decode, Column *column);
/* Columns that the record said nothing of. */
MUST_CHECK bool event_put_missing(Decode *decode);
void decode_row_begin(Decode *decode);
/* A column is filled once: false, it was. */
static inline bool decode_sees(Decode *decode, uint32_t column)
{
    uint64_t bit = UINT64_C(1) << column % 64, *word = &decode->seen[column / 64];
    if (UNLIKELY(*word & bit))
        return decode_bad(decode, "stands twice in the record");
    *word |= bit;
    return true;
}

/* A value of plain JSON; not null. */
MUST_CHECK bool event_put_natural(Decode *decode, Scan *json, const WireType *wire, Column *column);

/* A row object, whose '{' comes next. */
MUST_CHECK bool event_put_json(Decode *decode, Scan *json, const WireType *row);
/* What a reader has left of a record. */
MUST_CHECK bool event_put_avro(Decode *decode, Reader *in, const WireType *row);
/* All that a reader has left, a message. */
MUST_CHECK bool event_put_proto(Decode *decode, Reader *in, const WireType *row);
/* Passes over a value, union and all. */
MUST_CHECK bool avro_skip(Decode *decode, Reader *in, const WireType *wire, unsigned depth);
/* Over fields of a struct that follow each other. */
MUST_CHECK bool avro_skip_fields(Decode *decode, Reader *in, const WireType *fields,
                                 uint32_t count);
/* Of a union: is there a value? */
MUST_CHECK bool avro_is_there(Decode *decode, Reader *in, const WireType *wire, bool *ret);
