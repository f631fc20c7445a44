/* PostgreSQL's binary values (what a type's send function writes) into a batch's columns. Shared by
 * COPY and pgoutput, which carry the same bytes. A decoder is chosen once per column (types.h); a
 * value's length is checked against its type before a byte is read.
 *
 *   bool            1 byte, 0 or 1                    int2, int4, int8   2, 4, 8 bytes
 *   oid, xid, cid, reg*  4 bytes, unsigned            xid8               8 bytes, unsigned
 *   float4, float8  4, 8 bytes, IEEE 754              uuid               16 bytes
 *   money           8 bytes, in the smallest unit of the server's lc_monetary
 *   date            int32 days since 2000-01-01; INT32_MAX, INT32_MIN: infinity, -infinity
 *   time            int64 microseconds, 0 to 24:00:00 inclusive
 *   timestamp(tz)   int64 microseconds since 2000-01-01 (UTC); INT64_MAX, INT64_MIN: infinities
 *   text, varchar, bpchar, name, json, xml, enum      the text in the client's encoding, UTF-8
 *   "char"          1 byte, 0: the empty text; above 127, which is no UTF-8, \ooo as since 16
 *   bytea           the bytes
 *   jsonb, jsonpath, ltree …                          1 byte version = 1, then text
 *   numeric         int16 groups, int16 weight, uint16 sign (0 +, 4000 -, C000 NaN, D000 Infinity,
 *                   F000 -Infinity), int16 digits after the point, then each group as an int16 of
 *                   0 to 9999: value = sum of group[i] * 10000 ^ (weight - i)
 *   array           int32 dimensions, int32 has nulls, uint32 element type; per dimension int32
 *                   size, int32 lower bound; then per element int32 length (-1: null) and its bytes
 *   composite       int32 attributes, then per attribute that is there at that place of the log
 *                   uint32 type, int32 length (-1: null) and its bytes
 *   hstore          int32 pairs, then per pair int32 length, key, int32 length (-1: null), value
 *   vector          int16 dimensions, int16 0, then per dimension a float4
 *   geometry        EWKB, see ewkb.h: it becomes WKB, but where values are as sent
 *
 * What is printed (print.h has those tables) becomes the text that the server would show. All
 * big-endian. */
#pragma once

#include "agent/record/batch.h"

typedef enum PgForm {
    FORM_BOOL,
    FORM_INT2,
    FORM_INT4,
    FORM_INT8,
    FORM_UINT4, /* a long */
    FORM_REG,   /* the same; its text is a name that only the server knows */
    FORM_UINT8, /* decimal(20,0) */
    FORM_FLOAT4,
    FORM_FLOAT8,
    FORM_DECIMAL,      /* numeric(p,s) */
    FORM_NUMERIC_TEXT, /* numeric that no decimal holds */
    FORM_MONEY,        /* decimal(19, the currency's digits) */
    FORM_DATE,
    FORM_TIME,
    FORM_TIMESTAMP, /* without zone */
    FORM_TIMESTAMPTZ,
    FORM_TEXT,
    FORM_CHAR,
    FORM_VERSIONED_TEXT,
    FORM_BYTEA,
    FORM_UUID,
    FORM_EWKB,
    FORM_VECTOR,
    FORM_HSTORE,
    FORM_ARRAY,
    FORM_COMPOSITE,
    FORM_PRINTED,     /* the text of its child, because the user asked for a string */
    FORM_SERVER_TEXT, /* has no send function: the server's text; copied with a cast to text */
    /* Only ever printed, see print.h. */
    FORM_INTERVAL,
    FORM_TIMETZ,
    FORM_BITS,
    FORM_INET,
    FORM_CIDR,
    FORM_MACADDR,
    FORM_MACADDR8,
    FORM_POINT,
    FORM_LSEG,
    FORM_PATH,
    FORM_BOX,
    FORM_POLYGON,
    FORM_LINE,
    FORM_CIRCLE,
    FORM_TSVECTOR,
    FORM_TSQUERY,
    FORM_LSN,
    FORM_TID,
    FORM_SNAPSHOT,
    FORM_RANGE,
    FORM_MULTIRANGE,
} PgForm;

typedef struct PgDecoder PgDecoder;
struct PgDecoder {
    PgForm form;
    uint8_t precision; /* FORM_DECIMAL */
    uint8_t scale;
    char delimiter;    /* FORM_ARRAY: between elements of its text */
    bool from_zero;    /* FORM_ARRAY: its lower bound is 0 (int2vector, oidvector) */
    bool gone;         /* an attribute that the values do not have: null */
    bool any_typmod;   /* the column's typmod says nothing about the values */
    __int128 limit;    /* FORM_DECIMAL: 10 ^ precision */
    int32_t typmod;    /* of the column, as catalog and log have it */
    uint32_t type_oid; /* as the catalog, the log and an array or composite around it name it */
    uint32_t base_oid; /* as the result of a query names it: a domain's base type */
    uint32_t child_count;
    PgDecoder *children; /* owned. Array: element; composite: attributes; range: bound; multirange:
                          * range; printed: what is printed */
};

void decoder_done(PgDecoder *decoder); /* frees its children */

/* A longer value is refused, so that a batch's int32_t offsets always hold. */
#define PG_VALUE_BYTES_MAX (COLUMN_BYTES_MAX / 2)

/* Appends one value to the column. NULL on success, else the reason it can't be read, a static text
 * that goes on from "value "; then the row must be undone (batch_row_undo). */
MUST_CHECK const char *decode_value(const PgDecoder *decoder, Batch *batch, Column *column,
                                    const uint8_t *value, uint32_t bytes);

/* The reason when a composite, wherever it stands in the value, has other attributes than its
 * decoder: composites.h. */
extern const char decode_other_attributes[];

/* Writes the value as text for an error message, cut to fit. */
void decode_describe(const PgDecoder *decoder, const Type *type, const uint8_t *value,
                     uint32_t bytes, char *to, size_t to_bytes);
