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
TextCheck check_location;    /* an absolute path or file:///... */
TextCheck check_lake_name;   /* a database or table: one part of a path */
TextCheck check_partition;   /* a transform of the Iceberg specification, with its column */
