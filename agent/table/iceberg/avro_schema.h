/* The schema of an Avro file as a tree of nodes, which never changes once it is made. Manifests
 * come by the dozen with the same few kilobytes of schema, which cost far more to parse than the
 * entries after them: the trees of the last few different texts are kept, by the process, for all
 * threads. https://avro.apache.org/docs/1.11.1/specification/#schema-declaration */
#pragma once

#include <stddef.h>
#include <stdint.h>

#define AVRO_DEPTH_MAX 32

typedef enum NodeKind {
    NODE_NULL,
    NODE_BOOL,
    NODE_LONG,
    NODE_FLOAT,
    NODE_DOUBLE,
    NODE_BYTES,
    NODE_FIXED,
    NODE_RECORD,
    NODE_ARRAY,
    NODE_MAP,
    NODE_UNION,
    NODE_ENUM,
} NodeKind;

typedef struct Node Node;
struct Node {
    NodeKind kind;
    const char *name;
    int32_t field_id;
    size_t fixed_bytes;
    Node **children; /* record fields, union branches, array's item, map's value */
    size_t child_count;
    const char **child_names; /* record */
    int32_t *child_ids;       /* record */
};

typedef struct AvroSchema AvroSchema;
/* NULL: no record that can be read. May be another reader's, too; to be released. */
AvroSchema *avro_schema_take(const char *text);
void avro_schema_release(AvroSchema *schema); /* NULL is fine */
const Node *avro_schema_root(const AvroSchema *schema);
