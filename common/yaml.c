#include "common/yaml.h"

#include <ctype.h>
#include <stdio.h>
#include <string.h>
#include <yaml.h>

#include "common/arena.h"
#include "common/mem.h"

#define ANCHORS_MAX 256u /* of one document; aliases look them up one by one */

typedef struct Anchor {
    const char *name;
    YamlNode *node;
} Anchor;

struct YamlTree {
    Arena *arena;
    YamlNode *all; /* every node, for wiping */
    YamlNode **documents;
    size_t count;
};

/* A mapping or list whose end has not come; its children in an array that grows. */
typedef struct Open {
    YamlNode *node;
    YamlNode **children; /* of a mapping: key, value, key, value */
    size_t count;
    size_t held;
    const char *anchor; /* known only once the node is whole, so that none can hold itself */
} Open;

typedef struct Build {
    YamlTree *yaml;
    YamlFault *fault;
    Open open[YAML_DEPTH_MAX];
    size_t depth;
    Anchor anchors[ANCHORS_MAX]; /* of this document */
    size_t anchor_count;
    size_t nodes; /* of the whole text */
} Build;

void yaml_tree_free(YamlTree *yaml)
{
    if (!yaml)
        return;
    for (YamlNode *node = yaml->all; node; node = node->next)
        if (node->text)
            explicit_bzero(node->text, node->text_bytes);
    arena_free(yaml->arena);
    free(yaml->documents);
    free(yaml);
}

size_t yaml_tree_count(const YamlTree *yaml)
{
    return yaml->count;
}

const YamlNode *yaml_tree_document(const YamlTree *yaml, size_t index)
{
    ASSERT(index < yaml->count);
    return yaml->documents[index];
}

static bool fault_at(YamlFault *fault, int line, int column, const char *message)
{
    fault->line = line;
    fault->column = column;
    snprintf(fault->message, sizeof fault->message, "%s", message);
    return false;
}

static bool fault_set(YamlFault *fault, yaml_mark_t mark, const char *message)
{
    return fault_at(fault, (int)mark.line + 1, (int)mark.column + 1, message);
}

/* About a node that is whole, at its beginning. */
static bool fault_of_node(YamlFault *fault, const YamlNode *node, const char *message)
{
    return fault_at(fault, node->line, node->column, message);
}

static YamlNode *node_new(Build *build, YamlKind kind, const yaml_event_t *event)
{
    YamlNode *node = arena_take(build->yaml->arena, sizeof *node);
    *node = (YamlNode){.kind = kind,
                       .line = (int)event->start_mark.line + 1,
                       .column = (int)event->start_mark.column + 1,
                       .nodes = 1,
                       .next = build->yaml->all};
    build->yaml->all = node;
    return node;
}

/* Puts a whole node where it belongs: under the open node, or as the document's root. */
static bool place(Build *build, YamlNode *node)
{
    if (build->depth == 0) {
        YamlTree *yaml = build->yaml;
        yaml->documents = mem_regrow(yaml->documents, yaml->count + 1, sizeof *yaml->documents);
        yaml->documents[yaml->count++] = node;
        return true;
    }
    Open *open = &build->open[build->depth - 1];
    if (open->node->kind == YAML_MAP && open->count % 2 == 0) {
        if (node->kind != YAML_TEXT)
            return fault_of_node(build->fault, node,
                                 "a key must be a text, not a list or a mapping");
        if (node->plain && strcmp(node->text, "<<") == 0)
            return fault_of_node(build->fault, node,
                                 "merge keys (<<) are not supported: write the fields out");
        if (open->count / 2 >= YAML_KEYS_MAX)
            return fault_of_node(build->fault, node, "a mapping holds more than 2000 keys");
        for (size_t i = 0; i < open->count && !node->repeats; i += 2)
            if (strcmp(open->children[i]->text, node->text) == 0)
                node->repeats = open->children[i]->line;
    }
    if (open->count == open->held) {
        open->held = open->held ? open->held * 2 : 8;
        open->children = mem_regrow(open->children, open->held, sizeof *open->children);
    }
    open->children[open->count++] = node;
    open->node->nodes += node->nodes;
    return true;
}

static bool count_nodes(Build *build, size_t more, yaml_mark_t mark)
{
    build->nodes += more;
    if (build->nodes > YAML_NODES_MAX)
        return fault_set(build->fault, mark, "the text holds more than 500000 values");
    return true;
}

static const char *anchor_name(Build *build, const yaml_char_t *name)
{
    if (!name)
        return NULL;
    const char *text = (const char *)name;
    return arena_strndup(build->yaml->arena, text, strlen(text));
}

static bool anchor_add(Build *build, const char *name, YamlNode *node, yaml_mark_t mark)
{
    if (!name)
        return true;
    if (build->anchor_count == ANCHORS_MAX)
        return fault_set(build->fault, mark, "a document holds more than 256 anchors");
    build->anchors[build->anchor_count++] = (Anchor){.name = name, .node = node};
    return true;
}

static bool tag_is_refused(Build *build, const yaml_event_t *event, const yaml_char_t *tag)
{
    if (!tag || strcmp((const char *)tag, "!") == 0)
        return false;
    fault_set(build->fault, event->start_mark, "tags (!...) are not supported: leave it out");
    return true;
}

static bool take_scalar(Build *build, const yaml_event_t *event)
{
    const char *text = (const char *)event->data.scalar.value;
    size_t bytes = event->data.scalar.length;
    if (tag_is_refused(build, event, event->data.scalar.tag))
        return false;
    if (memchr(text, 0, bytes))
        return fault_set(build->fault, event->start_mark, "a text holds a NUL character");
    if (!count_nodes(build, 1, event->start_mark))
        return false;
    YamlNode *node = node_new(build, YAML_TEXT, event);
    node->plain =
        event->data.scalar.style == YAML_PLAIN_SCALAR_STYLE && event->data.scalar.plain_implicit;
    node->text = arena_strndup(build->yaml->arena, text, bytes);
    node->text_bytes = bytes;
    return anchor_add(build, anchor_name(build, event->data.scalar.anchor), node,
                      event->start_mark) &&
           place(build, node);
}

static bool take_alias(Build *build, const yaml_event_t *event)
{
    const char *name = (const char *)event->data.alias.anchor;
    for (size_t i = build->anchor_count; i-- > 0;) {
        YamlNode *node = build->anchors[i].node;
        if (strcmp(build->anchors[i].name, name) != 0)
            continue;
        if (!count_nodes(build, node->nodes, event->start_mark))
            return false;
        /* A node as a key is marked when it repeats: an alias there would mark its anchor. */
        const Open *open = build->depth ? &build->open[build->depth - 1] : NULL;
        if (open && open->node->kind == YAML_MAP && open->count % 2 == 0)
            return fault_set(build->fault, event->start_mark, "an alias can't be a key");
        return place(build, node);
    }
    return fault_set(build->fault, event->start_mark,
                     "an alias names an anchor that does not stand, whole, before it");
}

static bool take_start(Build *build, const yaml_event_t *event, YamlKind kind,
                       const yaml_char_t *tag, const yaml_char_t *anchor)
{
    if (tag_is_refused(build, event, tag))
        return false;
    if (build->depth == YAML_DEPTH_MAX)
        return fault_set(build->fault, event->start_mark,
                         "mappings and lists are nested more than 64 deep");
    if (!count_nodes(build, 1, event->start_mark))
        return false;
    build->open[build->depth++] =
        (Open){.node = node_new(build, kind, event), .anchor = anchor_name(build, anchor)};
    return true;
}

static bool take_end(Build *build, const yaml_event_t *event)
{
    Open open = build->open[--build->depth];
    YamlNode *node = open.node;
    bool map = node->kind == YAML_MAP;
    node->count = map ? open.count / 2 : open.count;
    size_t bytes = node->count * sizeof *node->values;
    node->values = arena_take(build->yaml->arena, bytes);
    if (map)
        node->keys = arena_take(build->yaml->arena, bytes);
    for (size_t i = 0; i < node->count; i++) {
        if (map)
            node->keys[i] = open.children[2 * i];
        node->values[i] = open.children[map ? 2 * i + 1 : i];
    }
    free(open.children);
    return anchor_add(build, open.anchor, node, event->start_mark) && place(build, node);
}

static bool take(Build *build, const yaml_event_t *event)
{
    switch (event->type) {
    case YAML_DOCUMENT_START_EVENT:
        build->anchor_count = 0;
        return true;
    case YAML_SCALAR_EVENT:
        return take_scalar(build, event);
    case YAML_ALIAS_EVENT:
        return take_alias(build, event);
    case YAML_MAPPING_START_EVENT:
        return take_start(build, event, YAML_MAP, event->data.mapping_start.tag,
                          event->data.mapping_start.anchor);
    case YAML_SEQUENCE_START_EVENT:
        return take_start(build, event, YAML_LIST, event->data.sequence_start.tag,
                          event->data.sequence_start.anchor);
    case YAML_MAPPING_END_EVENT:
    case YAML_SEQUENCE_END_EVENT:
        return take_end(build, event);
    default:
        return true;
    }
}

/* libyaml says what and where; "did not find expected key" is all it knows of a bad indent. */
static bool parser_fault(const yaml_parser_t *parser, YamlFault *fault)
{
    const char *problem = parser->problem ? parser->problem : "not YAML";
    char message[sizeof fault->message];
    if (parser->context && parser->context_mark.line)
        snprintf(message, sizeof message, "not YAML: %s %s (which begins on line %zu)", problem,
                 parser->context, parser->context_mark.line + 1);
    else
        snprintf(message, sizeof message, "not YAML: %s%s%s", problem, parser->context ? " " : "",
                 parser->context ? parser->context : "");
    fault_set(fault, parser->problem_mark, message);
    if (parser->error == YAML_READER_ERROR) {
        /* No mark then, only an offset; the line reached is near enough. */
        fault->line = (int)parser->mark.line + 1;
        fault->column = (int)parser->mark.column + 1;
    }
    return false;
}

static void event_wipe(yaml_event_t *event)
{
    if (event->type == YAML_SCALAR_EVENT)
        explicit_bzero(event->data.scalar.value, event->data.scalar.length);
    yaml_event_delete(event);
}

static void parser_wipe(yaml_parser_t *parser)
{
    explicit_bzero(parser->raw_buffer.start,
                   (size_t)(parser->raw_buffer.end - parser->raw_buffer.start));
    explicit_bzero(parser->buffer.start, (size_t)(parser->buffer.end - parser->buffer.start));
    yaml_parser_delete(parser);
}

bool yaml_tree_parse(const char *text, size_t bytes, YamlTree **ret, YamlFault *fault)
{
    YamlTree *yaml = mem_zalloc(sizeof *yaml);
    yaml->arena = arena_new(16384);
    *ret = yaml;
    *fault = (YamlFault){0};
    if (bytes > YAML_BYTES_MAX)
        return fault_set(fault, (yaml_mark_t){0}, "the text is larger than 16 MiB");
    yaml_parser_t parser;
    ASSERT(yaml_parser_initialize(&parser));
    yaml_parser_set_input_string(&parser, (const unsigned char *)text, bytes);
    yaml_parser_set_encoding(&parser, YAML_UTF8_ENCODING);
    Build *build = mem_zalloc(sizeof *build);
    build->yaml = yaml;
    build->fault = fault;
    bool good = true;
    for (bool end = false; good && !end;) {
        yaml_event_t event;
        if (!yaml_parser_parse(&parser, &event)) {
            good = parser_fault(&parser, fault);
            break;
        }
        good = take(build, &event);
        end = event.type == YAML_STREAM_END_EVENT;
        event_wipe(&event);
    }
    while (build->depth)
        free(build->open[--build->depth].children);
    free(build);
    parser_wipe(&parser);
    return good;
}

/* --- reading the tree --- */

static bool is_one_of(const char *text, const char *const *words, size_t count)
{
    for (size_t i = 0; i < count; i++)
        if (strcmp(text, words[i]) == 0)
            return true;
    return false;
}

/* Integers (also 0x, 0o, 0b, with _ between digits) and floats of YAML 1.1. */
static bool is_number(const char *text)
{
    static const char *const words[] = {".inf", ".Inf", ".INF", ".nan", ".NaN", ".NAN"};
    if (*text == '+' || *text == '-')
        text++;
    if (is_one_of(text, words, ARRAY_LEN(words)))
        return true;
    if (text[0] == '0' && (text[1] == 'x' || text[1] == 'o' || text[1] == 'b'))
        return text[2] && !text[2 + strspn(text + 2, "0123456789abcdefABCDEF_")];
    if (!isdigit((unsigned char)*text) && !(*text == '.' && isdigit((unsigned char)text[1])))
        return false;
    text += strspn(text, "0123456789_");
    if (*text == '.')
        text += 1 + strspn(text + 1, "0123456789_");
    if (*text == 'e' || *text == 'E') {
        text++;
        if (*text == '+' || *text == '-')
            text++;
        size_t digits = strspn(text, "0123456789");
        return digits && !text[digits];
    }
    return !*text;
}

YamlType yaml_type(const YamlNode *node)
{
    static const char *const nulls[] = {"", "~", "null", "Null", "NULL"};
    static const char *const bools[] = {
        "true", "True", "TRUE", "false", "False", "FALSE", "yes", "Yes", "YES", "no", "No",
        "NO",   "on",   "On",   "ON",    "off",   "Off",   "OFF", "y",   "Y",   "n",  "N",
    };
    ASSERT(node->kind == YAML_TEXT);
    if (!node->plain)
        return YAML_IS_TEXT;
    if (is_one_of(node->text, nulls, ARRAY_LEN(nulls)))
        return YAML_IS_NULL;
    if (is_one_of(node->text, bools, ARRAY_LEN(bools)))
        return YAML_IS_BOOL;
    return is_number(node->text) ? YAML_IS_NUMBER : YAML_IS_TEXT;
}

static const YamlNode *get(const YamlNode *node, const char *key, size_t key_bytes)
{
    if (!node || node->kind != YAML_MAP)
        return NULL;
    for (size_t i = 0; i < node->count; i++)
        if (node->keys[i]->text_bytes == key_bytes &&
            memcmp(node->keys[i]->text, key, key_bytes) == 0)
            return node->values[i];
    return NULL;
}

const YamlNode *yaml_get(const YamlNode *node, const char *key)
{
    const YamlNode *value = get(node, key, strlen(key));
    bool null = value && value->kind == YAML_TEXT && yaml_type(value) == YAML_IS_NULL;
    return null ? NULL : value;
}

const YamlNode *yaml_at(const YamlNode *node, const char *path)
{
    while (*path) {
        const YamlNode *below = NULL;
        if (*path == '[') {
            size_t index = strtoul(path + 1, NULL, 10);
            if (node->kind == YAML_LIST && index < node->count)
                below = node->values[index];
            path += strcspn(path, "]");
            path += *path == ']';
        } else {
            size_t bytes = strcspn(path, ".[");
            below = get(node, path, bytes);
            path += bytes;
        }
        if (!below)
            return node;
        node = below;
        path += *path == '.';
    }
    return node;
}
