/* Names of topics and schemas. Pure. */
#pragma once

#include "agent/topic/topic.h"

#define TOPIC_NAME_BYTES_MAX 249 /* Kafka's */

/* Fills {connector}, {database}, {schema} and {table} of the template in, and makes it a name that
 * Kafka takes, as Debezium does: what is none of A-Z a-z 0-9 . _ - becomes _, "." and ".." too, and
 * it is cut after 249 bytes. NULL: "{connector}.{schema}.{table}". CONFIG "TopicTemplate" for other
 * words in braces and for an empty name. Caller frees. */
char *topic_name(const char *template, const TopicTableSpec *spec, Error *err) OWNED_BY(free);

/* The name of a schema (dots divide it) or of a field as TopicAdjust wants it; caller frees. */
char *topic_adjust(const char *name, TopicAdjust adjust, bool field) OWNED_BY(free);
