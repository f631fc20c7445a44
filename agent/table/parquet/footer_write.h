/* FileMetaData: schema, row groups, key/values, at the end of the file. */
#pragma once

#include "agent/table/parquet/column_writer.h"

typedef struct GroupInfo {
    ChunkInfo *chunks; /* one per leaf */
    uint64_t rows;
    uint64_t offset; /* of its first byte */
    uint64_t bytes, plain_bytes;
} GroupInfo;

typedef struct FooterSource {
    const Schema *schema;
    const Leaf *leaves;
    size_t leaf_count;
    const GroupInfo *groups;
    size_t group_count;
    uint64_t rows;
    Codec codec;
    const char *created_by;
    const char *schema_json; /* may be NULL */
} FooterSource;

void footer_put(Bytes *to, const FooterSource *source);
