/* YAML 1.1, as kubectl reads it, as a small tree that knows the line and column of everything in it
 * (libyaml underneath). What a person may have written is hostile until checked: bytes, depth and
 * nodes are limited, an alias counts as all it stands for (so a "billion laughs" text is refused
 * while it is still small), tags and merge keys are refused. A key that stands twice is kept and
 * marked; the reader of the tree says so where it knows the path.
 *
 * libyaml exports names of its own insides (yaml_free): hence yaml_tree_free. */
#pragma once

#include "common/attrs.h"

#define YAML_BYTES_MAX (16u << 20)
#define YAML_DEPTH_MAX 64u
#define YAML_NODES_MAX 500000u
#define YAML_KEYS_MAX 2000u /* of one mapping */

typedef enum YamlKind { YAML_TEXT, YAML_LIST, YAML_MAP } YamlKind;

/* What a scalar is in YAML 1.1. */
typedef enum YamlType { YAML_IS_NULL, YAML_IS_BOOL, YAML_IS_NUMBER, YAML_IS_TEXT } YamlType;

typedef struct YamlNode YamlNode;
struct YamlNode {
    YamlKind kind;
    bool plain;       /* a scalar without quotes: may be a number, a boolean or null */
    int line, column; /* 1-based, of its first character */
    int repeats;      /* a key: the line where the same key stands before it, or 0 */
    size_t nodes;     /* it and everything below, aliases counted each time */
    char *text;       /* a scalar: UTF-8, no NUL inside */
    size_t text_bytes;
    const YamlNode **keys; /* a mapping: scalars, in order */
    const YamlNode **values;
    size_t count;   /* pairs of a mapping, items of a list */
    YamlNode *next; /* private */
};

typedef struct YamlTree YamlTree;
typedef struct YamlFault {
    int line, column; /* 1-based; 0: of the whole text */
    char message[256];
} YamlFault;

/* Wipes every scalar: some are passwords. NULL is fine. */
void yaml_tree_free(YamlTree *yaml);
/* False with *fault at the first thing that is no YAML or over a limit; *ret is made all the same
 * and holds the documents before it. The text may be freed afterwards. */
MUST_CHECK bool yaml_tree_parse(const char *text, size_t bytes, YamlTree **ret, YamlFault *fault);

size_t yaml_tree_count(const YamlTree *yaml); /* documents, empty ones included (a null scalar) */
const YamlNode *yaml_tree_document(const YamlTree *yaml, size_t index);

YamlType yaml_type(const YamlNode *node); /* of a scalar */
/* The value of a key (the first of that name), or NULL when it is not there or null; node may be
 * NULL or no mapping. */
const YamlNode *yaml_get(const YamlNode *node, const char *key);
/* The node at a path as findings write it ("spec.tables.include[0]"), or the nearest one above it
 * that is there. */
const YamlNode *yaml_at(const YamlNode *node, const char *path);

DEFINE_AUTO(YamlTree, yaml_tree_free);
