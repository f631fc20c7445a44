/* What a value can be: the types between a source and a lake, in Arrow's layout and Iceberg's
 * meaning. https://iceberg.apache.org/spec/#schemas-and-data-types A Schema owns its names and its
 * nested fields; it is immutable once built and may be shared by threads. */
#pragma once

#include "common/attrs.h"
#include "common/error.h"

typedef enum TypeKind {
    TYPE_BOOL,        /* bits, least significant first */
    TYPE_INT32,       /* int32_t */
    TYPE_INT64,       /* int64_t */
    TYPE_FLOAT32,     /* float */
    TYPE_FLOAT64,     /* double */
    TYPE_DECIMAL,     /* __int128 little-endian, unscaled; precision 1..38, scale 0..precision */
    TYPE_DATE,        /* int32_t days since 1970-01-01 */
    TYPE_TIME,        /* int64_t microseconds since midnight */
    TYPE_TIMESTAMP,   /* int64_t microseconds since 1970-01-01T00:00:00, no zone */
    TYPE_TIMESTAMPTZ, /* int64_t microseconds since 1970-01-01T00:00:00Z */
    TYPE_STRING,      /* int32_t offsets, UTF-8 */
    TYPE_BINARY,      /* int32_t offsets, bytes */
    TYPE_UUID,        /* 16 bytes, big-endian as written */
    TYPE_FIXED,       /* fixed_bytes bytes */
    TYPE_LIST,        /* int32_t offsets, one child: element */
    TYPE_MAP,         /* int32_t offsets, two children: key (required), value */
    TYPE_STRUCT,      /* no values of its own, a child per field */
} TypeKind;

typedef struct Field Field;

typedef struct Type {
    TypeKind kind;
    uint8_t precision;    /* TYPE_DECIMAL */
    uint8_t scale;        /* TYPE_DECIMAL */
    uint32_t fixed_bytes; /* TYPE_FIXED */
    uint32_t field_count; /* TYPE_STRUCT */
    union {               /* owned by the schema */
        Field *element;   /* TYPE_LIST: one; TYPE_MAP: key and value */
        Field *fields;    /* TYPE_STRUCT */
    };
} Type;

struct Field {
    char *name;
    Type type;
    bool required;
    int32_t id; /* Iceberg's field id; 0 = not assigned yet */
    char *doc;  /* may be NULL */
    /* Of a source's column: what it is called there for good, whatever its name (PostgreSQL's
     * attnum); 0: not known. */
    int32_t origin;
    /* The value of rows that were written before the column was there, as JSON (Iceberg's
     * single-value form, Appendix D); NULL: null. */
    char *initial;
};

static inline bool type_is_nested(const Type *type)
{
    return type->kind >= TYPE_LIST;
}
/* How many fields stand below it, directly: in `fields`, which is `element`. */
static inline uint32_t type_child_count(const Type *type)
{
    return type->kind == TYPE_STRUCT ? type->field_count
           : type->kind == TYPE_MAP  ? 2
           : type->kind == TYPE_LIST ? 1
                                     : 0;
}

typedef struct Schema {
    Field *fields;
    size_t field_count;
    uint32_t *key; /* indices into fields, in the key's order */
    size_t key_count;
} Schema;

void schema_free(Schema *schema);                                               /* NULL is fine */
Schema *schema_new(size_t field_count, size_t key_count) OWNED_BY(schema_free); /* zeroed fields */
Schema *schema_copy(const Schema *schema) OWNED_BY(schema_free);
void field_copy(Field *to, const Field *from);           /* deep; `to` is overwritten */
void field_done(Field *field);                           /* frees what it owns, not itself */
void type_done(Type *type);                              /* frees what stands below it */
int schema_find(const Schema *schema, const char *name); /* index, or -1 */
/* A zeroed type with its children in place: "element", or "key" and "value", or unnamed. */
Type type_nested(TypeKind kind, uint32_t field_count);

/* Bytes of one value in a column's values; 0 for bool (bits), string, binary and what is nested. */
uint32_t type_width(const Type *type);
bool type_equal(const Type *a, const Type *b);

/* Iceberg's name of a primitive ("long", "decimal(12,2)", "timestamptz", "fixed[16]"), or
 * "list<…>", "map<…, …>", "struct<name: …>", cut with "…" when it is long. Returns ret. */
#define TYPE_NAME_BYTES 64
char *type_format(const Type *type, char ret[TYPE_NAME_BYTES]);
/* The other way, primitives only. CONFIG error names the text. */
MUST_CHECK bool type_parse(const char *text, Type *ret, Error *err);

DEFINE_AUTO(Schema, schema_free);
