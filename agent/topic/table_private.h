/* What a TopicTable is; only for table.c and rows.c. */
#pragma once

#include "agent/topic/envelope.h"
#include "agent/topic/values.h"

#define TABLE_OPS 5 /* r c u d t */

struct TopicTable {
    Arena *arena;
    TopicOptions options; /* its texts in the arena */
    bool avro;
    const Schema *schema;
    uint32_t version;
    const char *name;     /* "public.orders", for messages */
    ConnectSchema *key;   /* NULL: none */
    ConnectSchema *value; /* the row */
    bool *is_key;         /* per field of the schema: an old row has it */
    Bytes key_text, value_text;
    Frame key_frame, value_frame;
    SourceBlock source;
    ValueScratch scratch;
    Bytes partition_key; /* scratch */
    /* So that a row is a few copies: */
    Bytes open_new, open_old; /* of the value, to the first row */
    Bytes times;              /* of the rows being written */
    Bytes endings[TABLE_OPS]; /* from behind `transaction`, with these times */
};
