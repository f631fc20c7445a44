/* Members of a struct in either format, one after another: what envelope.c and source*.c write.
 * JSON has labels, Avro says of an optional one whether it is there. */
#pragma once

#include <string.h>

#include "agent/topic/scalar.h"
#include "agent/topic/values.h"

#define BRANCH_NULL 0
#define BRANCH_THERE 2

static inline void put_label(bool avro, const char *label, Bytes *to)
{
    if (!avro)
        scalar_put_text(to, label);
}

static inline void put_text(bool avro, const char *text, Bytes *to)
{
    if (avro)
        avro_put_span(to, text, strlen(text));
    else
        scalar_json_string(to, text, strlen(text));
}

static inline void put_integer(bool avro, int64_t value, Bytes *to)
{
    if (avro)
        bytes_put_zigzag(to, value);
    else
        scalar_put_i64(to, value);
}

/* Of an optional member. */
static inline void put_there(bool avro, Bytes *to)
{
    if (avro)
        bytes_put_u8(to, BRANCH_THERE);
}

static inline void put_null(bool avro, Bytes *to)
{
    if (avro)
        bytes_put_u8(to, BRANCH_NULL);
    else
        scalar_put_text(to, "null");
}
