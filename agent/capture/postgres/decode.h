/* PostgreSQL's binary values (what a type's send function writes) into a batch's columns. Shared by
 * COPY and pgoutput, which carry the same bytes. A decoder is chosen once per column; the value's
 * length is checked against its type before a byte is read.
 *
 *   bool            1 byte, 0 or 1                    int2, int4, int8   2, 4, 8 bytes
 *   float4, float8  4, 8 bytes, IEEE 754              uuid               16 bytes
 *   date            int32 days since 2000-01-01; INT32_MAX, INT32_MIN: infinity, -infinity
 *   time            int64 microseconds, 0 to 24:00:00 inclusive
 *   timestamp(tz)   int64 microseconds since 2000-01-01 (UTC); INT64_MAX, INT64_MIN: infinities
 *   text, varchar, bpchar, name, json, enum           the text in the client's encoding, UTF-8
 *   "char"          1 byte, 0: the empty text         bytea              the bytes
 *   jsonb           1 byte version = 1, then text
 *   numeric         int16 groups, int16 weight, uint16 sign (0 +, 4000 -, C000 NaN, D000 Infinity,
 *                   F000 -Infinity), int16 digits after the point, then each group as an int16 of
 *                   0 to 9999: value = sum of group[i] * 10000 ^ (weight - i)
 *   array           int32 dimensions, int32 has nulls, uint32 element type; per dimension int32
 *                   size, int32 lower bound; then per element int32 length (-1: null) and its bytes
 *
 * All big-endian. */
#pragma once

#include "agent/record/batch.h"

typedef enum PgForm {
    FORM_BOOL,
    FORM_INT2,
    FORM_INT4,
    FORM_INT8,
    FORM_FLOAT4,
    FORM_FLOAT8,
    FORM_DECIMAL,      /* numeric(p,s) */
    FORM_NUMERIC_TEXT, /* numeric that no decimal holds */
    FORM_DATE,
    FORM_TIME,
    FORM_TIMESTAMP, /* with and without zone */
    FORM_TEXT,
    FORM_CHAR,
    FORM_JSONB,
    FORM_BYTEA,
    FORM_UUID,
    FORM_ARRAY,
} PgForm;

typedef struct PgDecoder {
    PgForm form;
    PgForm element;    /* FORM_ARRAY */
    uint8_t precision; /* FORM_DECIMAL */
    uint8_t scale;
    __int128 limit; /* 10 ^ precision */
    uint32_t type_oid;
    uint32_t element_oid; /* FORM_ARRAY */
} PgDecoder;

/* What pg_type and pg_attribute say of a column. */
typedef struct PgTypeFacts {
    uint32_t oid;
    int32_t typmod;
    char typtype;         /* b base, e enum, c composite, d domain, r range … */
    uint32_t element_oid; /* of an array type, else 0 */
    char element_typtype;
} PgTypeFacts;

/* A longer value is refused, so that a batch's int32_t offsets always hold. */
#define PG_VALUE_BYTES_MAX (COLUMN_BYTES_MAX / 2)

/* False when Firn has no type for it. *ret_type owns its element field (field_done). */
MUST_CHECK bool decoder_choose(const PgTypeFacts *facts, PgDecoder *ret, Type *ret_type);

/* Does the column with this typmod still have the values the decoder reads? (varchar(20) grown to
 * varchar(40) does, numeric(12,2) made numeric(12,3) does not.) */
bool decoder_same_typmod(const PgDecoder *decoder, int32_t typmod);

/* Appends one value to the column. NULL on success, else the reason it can't be read, a static text
 * that goes on from "value "; then the row must be undone (batch_row_undo). */
MUST_CHECK const char *decode_value(const PgDecoder *decoder, Batch *batch, Column *column,
                                    const uint8_t *value, uint32_t bytes);

/* Writes the value as text for an error message, cut to fit. */
void decode_describe(const PgDecoder *decoder, const Type *type, const uint8_t *value,
                     uint32_t bytes, char *to, size_t to_bytes);
