/* A column in the source's own words, for what agent/record/type.h no longer tells (int2 from int4,
 * timestamp(3) from timestamp, json from text). PostgreSQL: pg_type's. MySQL and MariaDB: the
 * catalog's words, "int unsigned", with modifiers as PostgreSQL's: of decimal, of a second's
 * digits, bits. */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "common/attrs.h"

typedef struct ColumnType ColumnType;
struct ColumnType {
    const char *name; /* typname of the base type: "int4", "bpchar", "geometry"; of an array, an
                       * enum or a composite its own, which is only looked at for int2vector and
                       * oidvector. A domain is what it is made of. "": it is gone by now */
    int32_t modifier; /* atttypmod (of a domain: typtypmod); -1: none. An array has its element's */
    bool is_enum;     /* MySQL: a SET, too */
    const char *const *labels; /* of an enum, in their order */
    size_t label_count;
    const ColumnType *children; /* array: the element; composite: its attributes, as in our Type */
    size_t child_count;
};

typedef struct SourceColumn {
    ColumnType type;
    /* The column's default as pg_get_expr prints it ("'none'::text", "nextval(…)"), NULL: none; of
     * MySQL and MariaDB the constant itself, or CURRENT_TIMESTAMP.
     * Stands in a topic's schema as Debezium reads it: constants; computed ones of some types as 0,
     * ''. */
    const char *default_expression;
} SourceColumn;
