/* Connect's schema of a table's rows as Debezium makes it: which of Connect's types a column has,
 * under which logical name, and how its value gets there from the batch's column (form). The one
 * table of types stands in connect_schema.c. Everything lies in one arena, and never changes after
 * it is made. https://kafka.apache.org/41/javadoc/org/apache/kafka/connect/data/Schema.html */
#pragma once

#include "agent/topic/topic.h"
#include "common/arena.h"

typedef enum ConnectKind {
    CONNECT_INT16,
    CONNECT_INT32,
    CONNECT_INT64,
    CONNECT_FLOAT,
    CONNECT_DOUBLE,
    CONNECT_BOOLEAN,
    CONNECT_STRING,
    CONNECT_BYTES,
    CONNECT_ARRAY,
    CONNECT_MAP,
    CONNECT_STRUCT,
} ConnectKind;

/* From the column's values (in brackets: their TypeKind) to Connect's. */
typedef enum ValueForm {
    AS_BOOLEAN,       /* [BOOL] */
    AS_INTEGER,       /* [INT32, INT64, DATE] */
    AS_REAL,          /* [FLOAT32, FLOAT64] */
    AS_TEXT,          /* [STRING] as it is */
    AS_BINARY,        /* [BINARY, FIXED] */
    AS_BINARY_BASE64, /* … as text */
    AS_BINARY_BASE64_URL,
    AS_BINARY_HEX,
    AS_UUID_TEXT,     /* [UUID] */
    AS_DECIMAL_BYTES, /* [DECIMAL] the unscaled integer, two's complement, big-endian */
    AS_DECIMAL_DOUBLE,
    AS_DECIMAL_TEXT,
    AS_DECIMAL_LONG,     /* a BIGINT UNSIGNED as a long */
    AS_NUMERIC_BYTES,    /* [STRING], a numeric, at the scale */
    AS_NUMERIC_VARIABLE, /* {scale, value}, without zeros at the end of the fraction */
    AS_NUMERIC_DOUBLE,
    AS_MICROS,          /* [TIME, TIMESTAMP] / divisor, downwards */
    AS_ZONED_TIMESTAMP, /* [TIMESTAMPTZ] text, with so many digits of the second's fraction */
    AS_ZONED_TIME,      /* [STRING], a timetz: text, at UTC */
    AS_INTERVAL_MICROS, /* [STRING], an interval */
    AS_INTERVAL_TEXT,   /* ISO 8601 */
    AS_BIT,             /* [STRING] of 0 and 1: boolean */
    AS_BITS,            /* bytes, the last bit the lowest of the first byte */
    AS_POINT,           /* [STRING]: {x, y, wkb, srid} */
    AS_GEOMETRY,        /* [BINARY], EWKB: {wkb, srid} */
    AS_MYSQL_POINT,     /* [BINARY], the SRID in 4 bytes little-endian, WKB: {x, y, wkb, srid} */
    AS_MYSQL_GEOMETRY,  /* the same: {wkb, srid} */
    AS_PAIRS_TEXT,      /* [MAP] of strings: a JSON object as text */
    AS_PAIRS,           /* [MAP] */
    AS_ELEMENTS,        /* [LIST] */
    AS_ATTRIBUTES,      /* [STRUCT] */
} ValueForm;

typedef struct Piece { /* of text or Avro, in the arena */
    const uint8_t *at;
    size_t bytes;
} Piece;

typedef struct Literal Literal;
typedef struct ConnectSchema ConnectSchema;
struct ConnectSchema {
    ConnectKind kind;
    bool optional;
    const char *name; /* the logical type's, or a struct's; NULL: none */
    int version;      /* 0: none */
    const char *doc;
    const char *parameters[4]; /* name, value, name, value; NULL: no more */
    const char *field;         /* what it is called in the struct it stands in */
    const Literal *fallback;   /* the column's default; NULL: none */
    ConnectSchema *children;   /* array: the element; map: key, value; struct: its fields */
    uint32_t child_count;
    ValueForm form;
    uint32_t column;     /* of the batch, or which child of the struct's column */
    int32_t scale;       /* of decimals */
    uint32_t digits;     /* AS_ZONED_TIMESTAMP; AS_BITS: bytes, at least */
    int64_t divisor;     /* AS_MICROS */
    bool is_number;      /* a string that is a numeric, for partition.h */
    uint8_t there, none; /* Avro: what stands before a value, and for none, when it is optional */
    /* Made for a table's columns, in the table's format: */
    Piece prefix;      /* JSON: {"name": or ,"name": , padded */
    Piece null;        /* a null */
    Piece absent;      /* a column that the old row does not have */
    Piece unavailable; /* a value that the update left out */
};

/* The names of what lies inside a column's struct begin with `path`. */
MUST_CHECK bool connect_column(Arena *arena, const Field *field, const ColumnType *source,
                               const TopicOptions *options, const char *path, ConnectSchema *ret,
                               bool *ret_known, Error *err);

/* A struct with these fields, to be filled in. */
ConnectSchema *connect_struct(Arena *arena, const char *name, int version, uint32_t fields);
/* A plain field: kind, name, optional. */
ConnectSchema connect_field(ConnectKind kind, const char *field, bool optional);
/* The schema of the block `transaction`. */
ConnectSchema connect_transaction_schema(Arena *arena);

char *arena_text(Arena *arena, const char *format, ...) PRINTF(2, 3);
