#pragma once

#include "agent/table/iceberg/iceberg.h"

/* JSON texts; the caller frees. */
char *manifest_schema(const PartitionSpec *spec, int format_version) OWNED_BY(free);
char *manifest_list_schema(int format_version) OWNED_BY(free);
