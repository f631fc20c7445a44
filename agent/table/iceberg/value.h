/* Single values: partition tuples and bounds.
 * https://iceberg.apache.org/spec/#binary-single-value-serialization */
#pragma once

#include "agent/table/iceberg/avro.h"
#include "agent/table/iceberg/iceberg.h"

void values_free(Value *values, size_t count); /* each and the array; NULL is fine */
Value *values_copy(const Value *values, size_t count) OWNED_BY(free);
/* Same type on both sides; null first. */
int value_compare(const Value *a, const Value *b);
bool value_is_nan(const Value *value);
/* Iceberg's binary form, appended. Not for null. */
void value_serialize(const Value *value, Bytes *to);
/* The shortest big-endian two's complement; returns its bytes. */
size_t value_decimal_bytes(__int128 value, uint8_t to[16]);
/* As an optional Avro value: branch 0 is null. */
void value_put_avro(const Value *value, Bytes *to);
/* The Avro type of an optional value, as JSON text; `name` makes named types unique. Caller frees.
 */
char *value_avro_type(const Type *type, int32_t field_id);
/* From a manifest's partition tuple. DATA error if it is not of that type. NULL is null. */
MUST_CHECK bool value_from_avro(const AvroValue *from, const Type *type, Value *ret, Error *err);
/* As it stands in a partition's folder name, not escaped; appended. */
void value_text(const Value *value, TransformKind transform, Bytes *to);
