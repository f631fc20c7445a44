/* See avro_schema.h. */
#include "agent/table/iceberg/avro_schema.h"

#include <jansson.h>
#include <pthread.h>
#include <string.h>

#include "common/arena.h"
#include "common/mem.h"

#define NODES_MAX 10000
#define NAMES_MAX 256
/* A process has a handful: list and manifest, of each format version and partitioning. Longer texts
 * are read, but not kept. */
#define KEPT 16
#define KEPT_BYTES_MAX ((size_t)32 << 10)

struct AvroSchema {
    char *text;
    Arena *arena;
    json_t *json; /* the names in the tree are its */
    Node *root;
    size_t nodes;
    struct {
        const char *name;
        Node *node;
    } named[NAMES_MAX];
    size_t named_count;
    _Atomic int users;
};

/* ---------- the tree ---------- */
static Node *node_of(AvroSchema *schema, const json_t *json, int depth);

static Node *node_new(AvroSchema *schema, NodeKind kind)
{
    if (++schema->nodes > NODES_MAX)
        return NULL;
    Node *node = arena_take(schema->arena, sizeof *node);
    *node = (Node){.kind = kind};
    return node;
}

static Node *primitive(AvroSchema *schema, const char *name)
{
    static const struct {
        const char *name;
        NodeKind kind;
    } kinds[] = {{"null", NODE_NULL},    {"boolean", NODE_BOOL}, {"int", NODE_LONG},
                 {"long", NODE_LONG},    {"float", NODE_FLOAT},  {"double", NODE_DOUBLE},
                 {"string", NODE_BYTES}, {"bytes", NODE_BYTES}};
    for (size_t i = 0; i < ARRAY_LEN(kinds); i++)
        if (strcmp(kinds[i].name, name) == 0)
            return node_new(schema, kinds[i].kind);
    for (size_t i = 0; i < schema->named_count; i++)
        if (strcmp(schema->named[i].name, name) == 0)
            return schema->named[i].node;
    return NULL;
}

static void name_node(AvroSchema *schema, const json_t *json, Node *node)
{
    const char *name = json_string_value(json_object_get(json, "name"));
    if (name && schema->named_count < NAMES_MAX) {
        schema->named[schema->named_count].name = name;
        schema->named[schema->named_count++].node = node;
    }
}

static bool children(AvroSchema *schema, Node *node, size_t count)
{
    node->children = arena_take(schema->arena, count * sizeof *node->children);
    node->child_names = arena_take(schema->arena, count * sizeof *node->child_names);
    node->child_ids = arena_take(schema->arena, count * sizeof *node->child_ids);
    node->child_count = count;
    return count <= NODES_MAX;
}

static Node *record_node(AvroSchema *schema, const json_t *json, int depth)
{
    const json_t *fields = json_object_get(json, "fields");
    Node *node = node_new(schema, NODE_RECORD);
    if (!node || !json_is_array(fields) || !children(schema, node, json_array_size(fields)))
        return NULL;
    name_node(schema, json, node);
    for (size_t i = 0; i < node->child_count; i++) {
        const json_t *field = json_array_get(fields, i);
        const json_t *id = json_object_get(field, "field-id");
        node->child_names[i] = json_string_value(json_object_get(field, "name"));
        node->child_ids[i] = json_is_integer(id) ? (int32_t)json_integer_value(id) : -1;
        node->children[i] = node_of(schema, json_object_get(field, "type"), depth + 1);
        if (!node->children[i] || !node->child_names[i])
            return NULL;
    }
    return node;
}

static Node *wrap(AvroSchema *schema, NodeKind kind, const json_t *item, int depth)
{
    Node *node = node_new(schema, kind);
    if (!node || !children(schema, node, 1))
        return NULL;
    node->children[0] = node_of(schema, item, depth + 1);
    return node->children[0] ? node : NULL;
}

static Node *complex_node(AvroSchema *schema, const json_t *json, int depth)
{
    const char *type = json_string_value(json_object_get(json, "type"));
    if (!type)
        return node_of(schema, json_object_get(json, "type"), depth + 1);
    if (strcmp(type, "record") == 0)
        return record_node(schema, json, depth);
    if (strcmp(type, "array") == 0)
        return wrap(schema, NODE_ARRAY, json_object_get(json, "items"), depth);
    if (strcmp(type, "map") == 0)
        return wrap(schema, NODE_MAP, json_object_get(json, "values"), depth);
    if (strcmp(type, "fixed") == 0 || strcmp(type, "enum") == 0) {
        bool fixed = type[0] == 'f';
        json_int_t size = json_integer_value(json_object_get(json, "size"));
        Node *node = node_new(schema, fixed ? NODE_FIXED : NODE_ENUM);
        if (!node || size < 0 || size > (1 << 20))
            return NULL;
        node->fixed_bytes = (size_t)size;
        name_node(schema, json, node);
        return node;
    }
    return primitive(schema, type);
}

static Node *node_of(AvroSchema *schema, const json_t *json, int depth)
{
    if (depth > AVRO_DEPTH_MAX || !json)
        return NULL;
    if (json_is_string(json))
        return primitive(schema, json_string_value(json));
    if (json_is_object(json))
        return complex_node(schema, json, depth);
    if (!json_is_array(json))
        return NULL;
    Node *node = node_new(schema, NODE_UNION);
    if (!node || !children(schema, node, json_array_size(json)))
        return NULL;
    for (size_t i = 0; i < node->child_count; i++)
        if (!(node->children[i] = node_of(schema, json_array_get(json, i), depth + 1)))
            return NULL;
    return node;
}

/* ---------- the kept ones ---------- */
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static AvroSchema
    *kept[KEPT]; /* each with a user of its own: this list; the last asked for first */

void avro_schema_release(AvroSchema *schema)
{
    if (!schema || --schema->users > 0)
        return;
    arena_free(schema->arena);
    json_decref(schema->json);
    free(schema->text);
    free(schema);
}

/* Under the lock. */
static void keep_first(AvroSchema *schema, size_t from)
{
    memmove(&kept[1], &kept[0], from * sizeof *kept);
    kept[0] = schema;
}

static AvroSchema *find(const char *text)
{
    AvroSchema *found = NULL;
    pthread_mutex_lock(&lock);
    for (size_t i = 0; i < KEPT && kept[i] && !found; i++)
        if (strcmp(kept[i]->text, text) == 0) {
            found = kept[i];
            found->users++;
            keep_first(found, i);
        }
    pthread_mutex_unlock(&lock);
    return found;
}

/* Two threads may both bring the same: the older goes in time. */
static void keep(AvroSchema *schema)
{
    schema->users++;
    pthread_mutex_lock(&lock);
    AvroSchema *last = kept[KEPT - 1];
    keep_first(schema, KEPT - 1);
    pthread_mutex_unlock(&lock);
    avro_schema_release(last);
}

AvroSchema *avro_schema_take(const char *text)
{
    AvroSchema *schema = find(text);
    if (schema)
        return schema;
    schema = mem_zalloc(sizeof *schema);
    schema->users = 1;
    schema->arena = arena_new(16384);
    schema->json = json_loads(text, 0, NULL);
    schema->root = node_of(schema, schema->json, 0);
    if (!schema->root || schema->root->kind != NODE_RECORD) {
        avro_schema_release(schema);
        return NULL;
    }
    schema->text = mem_strdup(text);
    if (strlen(text) <= KEPT_BYTES_MAX)
        keep(schema);
    return schema;
}

const Node *avro_schema_root(const AvroSchema *schema)
{
    return schema->root;
}
