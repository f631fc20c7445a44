/* Connect's schemas as text, as its converters write them: field by field in their order, because a
 * registry may compare texts.
 *
 * JSON  (JsonConverter): {"type", "fields" | "items" | "keys", "values", "optional", "name",
 *       "version", "doc", "parameters", "default", "field"}
 * Avro  (AvroConverter): optional is a union with null, null first unless there is a default; what
 *       Avro has no word for stands in connect.*; a record is written once and then named.
 *       https://avro.apache.org/docs/1.12.0/specification/ */
#pragma once

#include "agent/topic/connect_schema.h"

void schema_text_json(const ConnectSchema *schema, Bytes *to);
void schema_text_avro(const ConnectSchema *schema, Bytes *to);
