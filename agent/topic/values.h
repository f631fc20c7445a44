/* Rows and values of a batch, appended in either format. json.c and avro.c are the same code
 * (value_body.h) over other leaves. */
#pragma once

#include "agent/topic/connect_schema.h"
#include "agent/topic/literal.h"

typedef struct ValueScratch {
    Bytes a, b;
} ValueScratch;
void value_scratch_done(ValueScratch *scratch);

typedef enum RowPart {
    ROW_WHOLE,   /* all columns are there, or unchanged */
    ROW_OLD_KEY, /* only the key's are: the others are absent */
} RowPart;

typedef struct ValueProblem {
    const ConnectSchema *column;
    const char *code; /* "NoDecimal", "BadValue" */
    const char *why;
} ValueProblem;

/* The struct of a table's row (its schema's children are the columns). False: *ret says of which
 * column a value can't be written. is_key: for ROW_OLD_KEY, per column of the batch. */
MUST_CHECK bool json_put_row(const ConnectSchema *schema, const Batch *batch, uint32_t row,
                             RowPart part, const bool *is_key, ValueScratch *scratch, Bytes *to,
                             ValueProblem *ret);
MUST_CHECK bool avro_put_row(const ConnectSchema *schema, const Batch *batch, uint32_t row,
                             RowPart part, const bool *is_key, ValueScratch *scratch, Bytes *to,
                             ValueProblem *ret);
void json_put_literal(const ConnectSchema *schema, const Literal *literal, Bytes *to);
void avro_put_literal(const ConnectSchema *schema, const Literal *literal, Bytes *to);

/* Avro's string and bytes. */
static inline void avro_put_span(Bytes *to, const void *at, size_t bytes)
{
    bytes_put_zigzag(to, (int64_t)bytes);
    bytes_put(to, at, bytes);
}
