/* Thrift's compact protocol, as far as parquet.thrift needs it.
 * https://github.com/apache/thrift/blob/master/doc/specs/thrift-compact-protocol.md
 *
 *   struct   fields, then one 0 byte
 *   field    0xDT: D = id - previous id (1..15), T = type; or 0x0T and zigzag id. A bool is its
 * type list     0xST: S = count (0..14), T = element type; or 0xFT and varint count binary   varint
 * length, bytes;  i16, i32, i64: zigzag varint;  double: 8 bytes
 *
 * Writing: keep the id of the struct's last field in a local `last`, 0 at its start. Reading: a
 * false means the bytes are cut or wrong, and the caller says of what. Nothing is allocated here.
 */
#pragma once

#include "common/bytes.h"
#include "common/reader.h"

typedef enum ThriftType {
    THRIFT_STOP = 0,
    THRIFT_TRUE = 1,
    THRIFT_FALSE = 2,
    THRIFT_I8 = 3,
    THRIFT_I16 = 4,
    THRIFT_I32 = 5,
    THRIFT_I64 = 6,
    THRIFT_DOUBLE = 7,
    THRIFT_BINARY = 8,
    THRIFT_LIST = 9,
    THRIFT_SET = 10,
    THRIFT_MAP = 11,
    THRIFT_STRUCT = 12,
} ThriftType;

/* ---------- writing ---------- */
void thrift_put_field(Bytes *to, int16_t *last, int16_t id, ThriftType type);
void thrift_put_i8(Bytes *to, int16_t *last, int16_t id, int8_t value);
void thrift_put_i32(Bytes *to, int16_t *last, int16_t id, int32_t value);
void thrift_put_i64(Bytes *to, int16_t *last, int16_t id, int64_t value);
void thrift_put_bool(Bytes *to, int16_t *last, int16_t id, bool value);
void thrift_put_binary(Bytes *to, int16_t *last, int16_t id, const void *data, size_t bytes);
void thrift_put_text(Bytes *to, int16_t *last, int16_t id, const char *text);
void thrift_put_list(Bytes *to, int16_t *last, int16_t id, ThriftType element, size_t count);
void thrift_put_empty_struct(Bytes *to, int16_t *last, int16_t id);
void thrift_put_stop(Bytes *to);
void thrift_put_element_binary(Bytes *to, const void *data, size_t bytes);

/* ---------- reading ---------- */
typedef struct ThriftField {
    int16_t id;
    uint8_t type; /* THRIFT_STOP: the struct is over */
} ThriftField;

MUST_CHECK bool thrift_field(Reader *from, int16_t *last, ThriftField *ret);
/* These want the field's type to fit. */
MUST_CHECK bool thrift_i32(Reader *from, ThriftField field, int32_t *ret);
MUST_CHECK bool thrift_i64(Reader *from, ThriftField field, int64_t *ret);
MUST_CHECK bool thrift_bool(ThriftField field, bool *ret);
MUST_CHECK bool thrift_binary(Reader *from, ThriftField field, const uint8_t **ret, size_t *bytes);
/* The count is no larger than the bytes left, so that an array of that length may be allocated. */
MUST_CHECK bool thrift_list(Reader *from, ThriftField field, ThriftType element, size_t *ret);
MUST_CHECK bool thrift_skip(Reader *from, ThriftField field);
