/* A writer's schema, bound to the target's columns. */
#pragma once

#include "agent/event/decode.h"

void event_plan_done(EventPlan *plan);
/* The text of Connect's or Avro's schema, of an envelope, or plain: of a row. CONFIG "BadSchema".
 */
MUST_CHECK bool event_plan_make(EventPlan *plan, bool avro, bool plain, const char *text,
                                size_t bytes, Error *err);
/* Of a Protobuf message, as wire_from_proto. */
MUST_CHECK bool event_plan_proto(EventPlan *plan, const WriterSchema *writer, const uint32_t *path,
                                 size_t depth, Error *err);
/* Of JSON without a schema with these columns, plain or, with records, in Debezium's envelope. */
MUST_CHECK bool event_plan_declared(EventPlan *plan, const Schema *columns,
                                    const RecordsSpec *records, Error *err);
/* Which field is which column; sets `covers`. */
void event_plan_bind(EventPlan *plan, const Schema *target);
/* The columns that its rows have; keys: names of the key's. The caller's. */
Schema *event_plan_schema(EventPlan *plan, char *const *keys, size_t key_count, Error *err)
    OWNED_BY(schema_free);
