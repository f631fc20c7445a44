/* Values in Avro's binary form: https://avro.apache.org/docs/1.12.0/specification/#binary-encoding
 *
 *   int, long  zigzag varint          float, double  IEEE 754, little-endian    boolean  1 byte
 *   string, bytes  long length, the bytes            record  its fields
 *   array, map  long count, the items, long 0; an empty one only the 0
 *   union  long branch, the value: an optional value's schema says which is which (there, none) */
#include <string.h>

#include "agent/topic/numeric.h"
#include "agent/topic/parse.h"
#include "agent/topic/scalar.h"
#include "agent/topic/values.h"

static inline void leaf_null(const ConnectSchema *schema, Bytes *to)
{
    bytes_put_u8(to, schema->none);
}
static inline void leaf_there(const ConnectSchema *schema, Bytes *to)
{
    if (schema->optional)
        bytes_put_u8(to, schema->there);
}
static inline void leaf_integer(Bytes *to, int64_t value)
{
    bytes_put_zigzag(to, value);
}
static inline void leaf_boolean(Bytes *to, bool value)
{
    bytes_put_u8(to, value);
}
static inline void leaf_real(Bytes *to, double value, bool single)
{
    float small = (float)value;
    if (single)
        bytes_put(to, &small, sizeof small);
    else
        bytes_put(to, &value, sizeof value);
}
static inline void leaf_text(Bytes *to, const void *at, size_t bytes)
{
    avro_put_span(to, at, bytes);
}
static inline void leaf_ascii(Bytes *to, const void *at, size_t bytes)
{
    avro_put_span(to, at, bytes);
}
static inline void leaf_bytes(Bytes *to, const uint8_t *at, size_t bytes)
{
    avro_put_span(to, at, bytes);
}
static inline void leaf_list_begin(Bytes *to, uint32_t count)
{
    if (count)
        bytes_put_zigzag(to, count);
}
static inline void leaf_list_next(Bytes *to, uint32_t at)
{
    (void)to;
    (void)at;
}
static inline void leaf_list_end(Bytes *to, uint32_t count)
{
    (void)count;
    bytes_put_u8(to, 0);
}
static inline void leaf_pairs_begin(Bytes *to, uint32_t count)
{
    leaf_list_begin(to, count);
}
static inline void leaf_pair(Bytes *to, uint32_t at, const uint8_t *key, size_t bytes)
{
    (void)at;
    avro_put_span(to, key, bytes);
}
static inline void leaf_pairs_end(Bytes *to, uint32_t count)
{
    leaf_list_end(to, count);
}
static inline void leaf_field(const ConnectSchema *field, uint32_t at, Bytes *to)
{
    (void)field;
    (void)at;
    (void)to;
}
static inline void leaf_prefix(const ConnectSchema *column, Bytes *to)
{
    (void)column;
    (void)to;
}
static inline void leaf_struct_end(uint32_t count, Bytes *to)
{
    (void)count;
    (void)to;
}

#include "agent/topic/value_body.h"

bool avro_put_row(const ConnectSchema *schema, const Batch *batch, uint32_t row, RowPart part,
                  const bool *is_key, ValueScratch *scratch, Bytes *to, ValueProblem *ret)
{
    return put_row(schema, batch, row, part, is_key, scratch, to, ret);
}

void avro_put_literal(const ConnectSchema *schema, const Literal *literal, Bytes *to)
{
    put_literal(schema, literal, to);
}

void value_scratch_done(ValueScratch *scratch)
{
    bytes_done(&scratch->a);
    bytes_done(&scratch->b);
}
