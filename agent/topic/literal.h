/* Values that are known when a table's schema is: what stands in a schema as a column's default,
 * what Debezium writes of a required column that an old row lacks, and the placeholder of a value
 * that an update left out. */
#pragma once

#include "agent/topic/connect_schema.h"

struct Literal {
    bool none;       /* null */
    int64_t integer; /* integers, booleans */
    double real;
    Piece bytes;    /* strings, bytes */
    Literal *items; /* elements, fields; a map's keys and values in turn */
    uint32_t item_count;
};

/* The column's default by Debezium's reading of its expression; NULL: none it could read. */
const Literal *literal_default(Arena *arena, TopicSource from, const ConnectSchema *schema,
                               const ColumnType *source, const char *expression);
/* Of a required column that is not there: 0, "", … */
Literal literal_empty(Arena *arena, const ConnectSchema *schema);
/* False: there is no placeholder for its type. */
MUST_CHECK bool literal_unavailable(Arena *arena, const ConnectSchema *schema,
                                    const char *placeholder, Literal *ret);
