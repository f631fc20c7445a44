/* Values as Connect's JsonConverter writes them: decimals and bytes in base64, a map with text keys
 * as an object, NaN and infinities as text. */
#include <math.h>
#include <string.h>

#include "agent/topic/numeric.h"
#include "agent/topic/parse.h"
#include "agent/topic/scalar.h"
#include "agent/topic/values.h"

static inline void leaf_null(const ConnectSchema *schema, Bytes *to)
{
    (void)schema;
    bytes_put(to, "null", 4);
}
static inline void leaf_there(const ConnectSchema *schema, Bytes *to)
{
    (void)schema;
    (void)to;
}
static inline void leaf_integer(Bytes *to, int64_t value)
{
    scalar_put_i64(to, value);
}
static inline void leaf_boolean(Bytes *to, bool value)
{
    bytes_put(to, value ? "true" : "false", value ? 4 : 5);
}
static inline void leaf_real(Bytes *to, double value, bool single)
{
    if (LIKELY(isfinite(value)))
        scalar_real(to, value, single);
    else
        scalar_put_text(to, isnan(value) ? "\"NaN\""
                            : value > 0  ? "\"Infinity\""
                                         : "\"-Infinity\"");
}
static inline void leaf_text(Bytes *to, const void *at, size_t bytes)
{
    scalar_json_string(to, at, bytes);
}
/* No byte needs an escape. */
static inline void leaf_ascii(Bytes *to, const void *at, size_t bytes)
{
    bytes_reserve(to, bytes + 2);
    uint8_t *out = to->data + to->used;
    *out++ = '"';
    memcpy(out, at, bytes);
    out[bytes] = '"';
    to->used += bytes + 2;
}
static inline void leaf_bytes(Bytes *to, const uint8_t *at, size_t bytes)
{
    bytes_put_u8(to, '"');
    scalar_base64(to, at, bytes, false);
    bytes_put_u8(to, '"');
}
static inline void leaf_list_begin(Bytes *to, uint32_t count)
{
    (void)count;
    bytes_put_u8(to, '[');
}
static inline void leaf_list_next(Bytes *to, uint32_t at)
{
    if (at)
        bytes_put_u8(to, ',');
}
static inline void leaf_list_end(Bytes *to, uint32_t count)
{
    (void)count;
    bytes_put_u8(to, ']');
}
static inline void leaf_pairs_begin(Bytes *to, uint32_t count)
{
    (void)count;
    bytes_put_u8(to, '{');
}
static inline void leaf_pair(Bytes *to, uint32_t at, const uint8_t *key, size_t bytes)
{
    leaf_list_next(to, at);
    scalar_json_string(to, key, bytes);
    bytes_put_u8(to, ':');
}
static inline void leaf_pairs_end(Bytes *to, uint32_t count)
{
    (void)count;
    bytes_put_u8(to, '}');
}
static inline void leaf_field(const ConnectSchema *field, uint32_t at, Bytes *to)
{
    bytes_put_u8(to, at ? ',' : '{');
    scalar_json_string(to, field->field, strlen(field->field));
    bytes_put_u8(to, ':');
}
static inline void leaf_prefix(const ConnectSchema *column, Bytes *to)
{
    scalar_put_padded(to, column->prefix.at, column->prefix.bytes);
}
static inline void leaf_struct_end(uint32_t count, Bytes *to)
{
    bytes_put(to, "{}" + (count > 0), 2 - (count > 0));
}

#include "agent/topic/value_body.h"

bool json_put_row(const ConnectSchema *schema, const Batch *batch, uint32_t row, RowPart part,
                  const bool *is_key, ValueScratch *scratch, Bytes *to, ValueProblem *ret)
{
    return put_row(schema, batch, row, part, is_key, scratch, to, ret);
}

void json_put_literal(const ConnectSchema *schema, const Literal *literal, Bytes *to)
{
    put_literal(schema, literal, to);
}
