/* What a value is on the wire, in JSON by Connect's schema, in Avro or Protobuf, and what it
 * becomes in a column. Everything lies in the plan's arena and never changes once it is made. */
#pragma once

#include <jansson.h>

#include "agent/record/batch.h"
#include "agent/record/writer.h"
#include "common/arena.h"
#include "common/error.h"

typedef struct RecordsSpec RecordsSpec; /* common/manifest/manifest.h */

#define WIRE_DEPTH_MAX 16
#define WIRE_FIELDS_MAX 4096
#define WIRE_NODES_MAX 65536 /* of one schema */

typedef enum WireKind {
    WIRE_BOOLEAN,
    WIRE_INT, /* 32 bits and less */
    WIRE_LONG,
    WIRE_UNSIGNED, /* Protobuf: 64 bits */
    WIRE_FLOAT,
    WIRE_DOUBLE,
    WIRE_STRING,
    WIRE_BYTES, /* JSON: base64 */
    WIRE_FIXED,
    WIRE_ENUM,
    WIRE_ARRAY,
    WIRE_MAP, /* keys are texts */
    WIRE_STRUCT,
    WIRE_NULL,
    WIRE_NATURAL, /* JSON, of a column that is declared: wire_from_columns */
} WireKind;

/* From the wire's value to the column's (in brackets: its TypeKind). */
typedef enum WireForm {
    FORM_BOOLEAN,      /* [BOOL] */
    FORM_INTEGER,      /* [INT32, INT64, DATE] */
    FORM_UNSIGNED,     /* [DECIMAL] of 64 bits */
    FORM_MICROS,       /* [TIME, TIMESTAMP, TIMESTAMPTZ] times multiplier, by divisor */
    FORM_REAL,         /* [FLOAT32, FLOAT64] */
    FORM_TEXT,         /* [STRING] */
    FORM_BINARY,       /* [BINARY] */
    FORM_DECIMAL,      /* [DECIMAL] bytes: the unscaled integer, two's complement, big-endian */
    FORM_DECIMAL_TEXT, /* [STRING] the same, of more digits than a decimal has */
    FORM_VARIABLE,     /* [STRING] {scale, value} */
    FORM_ZONED,        /* [TIMESTAMPTZ] ISO 8601 */
    FORM_UUID,         /* [UUID] text */
    FORM_BITS,         /* [STRING] bytes, the last bit the lowest of the first byte */
    FORM_POINT,        /* [STRING] {x, y, …}: "(x,y)" */
    FORM_WKB,          /* [BINARY] {wkb, srid} */
    FORM_SECONDS,      /* [TIMESTAMPTZ, INT64] {seconds, nanos} in microseconds */
    FORM_PRESENT,      /* [BOOL] it is there: a message that never has a field */
    FORM_LIST,
    FORM_MAP,
    FORM_STRUCT,
    /* of WIRE_NATURAL, beside those above: */
    FORM_JSON,   /* [STRING] a text; of any other value its JSON */
    FORM_NUMBER, /* [DECIMAL] a number, or one as text: not rounded */
    FORM_DATE,   /* [DATE] "2026-11-22" */
    FORM_TIME,   /* [TIME] "12:34:56.123456" */
    FORM_LOCAL,  /* [TIMESTAMP] "2026-11-22T12:34:56", without a zone */
    FORM_SCALED, /* [DECIMAL] as FORM_DECIMAL, at the column's scale, or as FORM_VARIABLE */
    FORM_HEX,    /* [BINARY] text */
} WireForm;

typedef enum ProtoCoding {
    PROTO_VARINT,
    PROTO_VARINT32, /* of which the lowest 32 bits count, without a sign */
    PROTO_ZIGZAG,
    PROTO_FIXED32,
    PROTO_FIXED64,
    PROTO_SPAN, /* behind its length: texts, bytes, messages */
} ProtoCoding;

/* Protobuf's own of a field; of a message (and a map's entry, a wrapper) the last two. */
typedef struct ProtoWire {
    uint32_t number;
    ProtoCoding coding;
    bool implicit; /* left out: its default */
    bool required;
    bool boxed;     /* a message around the one value: google.protobuf.Int64Value */
    uint32_t oneof; /* of the message's, counted from 1; 0: none */
    uint32_t oneof_count;
    const uint32_t *order;  /* the children by their numbers */
    const int32_t *numbers; /* of an enum's symbols */
} ProtoWire;

typedef struct WireType WireType;
struct WireType {
    WireKind kind;
    bool optional;
    uint8_t null_branch;  /* Avro: which of the two branches is null */
    uint8_t branch_count; /* Avro: of a union; 0: it is none */
    const char *name;     /* the logical type's; NULL: none */
    const char *field;    /* what it is called in the struct it stands in */
    uint32_t field_bytes;
    int32_t scale, precision, length; /* decimals; bits */
    uint32_t fixed_bytes;
    WireType *children; /* array: the element; map: key, value; struct: its fields */
    uint32_t child_count;
    Type natural;         /* WIRE_NATURAL: the column's, a primitive */
    const char **symbols; /* enum */
    uint32_t symbol_count;
    WireForm form;
    int64_t multiplier, divisor; /* FORM_MICROS */
    ProtoWire proto;
    uint32_t column; /* of a row's fields: the target's; COLUMN_NONE: it is passed over */
};
#define COLUMN_NONE UINT32_MAX

typedef struct WireSchema {
    Arena *arena;
    WireType *root;
    uint32_t nodes;
} WireSchema;
void wire_schema_done(WireSchema *schema);

/* Connect's schema as its JsonConverter writes it (the object, as JSON). CONFIG "BadSchema". */
MUST_CHECK bool wire_from_connect(const json_t *json, WireSchema *ret, Error *err);
/* A writer's Avro schema. Logical types by Connect's names (connect.name), else by Avro's own. */
MUST_CHECK bool wire_from_avro(const json_t *json, WireSchema *ret, Error *err);
/* The message of a .proto file that `path` leads to: the n-th of the file's, the n-th in that … */
MUST_CHECK bool wire_from_proto(const WriterSchema *writer, const uint32_t *path, size_t depth,
                                WireSchema *ret, Error *err);
/* Rows of JSON without a schema with these columns, all of primitive types: plain ones, or, with
 * records, those of Debezium's envelope. CONFIG "BadSchema". */
MUST_CHECK bool wire_from_columns(const Schema *columns, const RecordsSpec *records,
                                  WireSchema *ret, Error *err);

/* The lake's type of a value; sets its form, and those below it. CONFIG "UnsupportedType". The
 * type's children are the caller's (type_done). */
MUST_CHECK bool wire_type(WireType *wire, Type *ret, Error *err);

/* A struct's field; NULL: none. */
WireType *wire_find(const WireType *wire, const char *field);
WireType *wire_new(WireSchema *schema, uint32_t count, Error *err); /* NULL: too many */
