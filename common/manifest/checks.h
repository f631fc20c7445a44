/* What one text must look like: used by the tables of fields.c and across fields by validate.c. */
#pragma once

#include "common/manifest/shape.h"

TextCheck check_object_name; /* DNS-1123 */
TextCheck check_secret_key;  /* what Kubernetes takes as a key; never a path */
TextCheck check_host;        /* a host name, an address, or the folder of a Unix socket */
TextCheck check_pattern;     /* "schema.table" with * and ? */
TextCheck check_table;       /* "schema.table" */
TextCheck check_slot;        /* PostgreSQL: [a-z0-9_]{1,63} */
TextCheck check_identifier;  /* PostgreSQL: up to 63 bytes */
TextCheck check_location;    /* an absolute path, file:///... or s3://bucket[/prefix] */
TextCheck check_url;         /* http(s)://host[:port][/path], nothing else in it */
TextCheck check_endpoint;    /* a check_url without a path */
TextCheck check_region;      /* letters, digits and - */
TextCheck check_line;        /* anything without control characters */
TextCheck check_lake_name;   /* a database or table: one part of a path */
TextCheck check_column_type; /* a primitive type of Iceberg */
TextCheck check_partition;   /* a transform of the Iceberg specification, with its column */
TextCheck check_brokers;     /* host:port, with commas between */
TextCheck check_name_in_dns; /* host or host:port */
TextCheck check_topic;       /* a name that Kafka takes */
TextCheck check_topic_template;
TextCheck check_topic_setting;   /* [a-z.]: not what has a field of its own */
TextCheck check_start;           /* Earliest, Latest or a time */
TextCheck check_condition;       /* common/condition.h */
TextCheck check_replay_start;    /* Earliest or a time */
TextCheck check_retention;       /* a duration or Forever */
TextCheck check_sasl_extensions; /* name=value,name=value: RFC 7628 section 3.1 */
